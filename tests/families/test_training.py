"""Tiny models of every kind through the real entry: trained, interrupted, scored, exported, loaded again."""

from __future__ import annotations

import csv
import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.cli.command import call, succeed, trajectory
from tests.families.tiny import CAUSAL, CLASSIFIERS, WRITERS, write_model, write_rows

from lowland.families.recognise import FAMILIES
from lowland.models.load import quiet_transformers
from lowland.train import loop

QUICK = ("llama", "bert")
KINDS = [
    pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow)
    for kind in (*WRITERS, *CAUSAL, *CLASSIFIERS)
]
SHORT = [
    *("--steps", "4", "--evaluate-every", "2", "--batch-size", "8", "--log-every", "1"),
    *("--target-length", "8", "--precision", "fp32", "--learning-rate", "0.01"),
]


def family_of(kind: str) -> Any:
    """The class that `kind` is to be recognised as."""
    name = "causal" if kind in CAUSAL else "classifier" if kind in CLASSIFIERS else "encoder-decoder"
    return FAMILIES[name]


def interrupted(monkeypatch: pytest.MonkeyPatch, words: list[str | Path], step: int = 3) -> None:
    """Runs a command and interrupts it in the middle of a step; then the same command again, to its end."""
    calls, clip = count(), loop.clip

    def stop(parameters: Any, norm: float) -> float:
        if next(calls) == step:
            raise KeyboardInterrupt
        return clip(parameters, norm)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "clip", stop)
        assert call(*words).code == 130
    succeed(*words)


def answers(pipe: Any, texts: list[str]) -> list[str]:
    """What a pipeline of transformers makes of inputs."""
    if pipe.task == "text-classification":
        return [found["label"] for found in pipe(texts)]
    options = {"max_new_tokens": 8, "do_sample": False, "return_full_text": False}
    return [found[0]["generated_text"] for found in pipe([f"{text}\n" for text in texts], **options)]


@pytest.mark.parametrize("kind", KINDS)
def test_from_start_to_finish(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run ends as one that was interrupted, and its model is an ordinary one that answers as it did."""
    words = ["train", *write_rows(tmp_path), "--model", write_model(tmp_path / "start", kind), *SHORT]
    out = tmp_path / "one" / "whole"
    succeed(*words, "--out", out)
    interrupted(monkeypatch, [*words, "--out", tmp_path / "two" / "halves"])
    assert trajectory(out / "sam-seed0") == trajectory(tmp_path / "two" / "halves" / "sam-seed0")

    family, model = family_of(kind), out / "model"
    card = (model / "README.md").read_text()
    assert family.auto_class in card and family.pipeline in card
    with quiet_transformers():
        loaded = getattr(transformers, family.auto_class).from_pretrained(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    batch = tokenizer(["the big cat"], return_tensors="pt")
    batch.pop("token_type_ids", None)
    extra = {"decoder_input_ids": torch.zeros(1, 1, dtype=torch.long)} if kind in WRITERS else {}
    assert loaded(**batch, **extra).logits.isfinite().all()

    # The model that was chosen is one of the two that were scored.
    result = succeed("eval", "--eval", tmp_path / "dev.csv", "--target", "{label}", "--model", model,
                     "--json", "--predictions", tmp_path / "found", "--precision", "fp32")  # fmt: skip
    (scored,) = json.loads(result.out)["sets"].values()
    assert scored["examples"] == 8
    (found,) = (path.read_text() for path in (tmp_path / "found").glob("*.jsonl"))
    written = [path.read_text() for path in (out / "sam-seed0" / "predictions").glob("*.jsonl")]
    assert found in written
    succeed("predict", "--model", model, "--input", tmp_path / "dev.csv", "--output", tmp_path / "done.jsonl",
            "--precision", "fp32")  # fmt: skip
    predictions = [
        json.loads(line)["prediction"] for line in (tmp_path / "done.jsonl").read_text().splitlines()
    ]
    assert predictions == [json.loads(line)["prediction"] for line in found.splitlines()]

    # transformers 5 has no pipeline for encoder-decoders.
    if kind not in WRITERS:
        with (tmp_path / "dev.csv").open(newline="") as file:
            texts = [row["text"] for row in csv.DictReader(file)]
        with quiet_transformers():
            assert answers(transformers.pipeline(family.pipeline, model=str(model)), texts) == predictions


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_both_arms_start_alike(kind: str, tmp_path: Path) -> None:
    """Until SAM begins both arms are the same, bit for bit: they start from one head with the same masks."""
    options = write_rows(tmp_path)
    model = write_model(tmp_path / "start", kind)
    words = [*SHORT, "--sam-start", "0.5", "--seeds", "2", "--dropout", "0.1"]
    succeed("compare", *options, "--model", model, *words, "--out", tmp_path / "out")

    def log(run: str) -> list[tuple[float, float]]:
        lines = (tmp_path / "out" / run / "train.jsonl").read_text().splitlines()
        return [(line["loss"], line["gradient_norm"]) for line in map(json.loads, lines)]

    baseline, sam, other = log("baseline-seed0"), log("sam-seed0"), log("sam-seed1")
    assert baseline[:2] == sam[:2] and baseline[2] != sam[2]
    assert other[0] != sam[0]
