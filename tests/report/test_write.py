"""A whole report: page, files, terminal."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from tests.fixtures.reports import write_experiment, write_run

from lowland.errors import UserError
from lowland.report.write import write_report, write_several

GOLDEN = Path(__file__).parent / "golden" / "report.md"


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Three seeds of two arms on two sets, one with two metrics; SAM's third seed has failed."""
    metrics = {"glue/sst2": ["accuracy"], "glue/mrpc": ["f1", "accuracy"]}
    directory = write_experiment(tmp_path / "pair", metrics=metrics, name="sst2 | mrpc")
    for seed in range(3):
        for arm, gain in (("baseline", 0.0), ("sam", 1.0 + seed / 4)):
            if (arm, seed) == ("sam", 2):
                write_run(directory, arm, seed, {}, state="failed", error="The loss is not finite at step 7.")
                continue
            top = 80 + seed + gain
            mrpc = {100: {"f1": 60, "accuracy": 50}, 200: {"f1": top - 10, "accuracy": top - 20}}
            write_run(
                directory,
                arm,
                seed,
                {
                    "glue/sst2": {100: {"accuracy": top + 1}, 200: {"accuracy": top}},
                    "glue/mrpc": mrpc,
                },
                seconds=100.0 + 10 * seed if arm == "baseline" else 125.0 + 20 * seed,
                warnings=["The set is small."] if seed == 0 else [],
            )
    return directory


def printed(report: object, width: int = 100) -> str:
    """What a report prints."""
    console = Console(file=io.StringIO(), width=width)
    report.print(console)  # type: ignore[attr-defined]
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def one_score(directory: Path, scores: Sequence[tuple[float, float]], **settings: float) -> Path:
    """An experiment with one set, one metric, one evaluation, and a pair of scores for each seed."""
    seeds = range(len(scores))
    write_experiment(
        directory, metrics={"a": ["em"]}, seeds=list(seeds), name=directory.name, settings=settings or None
    )
    for seed, (standard, sam) in enumerate(scores):
        write_run(directory, "baseline", seed, {"a": {200: {"em": standard}}})
        write_run(directory, "sam", seed, {"a": {200: {"em": sam}}}, seconds=127.0)
    return directory


def test_page_is_as_expected(pair: Path) -> None:
    """The page of a small experiment, worked out by hand where it holds numbers, is this text."""
    write_report(pair)
    assert (pair / "report" / "report.md").read_text() == GOLDEN.read_text()


def test_headline_when_nothing_is_detected(tmp_path: Path) -> None:
    """The first sentence says verdict, difference, interval and seeds in plain words."""
    report = write_report(one_score(tmp_path / "x", [(50, 51), (60, 63), (55, 54)]))
    # Differences 1, 3, -1: mean 1, sd 2, standard error 2 / sqrt(3), t(2) = 4.3027.
    assert report.headline == (
        "SAM is undecided: +1.0 points (-4.0 to +6.0), better in 2 of 3 seeds; "
        "it would take more than 40 seeds (em on a, last step)."
    )
    assert printed(report, 300).splitlines()[0] == report.headline


@pytest.mark.parametrize(("looks", "fewest"), [([], 6), ([2], 7)])
def test_equal_differences_count_from_as_many_seeds_as_the_verdict_asks(
    tmp_path: Path, looks: list[int], fewest: int
) -> None:
    """The note on equal differences names the number of seeds: one more where seeds were added."""
    directory = one_score(tmp_path / "x", [(50, 52), (60, 62), (55, 57)])
    file = directory / "experiment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"looks": looks}))
    (table,) = write_report(directory).scores
    assert f"from {fewest} seeds on (sign test)" in table.notes[-1]


@pytest.mark.parametrize(
    ("scores", "start"),
    [
        ([(50, 52.0), (60, 62.1), (55, 57.2)], "SAM is better: +2.1 points ("),
        ([(50, 48.0), (60, 57.9), (55, 52.8)], "SAM is worse: -2.1 points ("),
        (
            [(50, 52), (60, 62)],
            "SAM is undecided: +2.0 points, better in 2 of 2 seeds; about 6 seeds would decide",
        ),
        ([(50, 52)], "SAM cannot be judged by one seed: +2.0 points (em on a, last step)"),
    ],
)
def test_headline_verdicts(tmp_path: Path, scores: list[tuple[float, float]], start: str) -> None:
    """Each verdict has its sentence."""
    assert write_report(one_score(tmp_path / "x", scores)).headline.startswith(start)


