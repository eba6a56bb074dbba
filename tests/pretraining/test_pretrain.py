"""`lowland pretrain`: from text to a model, through interruptions, with mistakes answered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.command import call, succeed
from tests.fixtures.models import write_checkpoint
from tests.pretraining.texts import write_text

from lowland.models import load_model
from lowland.models.head import has_separate_head

TINY = [
    *("--pieces", "120", "--d-model", "32", "--d-ff", "48", "--d-kv", "16", "--heads", "2"),
    *("--encoder-layers", "1", "--decoder-layers", "1", "--input-length", "32", "--precision", "fp32"),
    *("--batch-size", "16", "--warmup-steps", "5", "--validation-documents", "6", "--log-every", "2"),
]

SETTLED = ("--pieces", "--d-model", "--d-ff", "--d-kv", "--heads", "--encoder-layers", "--decoder-layers")
"""What a checkpoint settles."""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 60 documents."""
    return write_text(tmp_path_factory.mktemp("text") / "text.txt", documents=60)


def _outcome(run: Path) -> tuple[str, bytes, list[float]]:
    status = json.loads((run / "status.json").read_text())
    assert status["state"] == "done"
    lines = (run / "eval/validation.jsonl").read_text().splitlines()
    return (
        status["weights_sha256"],
        (run / "train.jsonl").read_bytes(),
        [json.loads(line)["metrics"]["loss"] for line in lines],
    )


@pytest.mark.parametrize("optimizer", ["adafactor", "muon"])
def test_it_learns(tmp_path: Path, text: Path, optimizer: str) -> None:
    """The validation loss goes on falling, and the model loads as a T5.1.1 checkpoint."""
    rate = {"adafactor": "0.03", "muon": "0.01"}[optimizer]
    options = ["--steps", "60", "--evaluate-every", "20", "--optimizer", optimizer, "--learning-rate", rate]
    out = tmp_path / "out"
    result = succeed("pretrain", text, *TINY, *options, "--out", out, "--save-as", "bf16")
    losses = _outcome(out / "baseline-seed0")[2]
    assert len(losses) == 3
    assert losses[-1] < losses[0] - 0.2  # of about 5 nats at the start; chance moves it by hundredths
    assert "validation loss" in result.out
    loaded = load_model(str(out / "model"), dropout=None)
    assert has_separate_head(loaded.model)
    assert len(loaded.tokenizer) == 220
    assert loaded.model.config.feed_forward_proj == "gated-gelu"


def test_it_goes_on_from_a_checkpoint(tmp_path: Path, text: Path) -> None:
    """With --model the weights, shape and vocabulary are those of the checkpoint, down to its loss."""
    first, second = tmp_path / "first", tmp_path / "second"
    options = ["--evaluate-every", "20", "--optimizer", "muon", "--learning-rate", "0.01"]
    succeed("pretrain", text, *TINY, *options, "--steps", "20", "--out", first)
    rest = [
        word for pair in zip(TINY[::2], TINY[1::2], strict=True) if pair[0] not in SETTLED for word in pair
    ]
    further = ["pretrain", text, *rest, *options, "--evaluate-every", "1", "--learning-rate", "1e-12"]
    result = succeed(*further, "--steps", "1", "--model", first / "model", "--out", second)
    assert "Training a vocabulary" not in result.out
    before, after = (_outcome(out / "baseline-seed0")[2][-1] for out in (first, second))
    # A step this small leaves the loss as it was, but for the rounding of fp32.
    assert after == pytest.approx(before, abs=1e-5)
    one, other = (load_model(str(out / "model"), dropout=None) for out in (first, second))
    assert one.model.config.to_diff_dict() == other.model.config.to_diff_dict()
    assert one.tokenizer.get_vocab() == other.tokenizer.get_vocab()


