"""`lowland.json` in the directory of an exported model: how its inputs are written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowland.config.layers import build_section
from lowland.errors import UserError
from lowland.runs.directory import write_json
from lowland.version import __version__

FILE = "lowland.json"


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How the inputs of a model are written."""

    version: str = __version__
    tasks: tuple[str, ...]  # that it was trained on; a user's own files count as one
    template: str | None = None  # of the input, where it was trained on a user's own files
    input_length: int | None = None  # in tokens; None for each task's own
    target_length: int | None = None
    labels: tuple[str, ...] = ()  # that it was trained to write
    positive: str | None = None  # the class that the metric f1 is of, where it was named
    family: Mapping[str, Any] = field(default_factory=dict)  # what differs from the defaults

    def write(self, directory: Path) -> None:
        """Writes the file into the directory of a model."""
        write_json(directory / FILE, dataclasses.asdict(self))


def read_usage(directory: Path) -> Usage | None:
    """Reads how the inputs of the model in a directory are written; `None` where no file says it."""
    path = directory / FILE
    if not path.is_file():
        return None
    names = {item.name for item in dataclasses.fields(Usage)}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        # Later versions may say more; what is known here keeps its meaning.
        return build_section(Usage, {key: found[key] for key in found if key in names})
    except (OSError, ValueError, KeyError, TypeError, UserError) as error:
        raise UserError(f"{path}: not the file that lowland wrote beside the model ({error}).") from None
