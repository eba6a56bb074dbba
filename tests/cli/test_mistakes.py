"""What a user gets wrong: exit code 2, one sentence that says what and where, and nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.command import SMALL, Result, call, reviews, write_rows
from tests.cli.mistakes import HANDLED, MISTAKES, little_disk, prepare, run_case

from lowland.runs.guard import locked

MISTAKEN = [case for cases in MISTAKES.values() for case in cases]
UNDERSTOOD = [case for cases in HANDLED.values() for case in cases]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good and bad files."""
    return prepare(tmp_path_factory.mktemp("mistakes"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is an empty one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def check(result: Result, expected: list[str]) -> None:
    """Checks that a mistake is answered well."""
    assert result.code == 2, result.out
    assert result.err.startswith("lowland: ")
    assert result.err.count("\n") == 1
    assert result.err.endswith((".\n", "?\n", ")\n"))
    assert "Traceback" not in result.err
    assert result.out == ""
    for part in expected:
        assert part in result.err


@pytest.mark.parametrize(("command", "expected"), MISTAKEN)
def test_mistake(folder: Path, command: str, expected: list[str]) -> None:
    """A mistake gets exit code 2 and a sentence that names what and where; no file is left."""
    before = sorted(folder.rglob("*"))
    check(run_case(command, folder), expected)
    assert list(Path.cwd().iterdir()) == []
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(("command", "expected"), UNDERSTOOD)
def test_oddity(folder: Path, command: str, expected: list[str]) -> None:
    """What is odd but can be understood is read, and what a user should know of it is said."""
    result = run_case(command, folder)
    assert result.code == 0, result.err
    said = " ".join(result.out.split())
    for part in expected:
        assert part in said


def test_mistake_through_the_real_command(folder: Path) -> None:
    """The installed command answers with exit code 2 and one line on standard error, too."""
    words = ["compare", "--train", folder / "nul.jsonl", "--eval", folder / "dev.jsonl"]
    command = [sys.executable, "-m", "lowland", *words, "--input", "{text}", "--target", "{label}"]
    done = subprocess.run(command, capture_output=True, text=True)
    check(Result(done.returncode, done.stdout, done.stderr), ["nul.jsonl, line 2", "NUL"])


WITHOUT_TORCH = """
import json, sys
from lowland.cli import main
codes = [main(words) for words in json.loads(sys.argv[1])]
print(codes, "torch" in sys.modules)
"""


def test_mistakes_and_what_is_finished_need_no_torch(folder: Path, experiment: Path) -> None:
    """A mistake in an option, path, column or template, and a finished experiment, are told without torch."""
    own = ["compare", "--train", str(folder / "train.jsonl"), "--split", "0.2"]
    texts = ["--input", "{text}", "--target", "{label}"]
    commands = [
        ["compare", "facts/continents", "--rho", "-1"],
        [*own, *texts, "--train", str(folder / "nowhere.jsonl")],
        [*own, *texts, "--target", "{lable}"],
        [*own, *texts, "--input", "{text"],
        ["compare", "facts/continents", *SMALL, "--seeds", "1", "--out", str(experiment)],
    ]
    words = [sys.executable, "-c", WITHOUT_TORCH, json.dumps(commands)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[2, 2, 2, 2, 0] False", done.stderr
    assert "done before" in done.stdout


def test_cut_inputs_are_counted() -> None:
    """Inputs that are longer than the limit are counted in what eval and predict say."""
    write_rows(Path("dev.jsonl"), reviews(5))
    model = ["--model", "embedded", "--input-length", "4"]
    own = ["--eval", "dev.jsonl", "--input", "{text}", "--target", "{label}"]
    assert "5 of 5 evaluation inputs are longer than 4 tokens" in " ".join(
        call("eval", *own, *model).err.split()
    )
    rows = ["--template", "{text}", "--input", "dev.jsonl"]
    assert "5 inputs are longer than 4 tokens" in " ".join(call("predict", *rows, *model).err.split())


@pytest.mark.parametrize(
    "words",
    [
        [
            "predict",
            "--model",
            "embedded",
            "--template",
            "{text}",
            "--input",
            "dev.jsonl",
            "--output",
            "out.csv",
        ],
        ["eval", "facts/continents", "--model", "embedded", "--limit", "64", "--predictions", "out"],
    ],
)
def test_full_disk(words: list[str]) -> None:
    """A disk that is full gets exit code 2 and a sentence that names the file, and no half file stays."""
    write_rows(Path("dev.jsonl"), reviews(40))
    with little_disk(size=1000):
        result = call(*words)
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith("lowland: out")
    assert "File too large" in result.err
    assert [path for path in Path.cwd().rglob("*") if path.is_file()] == [Path.cwd() / "dev.jsonl"]


LITTLE_MEMORY = """
import resource, sys
import torch, transformers, lowland.comparison.compare
from transformers import T5ForConditionalGeneration
from lowland.cli import main
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 400_000_000,) * 2)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow  # loads the libraries in a process of its own
def test_little_memory() -> None:
    """A machine without enough memory gets exit code 2 and a sentence that says how to need less."""
    words = ["train", "facts/capitals", "--batch-size", "4096", "--steps", "1", "--precision", "fp32"]
    done = subprocess.run([sys.executable, "-c", LITTLE_MEMORY, *words], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "not enough memory" in done.stderr
    assert "--micro-batch-size" in done.stderr
    assert "Traceback" not in done.stderr


def test_directory_of_another_experiment(experiment: Path) -> None:
    """A directory with an experiment of other settings is refused, with both values, and left alone."""
    before = (experiment / "experiment.toml").read_bytes()
    result = call("compare", "facts/continents", *SMALL, "--rho", "0.5", "--out", experiment)
    check(result, [str(experiment), "sam.rho: 0.15 there, 0.5 here", "--out"])
    assert (experiment / "experiment.toml").read_bytes() == before


def test_a_directory_in_use_is_refused_before_anything_is_planned(tmp_path: Path) -> None:
    """The second command on a directory is refused, without a plan, while the first one has it."""
    out = tmp_path / "out"
    with locked(out):
        check(call("compare", "facts/continents", *SMALL, "--out", out), [str(out), "in use by process"])
    assert [file.name for file in out.iterdir()] == [".lock"]


def test_lock_alone_is_no_obstacle(tmp_path: Path) -> None:
    """A directory that holds nothing but the lock of a killed process is used: only the model is wrong."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").touch()
    result = call("compare", "facts/continents", "--model", tmp_path / "none", "--out", tmp_path / "out")
    check(result, ["none", "directory"])
