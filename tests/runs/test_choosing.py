"""What a checkpoint is chosen by: enough held-out examples that can tell, or the last step."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.command import write_rows

from lowland.config.data import CustomData, DataSettings
from lowland.runs.examples import load_data, load_examples, part
from lowland.tasks.base import Source
from lowland.tasks.registry import get_task


def settings(
    folder: Path, train: list[str], evaluation: list[str], metric: str, **others: object
) -> DataSettings:
    """Settings of own data with these labels."""
    files = {}
    for name, labels in (("train", train), ("evaluation", evaluation)):
        rows = [{"text": f"{name} mail {index}", "label": label} for index, label in enumerate(labels)]
        files[name] = str(write_rows(folder / f"{name}.jsonl", rows))
    custom = CustomData(**files, input="{text}", target="{label}", metrics=(metric,), name="mine")
    return DataSettings(custom=custom, **others)  # type: ignore[arg-type]


def rare(number: int, every: int) -> list[str]:
    """Labels of which each so many-th is spam."""
    return ["spam" if index % every == 1 else "ham" for index in range(number)]


def test_too_few_held_out_examples_choose_nothing(tmp_path: Path) -> None:
    """A tenth of 400 rows is too few to choose by: none is held out, and the sentence says how to insist."""
    few = settings(tmp_path, rare(400, 4), rare(40, 4), "accuracy")
    parted = part(load_data(few), few, 0)
    assert not parted.held_out and len(parted.train["mine"]) == 400
    assert "40, too few to choose a checkpoint by" in parted.warnings[0]
    assert "--held-out 40" in parted.warnings[0]
    insisting = settings(tmp_path, rare(400, 4), rare(40, 4), "accuracy", held_out=40)
    parted = part(load_data(insisting), insisting, 0)
    assert len(parted.held_out["mine"]) == 40 and not parted.warnings


def test_a_large_set_is_chosen_by(tmp_path: Path) -> None:
    """A tenth of 1,000 rows is held out, without a word."""
    enough = settings(tmp_path, rare(1000, 4), rare(40, 4), "accuracy")
    parted = part(load_data(enough), enough, 0)
    assert len(parted.held_out["mine"]) == 100 and not parted.warnings


def test_held_out_rows_without_positives_choose_nothing(tmp_path: Path) -> None:
    """Where no held-out row is of the positive class, no checkpoint is chosen by its F1, and that is told;
    where a positive stands elsewhere in the file, one is.
    """
    blind = can_tell = 0
    for every in range(6, 18):
        data = settings(tmp_path, rare(80, every), rare(40, 4), "f1", held_out=8)
        parted = part(load_data(data), data, 0)
        said = " ".join(parted.warnings)
        if parted.held_out:
            can_tell += 1
            assert any(example.targets == "spam" for example in parted.held_out["mine"])
            assert "not defined" not in said
        else:
            blind += 1
            assert "held out: none of its 8 targets is 'spam'" in said
            assert "the last step counts" in said
            assert len(parted.train["mine"]) == 80
    assert blind and can_tell


def test_seeds_share_what_is_held_out(tmp_path: Path) -> None:
    """All seeds hold out the same rows and train on others, as many as the fraction leaves, each its own."""
    data = settings(tmp_path, rare(400, 4), rare(40, 4), "accuracy", held_out=40, fraction=0.5)
    loaded = load_data(data)
    first, second = (part(loaded, data, seed) for seed in (0, 1))
    assert first.held_out is second.held_out and len(first.held_out["mine"]) == 40  # found once
    assert len(first.train["mine"]) == len(second.train["mine"]) == 160
    assert first.train != second.train
    held = {example.inputs for example in first.held_out["mine"]}
    assert not held & {example.inputs for parted in (first, second) for example in parted.train["mine"]}


def test_an_evaluation_set_that_cannot_tell_is_told(tmp_path: Path) -> None:
    """An evaluation set without positives is told, and so are first rows that lack them."""
    none = settings(tmp_path, rare(40, 4), ["ham"] * 20, "f1")
    assert "mine, evaluation: none of its 20 targets is 'spam', so that f1 is not defined there." in (
        load_data(none).warnings
    )
    first = settings(tmp_path, rare(40, 4), ["ham"] * 10 + ["spam"] * 10, "f1", evaluation_limit=10)
    assert "mine, evaluation: none of its 10 targets is 'spam', so that f1 is not defined there." in (
        load_data(first).warnings
    )


MULTIRC = (
    '{"idx": %d, "passage": {"text": "Ann has a boat.", "questions": [{"question": "What?", "idx": %d, '
    '"answers": [{"text": "A boat", "idx": 0, "label": 1}, {"text": "Ann", "idx": 1, "label": 0}]}]}}\n'
)


@pytest.mark.parametrize(("limit", "taken"), [(1, 2), (2, 2), (3, 4)])
def test_first_examples_hold_whole_questions(tmp_path: Path, limit: int, taken: int) -> None:
    """The first examples of MultiRC end with a question's last answer: exact match is of whole questions."""
    (tmp_path / "val.jsonl").write_text("".join(MULTIRC % (index, index) for index in range(3)))
    source = Source(data_dir=tmp_path, train=False)
    data = load_examples([get_task("superglue/multirc")], source, limit)
    assert len(data.evaluation["superglue/multirc"]) == taken
