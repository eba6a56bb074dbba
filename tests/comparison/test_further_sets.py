"""Further test sets: what they are made of, and what is told of them before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.command import write_rows

from lowland.comparison.outcomes import Measured
from lowland.config.experiment import build_config
from lowland.runs.directory import RunDirectory, write_json
from lowland.runs.examples import load_data


def measured(folder: Path, steps: int = 100, **custom: Any) -> Measured:
    """What is measured of an experiment on rows in a folder, which has a further set."""
    own = {"train": str(folder / "train.jsonl"), "evaluation": str(folder / "dev.jsonl"), "input": "{text}"}
    also = {"spoken": str(folder / "spoken.jsonl")}
    data = {"custom": own | {"target": "{label}"} | custom}
    config = build_config(
        {"data": data, "train": {"steps": steps}, "outcomes": {"measure": [], "also": also}}
    )
    return Measured(config, load_data(config.data))


def write(folder: Path, *spoken: dict[str, str]) -> None:
    """Writes rows of three classes, and those of the further set."""
    rows = [{"text": f"mail {n}", "label": ["ham", "news", "spam"][n % 3], "all": "x|y"} for n in range(30)]
    write_rows(folder / "train.jsonl", rows[:24])
    write_rows(folder / "dev.jsonl", rows[24:])
    write_rows(folder / "spoken.jsonl", list(spoken))


def test_every_edit_of_a_further_set_is_seen(tmp_path: Path) -> None:
    """Another text, target, answer or order makes other outcomes, which are measured again."""
    one, other = {"text": "a", "label": "x", "all": "x|y"}, {"text": "b", "label": "y", "all": "y"}
    seen = []
    for rows in ([one, other], [other, one], [one | {"all": "x"}, other], [one | {"label": "y"}, other]):
        write(tmp_path, *rows)
        seen.append(measured(tmp_path, metrics=["qa"], answers="all").settings["also"])
    assert len(set(seen)) == len(seen)


def test_a_further_set_is_of_the_same_task(tmp_path: Path) -> None:
    """The positive class is that of the task, also where the further set has more than two classes."""
    write(
        tmp_path,
        {"text": "a", "label": "spam"},
        {"text": "b", "label": "news"},
        {"text": "c", "label": "spam"},
    )
    (none,) = measured(tmp_path, metrics=["f1"], positive="ham").warnings
    assert "none of its 3 targets is 'ham'" in none


def test_what_is_odd_in_a_further_set_is_told(tmp_path: Path) -> None:
    """Labels that training never shows, and inputs that it does show, are told before training."""
    write(tmp_path, {"text": "mail 0", "label": "ham"}, {"text": "b", "label": "Ham"})
    *_, seen, strange = measured(tmp_path).warnings
    assert seen.startswith("spoken: 1 of 2 evaluation inputs occur in training too")
    assert strange == "spoken: 1 of 2 evaluation targets never occur in training: 'Ham' (1)."


def test_longer_training_is_measured_on_more_examples(tmp_path: Path) -> None:
    """The number of examples of a test set grows with the training, from 20 to 1,000."""
    write(tmp_path, {"text": "a", "label": "spam"})
    found = [measured(tmp_path, steps).settings["examples"] for steps in (1, 200, 10**6)]
    assert found[0] == 20 < found[1] < found[2] == 1000


def test_examples_of_further_sets_are_counted(tmp_path: Path) -> None:
    """Where only further sets are measured, the sentence before it counts their examples."""
    write(tmp_path, *({"text": f"a{n}", "label": "spam"} for n in range(9)))
    run = RunDirectory(tmp_path, "baseline", 0)
    (run.path / "checkpoints" / "step-1").mkdir(parents=True)  # damaged, so that nothing is computed
    write_json(run.path / "status.json", {"state": "done"})
    told: list[str] = []
    measured(tmp_path).measure(tmp_path, [run], told.append)
    assert told[0] == "Measuring further test sets of 1 model, on up to 9 examples of each set."
    assert "cannot be measured" in told[1]
