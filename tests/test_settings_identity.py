"""Settings that came later do not make other experiments of those that were begun before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lowland.experiment.compare import refuse_other
from lowland.experiment.configuration import build_config
from lowland.pretraining.settings import PretrainSettings
from lowland.train.settings import LATER


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("adaptive", {"adaptive": True}),
        ("ascent_dropout", {"ascent_dropout": False}),
        ("ascent_bf16", {"ascent_bf16": True}),
        ("look", {"look": 0.7, "every": 2}),
    ],
)
def test_what_came_later(tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    """A directory that lacks a setting that came later is of the same experiment, and so is a new one."""
    config = build_config({"data": {"tasks": ["facts"]}})
    assert name not in config.to_toml() and name not in config.decisive()["sam"]
    (tmp_path / "experiment.toml").write_text(config.to_toml())
    refuse_other(config, tmp_path)
    changed = build_config({"data": {"tasks": ["facts"]}, "sam": settings})
    without = {key: value for key, value in settings.items() if key != name}
    assert changed.fingerprint() != build_config({"data": {"tasks": ["facts"]}, "sam": without}).fingerprint()
    assert build_config(changed.to_dict()) == changed


def test_pretraining_too() -> None:
    """The settings of a pre-training are the same as before these came."""
    assert not set(LATER) & set(PretrainSettings().to_dict()["sam"])
