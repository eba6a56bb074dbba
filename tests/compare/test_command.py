"""`lowland sweep` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.command import call, succeed, trajectory
from tests.fixtures.reports import write_experiment, write_run

from lowland.cli import build_verb_parser
from lowland.cli.sweep import read_grid
from lowland.errors import UserError

SMALL = [
    *("facts/capitals", "--steps", "2", "--batch-size", "8", "--eval-limit", "4", "--held-out", "4"),
    *("--seeds", "1", "--log-every", "1", "--precision", "fp32", "--outcomes", "none"),
]


def test_the_plan_is_printed_alone(tmp_path: Path) -> None:
    """--plan tells experiments, runs and steps, the baseline once, and writes nothing."""
    out = tmp_path / "sweep"
    result = succeed("sweep", "rho=0.02,0.05,0.1", *SMALL, "--out", out, "--plan")
    assert "1 experiment: 4 runs to train, 8 steps; about" in result.out
    assert not out.exists()


def test_a_preset_brings_its_grid(tmp_path: Path) -> None:
    """The grid of a preset, or of a file of settings, is taken where the command line has none."""
    parser = build_verb_parser("sweep")
    arguments = parser.parse_words(["--preset", "paper-superglue-base-rho"])
    assert read_grid(arguments).axes == {"sam.rho": (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)}
    file = tmp_path / "own.toml"
    file.write_text('extends = "demo"\n[sweep]\n"sam.m" = [1, 2]\n')
    assert read_grid(parser.parse_words(["--config", str(file)])).axes == {"sam.m": (1, 2)}
    assert read_grid(parser.parse_words(["rho=0.3", "--config", str(file)])).axes == {"sam.rho": (0.3,)}
    file.write_text("[sweep]\nrho = 0.1\n")
    with pytest.raises(UserError, match="must hold a list of values"):
        read_grid(parser.parse_words(["--config", str(file)]))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["facts/capitals"], "There is no grid."),
        (["rho=0.1", "--rho", "0.2", "facts/capitals"], "sam.rho is in the grid and given as an option too"),
        (["rho=0.1,x", "facts/capitals"], "rho: Arm 'rho=x': Invalid rho='x'. Must be a finite number"),
        (["rho=0.1", "factz"], "rho: Unknown task or mixture 'factz'"),
        (["preset=demo,dema"], "preset-dema: Unknown preset 'dema'. Did you mean demo"),
        (["rho=0.1", "facts/capitals", "--jobs", "0"], "--jobs: must be at least 1"),
        (["rho=0.1", "facts/capitals", "--launcher", "ray"], "--launcher: must be processes, slurm or"),
        (["rho=0.1", "facts/capitals", "--launcher-option", "a=1"], "--launcher-option is for a cluster"),
        (["rho=0.1", "facts/capitals", "--grid", "no.toml"], "no.toml: cannot be read"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], sentence: str, tmp_path: Path) -> None:
    """A mistake is answered in one sentence, with exit code 2, before anything is run."""
    result = call("sweep", *words, "--out", tmp_path / "sweep")
    assert result.code == 2
    assert sentence in result.err
    assert result.err.count("\n") == 1


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    """A directory that holds no sweep is left as it is."""
    (tmp_path / "letter.txt").write_text("dear")
    result = call("sweep", "rho=0.1", *SMALL, "--out", tmp_path)
    assert result.code == 2
    assert "exists and holds no sweep" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_the_report_of_a_sweep(tmp_path: Path) -> None:
    """`lowland report` takes a sweep's directory for all experiments in it, and writes one report there."""
    for rho in (0.05, 0.15):
        settings = {"sam": {"rho": rho}}
        cell = write_experiment(tmp_path / f"rho-{rho}", metrics={"a": ["em"]}, seeds=[0], settings=settings)
        for arm in ("baseline", "sam"):
            write_run(cell, arm, 0, {"a": {200: {"em": 50 + 10 * rho}}})
    result = succeed("report", tmp_path)
    assert "sam.rho" in result.out
    for name in ("report.md", "tables/summary.csv", "tables/scores.tex", "figures/rho.svg"):
        assert (tmp_path / "report" / name).exists()


def test_a_directory_without_experiments_is_one_sentence(tmp_path: Path) -> None:
    """A directory that holds no experiment, itself or inside, is answered in one sentence."""
    result = call("report", tmp_path)
    assert result.code == 2
    assert "no experiment is here, and none in a directory inside it" in result.err


def test_a_sweep_and_comparisons_share_their_runs(tmp_path: Path) -> None:
    """What a sweep trained, the baseline once for all radii, neither it nor another command trains again."""
    out, runs = tmp_path / "sweep", ["--runs", tmp_path / "all"]
    first = succeed("sweep", "rho=0.05,0.15", *SMALL, "--out", out, *runs)
    assert "3 runs to train" in first.out
    assert len(list((tmp_path / "all").glob("*-seed0"))) == 3
    assert (out / "report" / "figures" / "sensitivity.png").exists()
    result = succeed("compare", *SMALL, "--rho", "0.15", "--out", tmp_path / "compare", *runs)
    assert result.out.count("done before") == 2
    for run, other in (("baseline-seed0", "baseline-seed0"), ("rho=0.15-seed0", "sam-seed0")):
        assert trajectory(out / "rho" / run) == trajectory(tmp_path / "compare" / other)
    again = succeed("sweep", "rho=0.05,0.15", *SMALL, "--out", out, *runs)
    assert "0 runs to train, 0 steps; 3 done before" in " ".join(again.out.split())


@pytest.mark.slow
def test_a_sweep_trains_what_compare_trains(tmp_path: Path) -> None:
    """The runs of a sweep are those of compare with the same settings, bit for bit."""
    out = tmp_path / "sweep"
    succeed("sweep", "rho=0.05,0.15", *SMALL, "--out", out, "--runs", tmp_path / "one")
    succeed("compare", *SMALL, "--rho", "0.15", "--out", tmp_path / "compare", "--runs", tmp_path / "other")
    for run, other in (("baseline-seed0", "baseline-seed0"), ("rho=0.15-seed0", "sam-seed0")):
        assert trajectory(out / "rho" / run) == trajectory(tmp_path / "compare" / other)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["processes", "submitit-local"])
def test_two_workers_run_a_sweep(tmp_path: Path, launcher: str) -> None:
    """Two workers complete a sweep, and a cell that fails is reported with exit code 1."""
    if launcher != "processes":
        pytest.importorskip("submitit", reason="clusters need submitit: pip install 'lowland[cluster]'")
    out = tmp_path / "sweep"
    words = ["rho=0.05", "fraction=0.0001,1.0", *SMALL, "--out", out, "--jobs", "2", "--launcher", launcher]
    result = call("sweep", *words)
    assert result.code == 1
    assert "Failed: fraction-0.0001_rho: " in result.out
    assert (out / "jobs" / "fraction-0.0001_rho-baseline-seed0.log").read_text()
    assert (out / "fraction-1_rho" / "report" / "report.json").exists()
