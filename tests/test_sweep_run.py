"""Planning and running a sweep, with processes that only write what training would leave."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lowland.errors import UserError
from lowland.experiment import sweep
from lowland.experiment.configuration import build_config, merge, read_layer
from lowland.experiment.directory import RunDirectory
from lowland.experiment.sweep import Grid, Pace, Plan, SweepCell, make_plan, run_jobs
from lowland.experiment.sweep import run as run_module
from lowland.experiment.sweep.launch import ProcessLauncher, SubmititLauncher, cores
from lowland.experiment.sweep.run import make_jobs
from lowland.experiment.sweep.share import share_standard_runs


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "POLL_SECONDS", 0.001)


def cells_of(out: Path, *words: str, **settings: Any) -> list[SweepCell]:
    """The cells of a grid over a small configuration."""
    grid = Grid()
    for word in words:
        grid.add_word(word)
    base = {"data": {"tasks": ["facts/capitals"]}, "train": {"steps": 10}, "seeds": [0, 1], **settings}

    def build(values: Mapping[str, Any]) -> Any:
        layer: dict[str, Any] = {}
        for name, value in values.items():
            section, _, key = name.rpartition(".")
            layer = merge(layer, {section: {key: value}} if section else {key: value})
        return build_config(base, layer)

    return sweep.build_cells(grid.combinations(), out, build)


def finish(cell: SweepCell, arm: str, seed: int, score: float = 50.0) -> Path:
    """Leaves a run as if it were done."""
    run = RunDirectory(cell.path, arm, seed)  # type: ignore[arg-type]
    shutil.rmtree(run.path, ignore_errors=True)
    (run.path / "checkpoints" / "step-10").mkdir(parents=True)
    (run.path / "checkpoints" / "step-10" / "model.safetensors").write_bytes(b"weights")
    (run.path / "config.toml").write_text(cell.config.to_toml())
    (run.path / "status.json").write_text(json.dumps({"state": "done", "arm": arm, "seed": seed}))
    (run.path / "train.jsonl").write_text(f"{score}\n")
    return run.path


class Pretender:
    """Launches threads that finish the runs of a cell, or fail."""

    def __init__(self, cells: Sequence[SweepCell], failing: str = "", diverging: str = "") -> None:
        self.cells = {cell.name: cell for cell in cells}
        self.failing = failing
        self.diverging = diverging
        self.trained: list[tuple[str, str, int]] = []
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()

    def start(self, arguments: Sequence[str], log: Path, slot: int) -> Any:
        """Starts a thread."""
        settings = Path(arguments[arguments.index("--config") + 1])
        cell = self.cells[Path(arguments[arguments.index("--out") + 1]).name]
        config = build_config(read_layer(settings))
        thread = threading.Thread(target=self._work, args=(replace(cell, config=config), log))
        thread.start()
        return _Thread(thread)

    def _work(self, cell: SweepCell, log: Path) -> None:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        time.sleep(0.01)
        if cell.name == self.failing:
            log.write_text("starting\nlowland: The file x is missing.\n")
        else:
            for run in cell.runs():
                if run.done or run.given_up:
                    continue
                self.trained.append((cell.name, run.arm, run.seed))
                finish(cell, run.arm, run.seed)
                if run.path.name == self.diverging:
                    status = {"state": "failed", "error": "The loss is not finite at step 3."}
                    (run.path / "status.json").write_text(json.dumps(status))
            if len(cell.config.arms) == 2:
                (cell.path / "experiment.json").write_text('{"finished": "now"}')
        with self._lock:
            self._running -= 1


class _Thread:
    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread

    def finished(self) -> bool:
        return not self._thread.is_alive()

    def stop(self, *, at_once: bool = False) -> None:
        self._thread.join()


class Silent:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.ended: dict[str, str | None] = {}

    def on_start(self, cell: SweepCell, what: str) -> None:
        """Called when work begins."""

    def on_end(self, cell: SweepCell, problem: str | None) -> None:
        """Called when a cell has ended."""
        self.ended[cell.name] = problem

    def on_stop(self) -> None:
        """Called when the processes are told to stop."""

    def on_wait(self) -> None:
        """Called while processes run."""

    def experiment(self, cell: SweepCell) -> AbstractContextManager[Any]:
        """Shows nothing."""
        return nullcontext()


def test_standard_runs_are_planned_once(tmp_path: Path) -> None:
    """Three radii with two seeds need six SAM runs and two standard runs, not six."""
    plan = make_plan(cells_of(tmp_path, "rho=0.02,0.05,0.1"))
    assert (plan.runs, plan.shared, plan.done, plan.steps) == (8, 4, 0, 80)
    assert plan.lenders == {"rho-0.02"}


def test_other_settings_are_not_shared_over(tmp_path: Path) -> None:
    """Cells with other training fractions each train their own standard runs."""
    plan = make_plan(cells_of(tmp_path, "rho=0.02,0.05", "fraction=0.1,0.2"))
    assert (plan.runs, plan.shared) == (12, 4)
    assert plan.lenders == {"rho-0.02_fraction-0.1", "rho-0.02_fraction-0.2"}


def test_finished_runs_are_not_planned(tmp_path: Path) -> None:
    """What is done is counted as done, and a finished standard run is shared with nobody to wait for."""
    cells = cells_of(tmp_path, "rho=0.02,0.05")
    finish(cells[1], "standard", 0)
    finish(cells[1], "sam", 0)
    plan = make_plan(cells)
    assert [planned.done for planned in plan.cells] == [0, 2]
    assert [planned.share for planned in plan.cells] == [(0,), (1,)]
    assert [planned.waits_for for planned in plan.cells] == [{}, {1: "rho-0.02"}]


def test_a_shared_run_is_the_run(tmp_path: Path) -> None:
    """A copied run has the same files, says where it is from, and its weights take no more disk."""
    first, second = cells_of(tmp_path, "rho=0.02,0.05")
    source = finish(first, "standard", 0, score=61.5)
    assert share_standard_runs(second) == [0]
    copy = second.path / "standard-seed0"
    assert (copy / "train.jsonl").read_bytes() == (source / "train.jsonl").read_bytes()
    assert json.loads((copy / "status.json").read_text())["copied_from"] == "../rho-0.02/standard-seed0"
    weights = Path("checkpoints/step-10/model.safetensors")
    assert (copy / weights).stat().st_ino == (source / weights).stat().st_ino
    # An experiment's directory with runs but without its settings would be refused as somebody else's.
    assert (second.path / "experiment.toml").exists()
    assert share_standard_runs(second) == []


@pytest.mark.parametrize("change", [{"train": {"steps": 11}}, {"data": {"tasks": ["facts/states"]}}])
def test_runs_with_other_settings_are_not_shared(tmp_path: Path, change: dict[str, Any]) -> None:
    """A standard run is not shared with a cell that differs in more than SAM's settings."""
    (first,) = cells_of(tmp_path, "rho=0.02")
    finish(first, "standard", 0)
    (second,) = cells_of(tmp_path, "rho=0.05", **change)
    assert share_standard_runs(second) == []