def test_the_step_chosen_on_held_out_data_gives_the_headline(tmp_path: Path) -> None:
    """With held-out scores in every run the headline rests on them, and the other ways are told too."""
    directory = one_score(tmp_path / "x", [(50, 51), (60, 63), (55, 54)])
    for seed in range(3):
        for arm in ("baseline", "sam"):
            scores = {100: {"em": 40.0 + seed}, 200: {"em": 50.0}}
            held_out = {"t": {100: {"loss": 9.0}, 200: {"loss": 1.0}}}
            write_run(directory, arm, seed, {"a": scores}, held_out=held_out)
    report = write_report(directory)
    assert "step chosen on held-out training data" in report.headline
    assert [scored.selection.value for scored in report.comparison.scored] == ["held-out", "last-step"]
    assert report.comparison.scored[0].steps["sam"] == {0: 100, 1: 100, 2: 100}
    assert report.comparison.scored[0].rows[0].arms["sam"].mean == 41


def test_unpaired_and_failed_runs_are_named(pair: Path) -> None:
    """A seed that only one arm finished is left out of every number, and the reader is told why."""
    report = write_report(pair)
    assert report.comparison.seeds == (0, 1)
    assert {row.paired["sam"].n for row in report.comparison.scored[0].rows} == {2}
    assert report.cost.records[0]["train_seconds_n"] == 2
    assert "Baseline seed 2 is left out, because no other arm has finished this seed." in report.caveats
    assert "SAM seed 2 failed and is left out: The loss is not finite at step 7." in report.caveats
    assert report.caveats.count("The set is small. (Baseline seed 0, SAM seed 0)") == 1


def test_time_is_the_median_of_paired_ratios(pair: Path) -> None:
    """The ratio of training times is taken seed by seed: 125 / 100 and 145 / 110."""
    cost = write_report(pair).cost.records[1]
    assert (cost["ratio_low"], cost["ratio_high"]) == (1.25, 145 / 110)
    assert cost["ratio_median"] == pytest.approx((1.25 + 145 / 110) / 2)


def test_an_undefined_score_leaves_its_pair_out(tmp_path: Path) -> None:
    """A score that is not a number takes its pair out of the row, visibly."""
    directory = one_score(tmp_path / "x", [(50, 51), (60, 63), (55, 54)])
    write_run(directory, "sam", 1, {"a": {200: {"em": float("nan")}}})
    report = write_report(directory)
    row = report.comparison.scored[0].rows[0]
    assert (row.paired["sam"].n, row.paired["sam"].difference) == (2, 0)
    assert any("SAM seed 1 has no em on a" in caveat for caveat in report.caveats)
    assert "NaN" not in (directory / "report" / "report.json").read_text()


def test_runs_that_differ_in_steps_are_flagged(tmp_path: Path) -> None:
    """More evaluations give a better best score, so unequal ones are told."""
    directory = one_score(tmp_path / "x", [(50, 51), (60, 63)])
    write_run(directory, "sam", 1, {"a": {50: {"em": 1.0}, 100: {"em": 63.0}}})
    caveats = write_report(directory).caveats
    assert any(caveat.startswith("The runs were not evaluated at the same steps") for caveat in caveats)
    assert "SAM seed 1 was last evaluated at step 100 of 200." in caveats


def test_one_arm_has_a_score_table(tmp_path: Path) -> None:
    """An experiment with one arm reports scores and compares nothing."""
    directory = write_experiment(tmp_path / "x", metrics={"a": ["em"]}, arms=["sam"], seeds=[0, 1])
    for seed in (0, 1):
        write_run(directory, "sam", seed, {"a": {200: {"em": 50.0 + 2 * seed}}})
    report = write_report(directory)
    assert report.headline == "SAM: em on a 51.0 ± 1.4 at the last step (2 seeds); training took 100 s a run."
    assert report.scores[0].rows == (("a", "em", "SAM", "51.0 ± 1.4", "-", "2", "-"),)


def test_shared_metrics_are_averaged_apart_as_well(tmp_path: Path) -> None:
    """Where every set has the same metrics, each metric has an average of its own."""
    metrics = {"ar": ["f1", "em"], "bn": ["f1", "em"]}
    directory = write_experiment(tmp_path / "x", metrics=metrics, arms=["baseline"], seeds=[0])
    scores = {"ar": {200: {"f1": 10.0, "em": 0.0}}, "bn": {200: {"f1": 30.0, "em": 20.0}}}
    write_run(directory, "baseline", 0, scores)
    rows = write_report(directory).comparison.scored[0].rows[:3]
    assert [(row.metric, row.arms["baseline"].mean) for row in rows] == [("all", 15), ("f1", 20), ("em", 10)]


