"""What a run ran on: versions and machine, and nothing that could be secret."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

DECISIVE = ("torch", "transformers")
"""Packages whose version can change the last bits of a result."""

PACKAGES = (*DECISIVE, "lowland", "accelerate", "tokenizers", "sentencepiece", "numpy", "scikit-learn")


def describe_environment() -> dict[str, Any]:
    """Describes the software and hardware, as plain JSON values.

    Environment variables are left out on purpose: they hold tokens and paths.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
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


def _version(package: str) -> str | None:
    return next((found.version for found in distributions(name=package)), None)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