@pytest.mark.parametrize("damage", ["", "state = [", None])
def test_damaged_runs_are_not_shared(tmp_path: Path, damage: str | None) -> None:
    """A run whose settings cannot be read, or that is not done, is not shared."""
    first, second = cells_of(tmp_path, "rho=0.02,0.05")
    run = finish(first, "standard", 0)
    if damage is None:
        (run / "status.json").write_text('{"state": "running"}')
    else:
        (run / "config.toml").write_text(damage)
    assert share_standard_runs(second) == []


def test_jobs_train_every_run_once(tmp_path: Path) -> None:
    """Side by side, the standard runs are trained once, before the cells that share them, and none twice."""
    cells = cells_of(tmp_path, "rho=0.02,0.05,0.1", "fraction=0.1,0.2")
    launcher, silent = Pretender(cells), Silent()
    assert run_jobs(make_plan(cells), launcher, 3, silent) == []
    assert len(launcher.trained) == len(set(launcher.trained)) == 6 * 2 + 2 * 2
    assert {name for name, arm, _ in launcher.trained if arm == "standard"} == {
        "rho-0.02_fraction-0.1",
        "rho-0.02_fraction-0.2",
    }
    assert 1 < launcher.most <= 3
    assert silent.ended == dict.fromkeys((cell.name for cell in cells), None)


