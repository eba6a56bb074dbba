"""Wrong labels on purpose."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.command import SMALL, call, reviews, succeed, write_rows
from tests.fixtures.models import tiny_loaded

from lowland.config.data import DataSettings
from lowland.errors import UserError
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.runs.encodings import Encodings
from lowland.runs.examples import ExperimentData, SeedData, known_labels, part
from lowland.tasks.base import Example, Source
from lowland.tasks.registry import get_task
from lowland.tasks.subsample import flip_labels
from lowland.train.settings import TrainSettings

LABELS = ("entailment", "contradiction", "neutral")
SHARE = st.floats(0.0, 1.0)


def examples(size: int) -> list[Example]:
    """Examples with different inputs and three targets."""
    return [Example(inputs=f"cb {number}", targets=LABELS[number % 3]) for number in range(size)]


def made_up(size: int = 120) -> ExperimentData:
    """The examples of an experiment on one task of three classes."""
    task = get_task("superglue/cb")
    return ExperimentData(
        tasks={"superglue/cb": task},
        train={"superglue/cb": examples(size)},
        evaluation={"superglue/cb": examples(10)},
        scorers={"superglue/cb": task},
        warnings=(),
    )


def everything(parted: SeedData) -> dict[str, str]:
    """All examples of a seed, input -> target, the held-out ones among them."""
    both = [*parted.train["superglue/cb"], *parted.held_out.get("superglue/cb", ())]
    return {example.inputs: example.targets for example in both}


@given(st.integers(1, 200), SHARE, SHARE, st.integers(0, 2**32))
def test_flips_are_as_many_as_asked_for_and_nested(size: int, one: float, other: float, seed: int) -> None:
    """The number flipped is the share to one row, and a larger share flips the same rows alike and more."""
    few, many = sorted((one, other))
    clean = examples(size)
    a, b = flip_labels(clean, LABELS, few, seed), flip_labels(clean, LABELS, many, seed)
    wrong_a = {i for i in range(size) if a[i].targets != clean[i].targets}
    wrong_b = {i for i in range(size) if b[i].targets != clean[i].targets}
    assert abs(len(wrong_a) - few * size) <= 1 and abs(len(wrong_b) - many * size) <= 1
    assert wrong_a <= wrong_b and all(a[i].targets == b[i].targets for i in wrong_a)
    assert all(a[i] is clean[i] for i in range(size) if i not in wrong_a)
    assert [example.inputs for example in b] == [example.inputs for example in clean]
    assert b == flip_labels(clean, LABELS, many, seed)


def test_a_seed_means_the_same_flips_for_good() -> None:
    """The draw of a seed is fixed: these flips must never change, and another seed makes others."""
    flipped = flip_labels(examples(20), LABELS, 0.2, seed=0)
    changed = {i: e.targets for i, e in enumerate(flipped) if e.targets != LABELS[i % 3]}
    assert changed == {1: "entailment", 6: "neutral", 10: "neutral", 16: "neutral"}
    assert flip_labels(examples(20), LABELS, 0.2, seed=1) != flipped


def test_wrong_labels_are_uniform_over_the_others() -> None:
    """With all of 6000 labels flipped each of the two others comes about equally often."""
    flipped = flip_labels(examples(6000), LABELS, 1.0, seed=0)
    for number, label in enumerate(LABELS):
        counts = Counter(example.targets for example in flipped[number::3])
        assert label not in counts
        # 2000 draws of two kinds: 5 standard deviations are 112.
        assert all(abs(count - 1000) < 112 for count in counts.values()) and len(counts) == 2


def test_right_answers_follow_a_flipped_target() -> None:
    """Where an example carries its right answers, the wrong label is the only one after a flip."""
    (flipped,) = flip_labels([Example(inputs="x", targets="yes", answers=("yes",))], ("yes", "no"), 1.0, 0)
    assert (flipped.targets, flipped.answers) == ("no", ("no",))


def test_a_wrong_answer_is_another_questions() -> None:
    """In tasks of facts wrong targets are answers of other questions, and none is another right answer."""
    task = get_task("facts/languages")
    clean = task.load(Source()).train
    wrong = flip_labels(clean, known_labels(task, clean), 1.0, seed=0)
    answers = {example.targets for example in clean}
    for before, after in zip(clean, wrong, strict=True):
        assert after.targets in answers and before.answers is not None
        assert after.targets not in before.answers and after.answers == (after.targets,)


def test_where_every_label_is_right_none_is_wrong() -> None:
    """An example whose right answers are all the labels there are is refused in a sentence."""
    with pytest.raises(UserError, match="none is wrong"):
        flip_labels([Example(inputs="x", targets="yes", answers=("yes", "no"))], ("yes", "no"), 1.0, 0)


def test_noise_comes_after_the_fraction_and_before_the_holding_out() -> None:
    """The share holds of the used examples, held-out ones among them, whatever is held out."""
    data = made_up()
    clean = everything(part(data, DataSettings(tasks=("superglue/cb",), fraction=0.5), 3))
    for held_out in (0, 0.1, 0.3):
        settings = DataSettings(
            tasks=("superglue/cb",), fraction=0.5, label_noise=0.4, held_out=held_out, held_out_limit=100
        )
        noisy = everything(part(data, settings, 3))
        assert noisy.keys() == clean.keys()
        wrong = {name for name in noisy if noisy[name] != clean[name]}
        assert len(wrong) == 24
        if held_out == 0:
            first = wrong
        assert wrong == first


def test_the_wrong_labels_are_what_is_trained_on() -> None:
    """Batches hold the token ids of the flipped targets with those of their inputs."""
    data, settings = made_up(), DataSettings(tasks=("superglue/cb",), label_noise=0.4, held_out=0)
    family = EncoderDecoder(tiny_loaded("t5"))
    tokenizer = family.tokenizer
    encodings = Encodings(data, family, TrainSettings())
    parted = part(data, settings, 0)
    batch = next(encodings.batches(parted, 64, 0, family))
    wanted = everything(parted)
    clean = {example.inputs: example.targets for example in data.train["superglue/cb"]}
    labels = batch["labels"].clamp(min=0)
    read = dict(
        zip(
            tokenizer.batch_decode(batch["input_ids"], skip_special_tokens=True),
            tokenizer.batch_decode(labels, skip_special_tokens=True),
            strict=True,
        )
    )
    assert {name: wanted[name] for name in read} == read
    assert any(clean[name] != target for name, target in read.items())


@pytest.mark.parametrize("name", ["glue/stsb", "superglue/wsc", "cbqa/web_questions", "superglue/record"])
def test_tasks_without_labels_are_refused(name: str) -> None:
    """Free answers and numbers have no other label to flip to, which one sentence says."""
    free = [Example(inputs=str(number), targets=str(number)) for number in range(4)]
    with pytest.raises(UserError, match=r"no class labels\. Leave the task or --label-noise out\."):
        known_labels(get_task(name), free)


def test_one_label_is_none_to_flip_to() -> None:
    """Where all training targets are the same there is no other label, which one sentence says."""
    with pytest.raises(UserError, match="all the same"):
        known_labels(get_task("glue/sst2"), [Example(inputs="x", targets="positive")] * 3)


def read_losses(run: Path) -> list[float]:
    """The losses of a run."""
    return [json.loads(line)["loss"] for line in (run / "train.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Of rho=1e-09 only")  # as it is meant
def test_both_arms_train_on_the_same_wrong_labels(tmp_path: Path) -> None:
    """Through the command line, both arms learn under noise, each by its own gradient, and noise tells."""
    train, dev = write_rows(tmp_path / "t.jsonl", reviews(40)), write_rows(tmp_path / "d.jsonl", reviews(8))
    own = ["--train", train, "--eval", dev, "--input", "{text}", "--target", "{label}", *SMALL]
    succeed(
        "compare", *own, "--rho", "1e-9", "--seeds", "1", "--label-noise", "0.4", "--out", tmp_path / "noisy"
    )
    noisy, sam = (read_losses(tmp_path / "noisy" / f"{arm}-seed0") for arm in ("baseline", "sam"))
    # 1e-4: the same batches and masks; the gradient is off by a radius below what fp32 resolves.
    assert sam == pytest.approx(noisy, rel=1e-4)
    succeed("train", *own, "--arm", "baseline", "--out", tmp_path / "clean")
    assert read_losses(tmp_path / "clean" / "baseline-seed0") != pytest.approx(noisy, rel=1e-2)


def test_noise_is_an_axis_of_a_grid(tmp_path: Path) -> None:
    """A grid of `label-noise` plans an experiment for each, and a task without labels ends it at once."""
    train, dev = write_rows(tmp_path / "t.jsonl", reviews(40)), write_rows(tmp_path / "d.jsonl", reviews(8))
    own = ["--train", train, "--eval", dev, "--input", "{text}", "--target", "{label}", *SMALL]
    shown = succeed("compare", "--grid", "label-noise=0,0.4", *own, "--out", tmp_path / "grid", "--plan")
    assert "label-noise-0.4" in shown.out
    free = [*own, "--metric", "exact_match"]
    refused = call("train", *free, "--label-noise", "0.2", "--out", tmp_path / "x")
    assert refused.code == 2 and "no class labels" in refused.err
