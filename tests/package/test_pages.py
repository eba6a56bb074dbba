"""README, docs/ and the pages beside them: what they name exists, and their examples run."""

from __future__ import annotations

import inspect
import re
import shlex
import sys
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import Seq2SeqTrainer, Trainer

import lowland
from lowland.cli import COMMANDS, command_parser
from lowland.config.arms import KNOWN
from lowland.sam import SAMConfig
from lowland.train.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").glob("*.md")),
]
OF_OTHERS = {
    "--keep-memory",  # benchmarks/bench_overhead.py
    "--no-deps",  # pip
    "--nproc-per-node",  # torchrun
    "--num_processes",  # accelerate launch
    "--require-hashes",  # pip
    "--standalone",  # torchrun
    "--strict",  # mypy
}
over_pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)

parser = cache(command_parser)


@over_pages
def test_options_exist(page: Path) -> None:
    """Every option that a page names is one of lowland's or of another program that is listed here."""
    own = {option for name in COMMANDS for option in parser(name)._option_string_actions}
    named = set(re.findall(r"(?<![\w-])--[a-z0-9][\w-]*", page.read_text(encoding="utf-8")))
    assert named <= own | OF_OTHERS


@over_pages
def test_commands_parse(page: Path) -> None:
    """Every command in a block of a page is understood; `...` stands for words of one's own."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for command in re.findall(r"^(?: {4})?(?:.*-m )?(lowland [a-z]+ [^#\n]+)", text, re.MULTILINE):
        name, *words = shlex.split(command)[1:]
        if name in COMMANDS:
            parser(name).parse_words([word for word in words if word != "..."])


@over_pages
def test_names_exist(page: Path) -> None:
    """Every name in the package that a page writes with dots can be imported."""
    text = re.sub(r"lowland\.json", "", page.read_text(encoding="utf-8"))
    for found in set(re.findall(r"\blowland(?:\.[A-Za-z]\w*)+", text)):
        resolve_name(found)


@over_pages
def test_files_exist(page: Path) -> None:
    """Every file that a page names by its folder is in the repository or in the package."""
    text = page.read_text(encoding="utf-8")
    bases = (ROOT, ROOT / "src", ROOT / "src" / "lowland")
    folders = {path.name for base in bases for path in base.iterdir() if path.is_dir()} - {"runs"}
    kinds = "py|md|toml|sh|tsv|yml|jsonl"
    for name in set(re.findall(rf"(?<![\w/.-])((?:{'|'.join(folders)})/[\w/.-]+\.(?:{kinds}))\b", text)):
        assert any((base / name).exists() for base in bases), name


@over_pages
def test_settings_exist(page: Path) -> None:
    """Every setting or attribute that a page writes as `train.NAME` or `sam.NAME` exists."""
    owners = {"train": TrainSettings(), "sam": lowland.SAM(torch.nn.Linear(2, 2))}
    text = page.read_text(encoding="utf-8")
    for section, name in set(re.findall(r"(?<![\w./-])(train|sam)\.([a-z_]+)", text)):
        assert hasattr(owners[section], name) or hasattr(SAMConfig(), name), name


def test_every_arm_is_told_about() -> None:
    """methods.md names every arm that the package has."""
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert set(KNOWN) - {"baseline", "sam"} <= set(re.findall(r"`([a-z0-9-]+)`", text))


def run(page: str, blocks: int | None = None, **names: Any) -> dict[str, Any]:
    """Runs the Python of a page, or its first blocks."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    exec("\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[:blocks]), names)  # noqa: S102
    return names


def test_the_loop_of_the_first_page_trains() -> None:
    """The loop in the README takes steps, with the radius that it names."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.weight.clone()
    names = run(
        "../README.md",
        blocks=1,
        model=model,
        loader=[torch.ones(4, 3)] * 2,
        loss_fn=lambda batch: model(batch).square().mean(),
        optimizer=optimizer,
    )
    assert names["info"].radius == pytest.approx(0.05, rel=1e-4)  # in fp32
    assert not torch.equal(model.weight, before)


def test_statistics_say_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    """The example of statistics.md prints the sentence that stands below it."""
    run("statistics.md")
    assert f"# {capsys.readouterr().out}" in (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")


def test_sharpness_of_a_loss_of_ones_own() -> None:
    """The example of sharpness.md runs for a module and a loss, and leaves the weights as they were."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    before = [weight.clone() for weight in model.parameters()]
    run(
        "sharpness.md",
        model=model,
        batches=[torch.ones(2, 3)],
        loss_fn=lambda batch: model(batch).square().mean(),
    )
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


def test_the_algorithm_is_that_of_the_code() -> None:
    """The steps that algorithm.md shows stand in the code in the same order, with the same comments."""
    text = (ROOT / "docs" / "algorithm.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    source = inspect.getsource(lowland.SAMGradient.__call__)
    steps = re.findall(r"\w+\(|# .*", code)
    assert len(steps) > 8
    for step in steps:
        assert step in source, step
        source = source[source.index(step) :]


def test_recipes_for_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What trl.md gives for axolotl and LLaMA-Factory makes Trainers with SAM out of these programs' own."""
    started: list[Any] = []
    theirs = {
        "axolotl.core.trainers": {"AxolotlTrainer": type("AxolotlTrainer", (Trainer,), {})},
        "llamafactory.train.sft": {},
        "llamafactory.train.sft.workflow": {
            "CustomSeq2SeqTrainer": type("CustomSeq2SeqTrainer", (Seq2SeqTrainer,), {})
        },
        "llamafactory.train.tuner": {"run_exp": lambda: started.append(workflow.CustomSeq2SeqTrainer)},
    }
    for path, members in theirs.items():
        for end in range(1, path.count(".") + 2):
            name = ".".join(path.split(".")[:end])
            monkeypatch.setitem(sys.modules, name, sys.modules.get(name, ModuleType(name)))
        vars(sys.modules[path]).update(members)
    workflow: Any = sys.modules["llamafactory.train.sft.workflow"]
    vars(sys.modules["llamafactory.train.sft"])["workflow"] = workflow
    text = (ROOT / "docs" / "trl.md").read_text(encoding="utf-8")
    made = []
    for program in ("axolotl", "LLaMA-Factory"):
        (code,) = re.findall(rf"^## {program}\n[^#]*?```python\n(.*?)```", text, re.DOTALL | re.MULTILINE)
        names: dict[str, Any] = {}
        exec(code, names)  # noqa: S102
        made.append(names["SAMTrainer"])
    assert started == made[1:]
    for trainer, own in zip(made, (Trainer, Seq2SeqTrainer), strict=True):
        assert issubclass(trainer, lowland.SAMTrainerMixin) and issubclass(trainer, own)
        assert trainer.sam == SAMConfig(rho=0.05)