def test_done_cells_are_not_run_again(tmp_path: Path) -> None:
    """A second time the same sweep starts no process."""
    cells = cells_of(tmp_path, "rho=0.02,0.05")
    run_jobs(make_plan(cells), Pretender(cells), 2, Silent())
    again = Pretender(cells)
    assert run_jobs(make_plan(cells), again, 2, Silent()) == []
    assert again.trained == []


def test_a_failed_cell_stops_no_other(tmp_path: Path) -> None:
    """The other cells are completed, and the failed one is reported with its process's last words."""
    cells = cells_of(tmp_path, "rho=0.02,0.05,0.1")
    launcher, silent = Pretender(cells, failing="rho-0.05"), Silent()
    (failure,) = run_jobs(make_plan(cells), launcher, 2, silent)
    assert failure.cell.name == "rho-0.05"
    assert failure.problem == "The file x is missing."
    assert failure.log is not None and failure.log.exists()
    assert [cell.name for cell in cells if cell.done] == ["rho-0.02", "rho-0.1"]


def test_cells_do_not_wait_for_a_lender_that_fails(tmp_path: Path) -> None:
    """Where the cell that should lend its standard runs fails, the others train their own."""
    cells = cells_of(tmp_path, "rho=0.02,0.05")
    launcher = Pretender(cells, failing="rho-0.02")
    assert [failure.cell.name for failure in run_jobs(make_plan(cells), launcher, 2, Silent())] == [
        "rho-0.02"
    ]
    assert ("rho-0.05", "standard", 0) in launcher.trained


def test_a_diverging_standard_run_is_tried_once(tmp_path: Path) -> None:
    """What cells share is not tried again where it failed; it is said once, and a new command tries it."""
    cells = cells_of(tmp_path, "rho=0.02,0.05,0.1")
    diverging = "standard-seed1"
    for _ in range(2):
        launcher = Pretender(cells, diverging=diverging)
        failures = run_jobs(make_plan(cells), launcher, 2, Silent())
        assert [run[0] for run in launcher.trained if run[1:] == ("standard", 1)] == ["rho-0.02"]
        assert {failure.cell.name: failure.problem for failure in failures} == {
            "rho-0.02": "standard-seed1: The loss is not finite at step 3.",
            "rho-0.05": "standard-seed1: It failed in rho-0.02, which trains it for this cell too.",
            "rho-0.1": "standard-seed1: It failed in rho-0.02, which trains it for this cell too.",
        }
        assert all(run.done for cell in cells for run in cell.runs() if run.path.name != diverging)
    assert run_jobs(make_plan(cells), Pretender(cells), 2, Silent()) == []


def test_the_pace_tells_what_is_left(tmp_path: Path) -> None:
    """What is left takes as long, for its share of the work, as what was done since the sweep began."""
    first, second = cells_of(tmp_path, "rho=0.02,0.05", seeds=[0])
    finish(first, "standard", 0)
    now = [100.0]
    plan = make_plan([first, second])
    pace = Pace(plan, clock=lambda: now[0])
    # Two SAM runs of 10 steps, each step at 1.25 times a standard one.
    assert (pace.share, pace.seconds()) == (0.0, None)
    now[0] += 30
    run = finish(first, "sam", 0)
    assert (pace.share, pace.seconds()) == (0.5, 30.0)
    (run / "status.json").write_text(json.dumps({"state": "running", "step": 4}))
    assert (pace.share, pace.seconds()) == (0.2, pytest.approx(120.0))  # a quotient of decimals
    (run / "status.json").write_text(json.dumps({"state": "failed", "step": 4}))
    assert pace.share == 0.5


