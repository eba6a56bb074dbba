"""`tasks`, `report` and `doctor`: what they say, and their exit codes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.cli.command import call, succeed, write_rows

from lowland.cli import doctor
from lowland.cli.doctor import threads
from lowland.tasks.registry import get_task, mixture_names, task_names


def test_tasks_lists_all() -> None:
    """Every task with its metrics and every mixture is listed, within 80 columns."""
    out = succeed("tasks").out
    for name in task_names():
        assert re.search(rf"^{name} .*\b{get_task(name).metrics[0]}", out, flags=re.MULTILINE)
    for name in mixture_names():
        assert re.search(rf"^{name} ", out, flags=re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", task_names())
def test_task_is_shown_with_an_example(name: str) -> None:
    """Each task shows an input and a target that it writes itself, and where its files are looked for."""
    words = " ".join(succeed("tasks", name).out.split())
    task = get_task(name)
    assert task.description in words
    assert f"lowland compare {name}" in words or f"lowland eval {name}" in words
    assert ("the package carries it" in words) == name.startswith("facts/")
    if name.startswith("facts/"):
        assert "question: " in words
    elif task.sample_row is not None and (examples := task.examples(task.sample_row)):
        assert " ".join(repr(examples[0].inputs).split()) in words
        assert " ".join(repr(examples[0].targets).split()) in words


def test_mixture_is_shown() -> None:
    """A mixture shows its tasks, and which of them it only trains on."""
    out = succeed("tasks", "superglue").out
    assert "superglue/boolq" in out
    assert re.search(r"dpr .*not evaluated", out)


def test_report_again(experiment: Path, tmp_path: Path) -> None:
    """`report` writes the report of finished runs again, and one over several experiments."""
    one, two = tmp_path / "one", tmp_path / "two"
    for copy in (one, two):
        shutil.copytree(experiment, copy, ignore=shutil.ignore_patterns("report", "model", "checkpoints"))
    succeed("report", one, two, "--out", tmp_path / "summary")
    assert (one / "report" / "report.md").exists()
    assert (two / "report" / "report.md").exists()
    assert list((tmp_path / "summary").glob("*.md"))
    assert call("report", one, "--out", tmp_path / "x").code == 2


def test_doctor_is_well() -> None:
    """On a sound installation the doctor finds packages, cores, precision, memory and disk, no problem."""
    out = succeed("doctor").out
    for topic in ("lab", "processor", "accelerator", "memory", "disk"):
        assert re.search(rf"^(ok|note) +{topic} ", out, flags=re.MULTILINE)
    assert "No problem" in out
    names = re.findall(r"^ok +(?:lab|hub|peft|report) +(\S+)", out, flags=re.MULTILINE)
    assert "torch" in names and len(names) == len(set(names))
    assert max(map(len, out.splitlines())) <= 80


def test_doctor_names_a_package_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is needed and too old is a problem with the command that helps; exit code 1."""
    monkeypatch.setattr(doctor, "requires", lambda name: ["rich>=999", 'peft>=999; extra == "peft"'])
    result = call("doctor")
    words = " ".join(result.out.split())
    assert result.code == 1 and "1 problem, 1 note" in words
    assert re.search(r"problem lab .*rich>=999 is needed, not .*pip install 'lowland\[lab\]'", words)


def test_doctor_finds_data(tmp_path: Path) -> None:
    """The doctor counts what is there, names what is missing, and says what is wrong with exit code 1."""
    (tmp_path / "SST-2").mkdir()
    (tmp_path / "RTE").mkdir()
    write_rows(tmp_path / "SST-2" / "train.tsv", [{"sentence": "good", "label": 1}] * 3)
    write_rows(tmp_path / "SST-2" / "dev.tsv", [{"sentence": "bad", "label": 0}])
    write_rows(tmp_path / "RTE" / "train.tsv", [{"sentence1": "a", "label": "entailment"}])
    result = call("doctor", "--data-dir", tmp_path)
    assert result.code == 1
    words = " ".join(result.out.split())
    assert "ok glue/sst2 3 training and 1 evaluation examples" in words
    assert "train holds 3 examples; 67349 are published" in words
    packed = "".join(words.split())  # where a long path breaks depends on its length
    assert re.search(r"problemglue/rte.*train\.tsv,line2:thefield'sentence2'ismissing", packed)
    assert re.search(r"note missing no files for glue/cola, glue/mrpc", words)


@pytest.mark.parametrize(
    ("used", "usable", "level"), [(2, 2, "ok"), (1, 2, "ok"), (16, 2, "note"), (1, 8, "note"), (4, 8, "ok")]
)
def test_threads_against_cores(used: int, usable: int, level: str) -> None:
    """More threads than cores is a note that says what to set, and so is less than half of them."""
    found, _, text = threads(used, usable)
    assert found == level
    assert ("OMP_NUM_THREADS" in text) == (level == "note")