@pytest.mark.parametrize("kind", ["bart", "bert2bert"])
def test_only_a_t5_goes_on(tmp_path: Path, text: Path, kind: str) -> None:
    """A checkpoint that span corruption cannot train is refused in a sentence."""
    write_checkpoint(tmp_path / kind, kind)
    result = call("pretrain", text, "--model", tmp_path / kind, "--out", tmp_path / "out")
    assert result.code == 2
    assert "cannot be pre-trained further" in result.err.replace("\n", " ")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("arm", "rho"), [("baseline", "0"), ("sam", "0.15")])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_goes_on(tmp_path: Path, text: Path, number: signal.Signals, arm: str, rho: str) -> None:
    """Killed or stopped on the way, a pre-training ends with the weights and logs of one that was not."""
    options = ["--steps", "40", "--evaluate-every", "10", "--optimizer", "muon", "--rho", rho]
    out, through = tmp_path / "out", tmp_path / "through"
    command = ["pretrain", str(text), *TINY, *options, "--out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lowland", *command, str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while not list((out / f"{arm}-seed0" / "states").glob("step-*")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), err
    assert not (out / "model").exists()

    result = succeed(*command, out)
    assert "Going on after step" in result.out
    succeed(*command, through)
    assert _outcome(out / f"{arm}-seed0") == _outcome(through / f"{arm}-seed0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Give text files"),
        (["TEXT", "--steps", "0"], "Invalid steps=0"),
        (["TEXT", "--heads", "0"], "Invalid heads=0"),
        (["TEXT", "--validation-documents", "60"], "60 document(s), parted by blank lines, and 60"),
        (["TEXT", "--pieces", "100000"], "fewer --pieces"),
        (["missing.txt"], "missing.txt cannot be read"),
        (["TEXT", "--out", "FOLDER"], "holds no pre-training"),
        (["TEXT", "--model", "embedded"], "leave out --pieces, --d-model"),
    ],
)
def test_mistakes(tmp_path: Path, text: Path, words: list[str], said: str) -> None:
    """A mistake ends with exit code 2 and one sentence that says what is wrong."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("")
    given = [{"TEXT": str(text), "FOLDER": str(folder)}.get(word, word) for word in words]
    small = [] if "--pieces" in words else TINY
    out = [] if "--out" in words else ["--out", str(tmp_path / "out")]
    result = call("pretrain", *small, *given, *out)
    assert result.code == 2
    assert said in result.err.replace("\n", " ")
    assert "Traceback" not in result.err


def test_another_run_is_not_overwritten(tmp_path: Path, text: Path) -> None:
    """A directory that holds a pre-training with other settings, text or checkpoint is refused."""
    options = ["--steps", "1", "--evaluate-every", "1", "--out", str(tmp_path / "out")]
    succeed("pretrain", text, *TINY, *options)
    other = write_text(tmp_path / "other.txt", documents=61)
    further = [*options, "--input-length", "32", "--validation-documents", "6"]
    for words, said in (
        ([text, *TINY, *options, "--seed", "1"], "other: settings"),
        ([other, *TINY, *options], "other: text"),
        ([text, *further, "--model", tmp_path / "out" / "model"], "other: settings, start"),
    ):
        result = call("pretrain", *words)
        assert result.code == 2
        assert said in result.err.replace("\n", " ")
    moved = text.rename(text.with_name("renamed.txt"))
    try:
        succeed("pretrain", moved, *TINY, *options)
    finally:
        moved.rename(text)


def test_advice_can_be_followed(tmp_path: Path, text: Path) -> None:
    """After a mistake that was told before training began, the mended command takes the same directory."""
    options = [*TINY, "--steps", "1", "--out", tmp_path / "out"]
    result = call("pretrain", text, *options, "--validation-documents", "60")
    assert result.code == 2
    succeed("pretrain", text, *options)


def test_every_text_has_its_directory(tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --out, another text is pre-trained on in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    other = write_text(tmp_path / "other.txt", documents=61)
    for file in (text, other):
        succeed("pretrain", file, *TINY, "--steps", "1")
    assert len(list((tmp_path / "runs").iterdir())) == 2