def test_an_interrupted_sweep_stops_its_jobs(tmp_path: Path) -> None:
    """After Ctrl-C no job is left running."""
    cells = cells_of(tmp_path, "rho=0.02,0.05")
    launcher = Pretender(cells)

    class Interrupting(Silent):
        def on_end(self, cell: SweepCell, problem: str | None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(make_plan(cells), launcher, 2, Interrupting())
    assert launcher._running == 0


def test_jobs_wait_for_what_they_share(tmp_path: Path) -> None:
    """Every cell that shares comes after the job for its standard runs only."""
    jobs = make_jobs(make_plan(cells_of(tmp_path, "rho=0.02,0.05", "fraction=0.1,0.2")))
    after = {
        (job.cell.name, job.what): [(other.cell.name, other.what) for other in job.after] for job in jobs
    }
    assert after["rho-0.05_fraction-0.2", ""] == [("rho-0.02_fraction-0.2", "standard runs")]
    assert after["rho-0.02_fraction-0.1", "standard runs"] == []


def test_a_crash_in_this_process_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in a cell, the next one runs, and the log holds what happened."""
    cells = cells_of(tmp_path, "rho=0.02,0.05")

    def run_experiment(config: Any, path: Path, command: str, progress: object, prepared: object) -> None:
        if path.name == "rho-0.02":
            raise RuntimeError("odd")
        for cell in cells[1:]:
            for run in cell.runs():
                finish(cell, run.arm, run.seed)

    monkeypatch.setattr(run_module, "run_experiment", run_experiment)
    (failure,) = sweep.run_here(make_plan(cells), Silent())
    assert failure.problem == "RuntimeError: odd"
    assert failure.log is not None and "Traceback" in failure.log.read_text()


def test_invalid_cells_are_named(tmp_path: Path) -> None:
    """A value that its setting refuses is answered with the cell's name."""
    with pytest.raises(UserError, match=r"rho-1: Invalid rho=-1"):
        cells_of(tmp_path, "rho=0.1,-1")


def test_cores_are_divided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each of several processes gets its share of the cores, one at least."""
    seen: list[Mapping[str, str]] = []
    monkeypatch.setattr("subprocess.Popen", lambda *_, env, **__: seen.append(env))
    for jobs in (1, 2, 1000):
        ProcessLauncher(jobs).start(["--version"], tmp_path / "log", 0)
    assert [env["OMP_NUM_THREADS"] for env in seen] == [str(cores()), str(max(1, cores() // 2)), "1"]


def test_gpus_are_given_out_in_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Jobs that run at the same time get different GPUs, of those that this process may use."""
    seen: list[Mapping[str, str]] = []
    monkeypatch.setattr("subprocess.Popen", lambda *_, env, **__: seen.append(env))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    launcher = ProcessLauncher(3)
    for slot in range(3):
        launcher.start(["--version"], tmp_path / "log", slot)
    assert [env["CUDA_VISIBLE_DEVICES"] for env in seen] == ["2", "5", "2"]


def test_a_missing_engine_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without submitit the user reads how to install it."""
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(UserError, match=r"pip install 'lowland\[cluster\]'"):
        SubmititLauncher(tmp_path, "slurm", {}, 1)


def test_unknown_cluster_options_are_one_sentence(tmp_path: Path) -> None:
    """What submitit refuses is said in one sentence."""
    pytest.importorskip("submitit", reason="clusters need submitit: pip install 'lowland[cluster]'")
    with pytest.raises(UserError, match="submitit cannot use this cluster"):
        SubmititLauncher(tmp_path, "local", {"no_such_option": 1}, 1)


def test_times_of_cells_add_up(tmp_path: Path) -> None:
    """The plan's time is that of the runs that are left, and unknown where one of them is."""
    plan: Plan = make_plan(cells_of(tmp_path, "rho=0.02,0.05"))
    speed: Any = lambda config, arm: 2.0 if arm == "sam" else 1.0
    assert plan.seconds(speed) == 4 * 2.0 + 2 * 1.0
    assert plan.seconds(lambda config, arm: None) is None  # type: ignore[arg-type]
