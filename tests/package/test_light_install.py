"""What the package needs: torch for SAM, the extra `lab` for the command line."""

from __future__ import annotations

import subprocess
import sys

FINDER = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Nothing())
"""

HEART = """
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
        [sys.executable, "-c", FINDER.format(blocked=blocked) + HEART], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_command_line_says_what_to_install() -> None:
    """Without the extra `lab`, the command line ends with code 2 and the command that installs it."""
    code = f"{FINDER.format(blocked={'rich'})}\nfrom lowland.cli import main\nsys.exit(main(['tasks']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "No module named 'rich'" in done.stderr and 'pip install "lowland[lab]"' in done.stderr
