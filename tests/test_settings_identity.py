"""Settings that came later do not make other experiments of those that were begun before."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowland.experiment.compare import refuse_other
from lowland.experiment.configuration import build_config
from lowland.pretraining.settings import PretrainSettings


@pytest.mark.parametrize(("name", "other"), [("adaptive", True), ("ascent_dropout", False)])
def test_what_came_later(tmp_path: Path, name: str, other: bool) -> None:
    """A directory that lacks a setting that came later is of the same experiment, and so is a new one."""
    config = build_config({"data": {"tasks": ["facts"]}})
    assert name not in config.to_toml() and name not in config.decisive()["sam"]
    (tmp_path / "experiment.toml").write_text(config.to_toml())
    refuse_other(config, tmp_path)
    changed = build_config({"data": {"tasks": ["facts"]}, "sam": {name: other}})
    assert changed.fingerprint() != config.fingerprint()
    assert build_config(changed.to_dict()) == changed


def test_pretraining_too() -> None:
    """The settings of a pre-training are the same as before these came."""
    assert not {"adaptive", "ascent_dropout"} & set(PretrainSettings().to_dict()["sam"])
