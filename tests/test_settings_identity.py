"""Settings that came later do not make other experiments of those that were begun before."""

from __future__ import annotations

from pathlib import Path

from lowland.experiment.compare import refuse_other
from lowland.experiment.configuration import build_config
from lowland.pretraining.settings import PretrainSettings


def test_adaptive_came_later(tmp_path: Path) -> None:
    """A directory whose settings lack `adaptive` is that of the same experiment, and so is a new one."""
    config = build_config({"data": {"tasks": ["facts"]}})
    assert "adaptive" not in config.to_toml() and "adaptive" not in config.decisive()["sam"]
    (tmp_path / "experiment.toml").write_text(config.to_toml())
    refuse_other(config, tmp_path)
    adaptive = build_config({"data": {"tasks": ["facts"]}, "sam": {"adaptive": True}})
    assert adaptive.fingerprint() != config.fingerprint()
    assert build_config(adaptive.to_dict()) == adaptive


def test_pretraining_too() -> None:
    """The settings of a pre-training are the same as before `adaptive`."""
    assert "adaptive" not in PretrainSettings().to_dict()["sam"]