def test_nothing_finished_is_a_report_too(tmp_path: Path) -> None:
    """Before any run has finished the report says so, and what an earlier one drew is gone."""
    directory = one_score(tmp_path / "x", [(50, 51)])
    assert write_report(directory).figures
    write_run(directory, "sam", 0, {}, state="running", seconds=None)
    write_run(directory, "baseline", 0, {}, state="running", seconds=None)
    for scores in directory.glob("*/eval/a.jsonl"):
        scores.unlink()
    report = write_report(directory)
    assert report.headline == "x: no run has finished with a score yet."
    assert "SAM seed 0 has not finished and is left out." in report.caveats
    assert not list((directory / "report").rglob("scores*"))


def test_half_an_experiment_is_summed_up_without_a_verdict(tmp_path: Path) -> None:
    """With one arm still to run, the other one's scores are shown and nothing is compared."""
    directory = write_experiment(tmp_path / "x", metrics={"a": ["em"]}, seeds=[0])
    write_run(directory, "baseline", 0, {"a": {200: {"em": 50.0}}})
    report = write_report(directory)
    assert report.headline == "SAM cannot be judged: no seed has finished in both arms (em on a, last step)."
    assert report.scores[0].rows == (
        ("a", "em", "Baseline", "50.0", "-", "1", "-"),
        ("a", "em", "SAM", "-", "-", "0", "too few seeds"),
    )


def test_json_holds_everything_in_full(pair: Path) -> None:
    """report.json has the records of all tables and each run's scores with their step, in full precision."""
    write_report(pair)
    content = json.loads((pair / "report" / "report.json").read_text())
    rows = [row for row in content["tables"]["scores-last-step"] if row["arm"] == "sam"]
    assert [(row["evaluation_set"], row["metric"]) for row in rows] == [
        ("average", "all"),
        ("glue/sst2", "accuracy"),
        ("glue/mrpc", "f1"),
        ("glue/mrpc", "accuracy"),
    ]
    assert rows[1]["difference"] == 1.125
    run = next(run for run in content["runs"] if (run["arm"], run["seed"]) == ("sam", 1))
    assert run["scores"]["last-step"]["step"] == 200
    assert run["scores"]["last-step"]["values"][0] == ["glue/sst2", "accuracy", 82.25]
    assert content["tables"]["cost"][1]["ratio_high"] == 145 / 110
    assert next(run for run in content["runs"] if run["state"] == "failed")["scores"] == {}


@pytest.mark.usefixtures("drawn")
def test_the_same_runs_give_the_same_bytes(pair: Path) -> None:
    """Writing a report again changes no file and leaves no other behind."""

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (pair / "report").rglob("*") if path.is_file()}

    write_report(pair)
    first = files()
    write_report(pair)
    assert files() == first
    assert {path.suffix for path in first} == {".md", ".html", ".json", ".csv", ".tex", ".png", ".svg"}


@pytest.mark.usefixtures("drawn")
def test_without_matplotlib_there_are_tables(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matplotlib the report has everything but figures, and tells how to get them."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report = write_report(pair)
    assert not report.figures
    assert report.scores
    assert any("pip install 'lowland[report]'" in caveat for caveat in report.caveats)


def test_a_place_that_cannot_be_written_is_one_sentence(pair: Path) -> None:
    """Where the report cannot be written the user reads where and why."""
    (pair / "report").write_text("in the way")
    with pytest.raises(UserError, match=r"The report cannot be written to .*report"):
        write_report(pair)


def test_several_experiments_have_one_summary(tmp_path: Path) -> None:
    """The summary has a row for each experiment and a column for each setting that differs."""
    directories = [
        one_score(tmp_path / f"rho{rho}", [(50, 51), (60, 63), (55, 54)], rho=rho, batch_size=32)
        for rho in (0.05, 0.15)
    ]
    written = write_several([write_report(directory) for directory in directories], tmp_path / "out")
    (summary,) = written.tables
    assert summary.columns[:3] == ("Experiment", "rho", "Evaluation set")
    assert [row[:2] for row in summary.rows[::2]] == [("rho0.05", "0.05"), ("rho0.15", "0.15")]
    assert "Experiments: score in percent" in printed(written)
