"""What the package needs: torch for SAM, the extra `lab` for the command line."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

from lowland import cli

HEART = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Nothing())
import lowland, torch
model = torch.nn.Linear(3, 1)
sam = lowland.SAM(model, lowland.SAMConfig(rho=0.1, adaptive=True))
info = sam(lambda batch: model(batch).square().mean(), torch.ones(4, 3))
assert abs(info.radius - 0.1) < 1e-6
"""


def test_sam_needs_torch_alone() -> None:
    """With every package of the command line out of reach, `lowland.SAM` takes a step."""
    blocked = {"accelerate", "google", "psutil", "regex", "rich", "safetensors", "scipy", "sentencepiece"}
    blocked |= {"sklearn", "tokenizers", "tomli_w", "transformers"}
    done = subprocess.run(
        [sys.executable, "-c", HEART.format(blocked=blocked)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_missing_packages() -> None:
    """A package of the extra `lab` that is not installed is named; those of other extras do not count."""
    requirements = ["torch>=2", "rich>=14; extra == 'lab'", 'of-no-such-name>=1 ; extra == "lab"']
    assert cli.missing_packages([*requirements, "of-no-other-name; extra == 'hub'"]) == ["of-no-such-name"]


def test_the_command_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the extra `lab`, the command line ends with code 2 and the command that installs it."""
    monkeypatch.setattr(metadata, "requires", lambda name: ["of-no-such-name>=1; extra == 'lab'"])
    assert cli.main(["tasks"]) == 2
    assert 'of-no-such-name. Install them with: pip install "lowland[lab]"' in capsys.readouterr().err
