"""What the page about TRL gives to paste runs: with tiny models and rows in the place of the hub's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import datasets
import trl
from tests.integrations.trl_runs import QUIET, data, loaded

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trl.md"
MODEL = "Qwen/Qwen3-0.6B"
ROWS = {
    "trl-lib/Capybara": "SFT",
    "trl-lib/ultrafeedback_binarized": "DPO",
    "trl-lib/tldr": "GRPO",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing:FutureWarning"),
]


def rows(name: str, split: str) -> Any:
    """A few rows in the columns of the data set of that name."""
    return data(ROWS[name])


@pytest.mark.parametrize("section", ["Supervised fine-tuning", "Preferences", "GRPO and RLOO"])
def test_the_page_runs(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each section's code trains for a step with SAM at the radius that it names, or without a direction."""
    (found,) = re.findall(
        rf"^## {section}\n.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    for kind in ("SFT", "DPO", "Reward", "GRPO"):
        config = getattr(trl, f"{kind}Config")
        options = {"max_completion_length": 6} if kind == "GRPO" else {}
        quick = {**QUIET, **options, "output_dir": str(tmp_path), "logging_steps": 1, "max_steps": 1}

        def made(base: Any = config, quick: dict[str, Any] = quick, **asked: Any) -> Any:
            return base(**{**quick, **asked, **{n: quick[n] for n in ("output_dir", "logging_steps")}})

        monkeypatch.setattr(trl, f"{kind}Config", made)
    monkeypatch.setattr(datasets, "load_dataset", rows)
    loaded("SFT", tmp_path, 0.0)
    names: dict[str, Any] = {}
    exec(compile(found.replace(MODEL, str(tmp_path / "model")), section, "exec"), names)  # noqa: S102
    for name in {"trainer", "reward"} & names.keys():
        logs = names[name].state.log_history
        assert logs[0]["radius"] == pytest.approx(names[name].sam.rho, rel=1e-4) or section == "GRPO and RLOO"
