"""Other programs find a Trainer with SAM by its dotted path."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.integrations.runs import logged, model_of, trained
from tests.integrations.toys import same, weights
from transformers import Seq2SeqTrainer, Trainer

import lowland
from lowland import SAMConfig
from lowland.errors import UserError
from lowland.integrations.axolotl import settings_of_environment


def module_of_another(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> ModuleType:
    """Puts a module of a program that is not installed where imports find it."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        path = ".".join(parts[:end])
        if path not in sys.modules:
            monkeypatch.setitem(sys.modules, path, ModuleType(path))
    module = sys.modules[name]
    for member, value in members.items():
        monkeypatch.setattr(module, member, value, raising=False)
    return module


def by_path(path: str) -> Any:
    """A class by its dotted path, as axolotl's `trainer_cls` is looked up."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("axolotl", "llamafactory"):
        monkeypatch.delitem(sys.modules, f"lowland.integrations.{name}", raising=False)


def test_axolotl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The class at the documented path is axolotl's with SAM, has its settings from outside, and trains."""

    class AxolotlTrainer(Trainer):
        def __init__(self, *args: Any, bench_data_collator: Any = None, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)

    module_of_another(monkeypatch, "axolotl.core.trainers", AxolotlTrainer=AxolotlTrainer)
    monkeypatch.setenv("LOWLAND_SAM", "rho=0.3 ascent=0.5")
    found = by_path("lowland.integrations.axolotl.SAMTrainer")
    assert issubclass(found, lowland.SAMTrainerMixin) and issubclass(found, AxolotlTrainer)
    assert found is by_path("lowland.integrations.axolotl.SAMTrainer")
    assert found.__name__ == "SAMTrainer" and found.sam == SAMConfig(rho=0.3, ascent=0.5)
    options = {"bench_data_collator": None, "sam": None}

    class Found(found):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, **options})

    run = trained(tmp_path, "llama", Found)
    assert logged(run, "radius") == pytest.approx([0.3] * 3, rel=1e-5)  # fp32
    plain = trained(tmp_path, "llama", sam=SAMConfig(rho=0.3, ascent=0.5))
    assert same(weights(model_of(run)), weights(model_of(plain)))


def test_llama_factory(monkeypatch: pytest.MonkeyPatch) -> None:
    """`use_sam` puts SAM into the Trainer of every stage, and into the workflows that have it already."""
    from lowland.integrations import llamafactory

    for stage, name in llamafactory.STAGES.items():
        own = type(name, (Seq2SeqTrainer,), {})
        module_of_another(monkeypatch, f"llamafactory.train.{stage}.trainer", **{name: own})
        early = {} if stage == "dpo" else {name: own}  # this one imports its Trainer when it runs
        module_of_another(monkeypatch, f"llamafactory.train.{stage}.workflow", **early)
    llamafactory.use_sam(SAMConfig(rho=0.07))
    for stage, name in llamafactory.STAGES.items():
        for part in ("trainer", "workflow")[: 1 if stage == "dpo" else 2]:
            put = getattr(sys.modules[f"llamafactory.train.{stage}.{part}"], name)
            assert issubclass(put, lowland.SAMTrainerMixin) and put.sam.rho == 0.07


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"LOWLAND_SAM, which is not set"),
        ("rho", r"LOWLAND_SAM is 'rho'.*name=value"),
        ("rho=-1", r"LOWLAND_SAM is 'rho=-1': Invalid rho=-1"),
        ("rho=small", r"Invalid rho='small'"),
        ("roh=0.1", r"roh.*settings of lowland.SAMConfig"),
    ],
)
def test_settings_that_are_not_right(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in the environment that are missing or wrong end in a sentence that names the variable."""
    monkeypatch.setenv("LOWLAND_SAM", text)
    with pytest.raises(UserError, match=message):
        settings_of_environment()


def test_settings_of_all_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, names, flags and patterns are read as what they are."""
    monkeypatch.setenv(
        "LOWLAND_SAM", "rho=0.1 m=2 ascent_examples=4 descent=full adaptive=true perturb=*norm*"
    )
    expected = SAMConfig(rho=0.1, m=2, ascent_examples=4, descent="full", adaptive=True, perturb=["*norm*"])
    assert settings_of_environment() == expected


def test_a_name_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that is not there is an AttributeError with the nearest name, as axolotl expects it."""
    with pytest.raises(AttributeError, match=r"SAMDPOTrainer"):
        by_path("lowland.integrations.axolotl.SAMDpoTrainer")
    with pytest.raises(ImportError):
        by_path("lowland.integrations.axolotl.SAMTrainer")
