"""What a run ran on: versions and machine, and nothing that could be secret."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

DECISIVE = ("torch", "transformers")
"""Packages whose version can change the last bits of a result."""

PACKAGES = (*DECISIVE, "lowland", "accelerate", "tokenizers", "sentencepiece", "numpy", "scikit-learn")


def describe_environment() -> dict[str, Any]:
    """Describes software and hardware, as plain JSON values; no environment variables, which hold tokens."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    processor = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    versions = {name: [found.version for found in distributions(name=name)] for name in PACKAGES}
    return {
        "python": platform.python_version(),
        "packages": {name: found[0] if found else None for name, found in versions.items()},
        "platform": platform.platform(),
        "processor": processor[1] if processor else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Names what differs between two environments and can change the last bits of a result."""
    pairs = [
        *((name, there["packages"][name], here["packages"][name]) for name in DECISIVE),
        *((name, there[name], here[name]) for name in ("processor", "accelerator", "threads")),
    ]
    return [f"{name} {before} then, {now} now" for name, before, now in pairs if before != now]
