"""What `lowland doctor` finds, and how a finding is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rich.table import Table
from rich.text import Text

from lowland.cli.console import console
from lowland.report.formats import plain

Level: TypeAlias = Literal["ok", "note", "problem"]
STYLES: dict[Level, str] = {"ok": "green", "note": "yellow", "problem": "bold red"}


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        level: `ok`; `note` for what costs time or is missing and not needed by all; `problem` for what
            will fail.
        topic: What it is about, in a word or two.
        text: What was found, and what to do where it is not well.
    """

    level: Level
    topic: str
    text: str


def show(title: str, findings: Iterable[Finding], width: int = 12) -> list[Finding]:
    """Prints findings under a title, each as soon as it is found, and returns them.

    Args:
        title: The title.
        findings: What was found.
        width: Columns of the topics.
    """
    console.print(Text(title, style="bold"))
    shown = []
    for finding in findings:
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(width=7, style=STYLES[finding.level])
        line.add_column(width=width, style="dim")
        line.add_column(overflow="fold")
        line.add_row(finding.level, Text(finding.topic), Text(plain(finding.text)))
        console.print(line)
        shown.append(finding)
    console.print()
    return shown


def gigabytes(size: float) -> str:
    """Writes a number of bytes, such as `1.2 GB`."""
    if size < 1e6:
        return "under 1 MB"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


Findings: TypeAlias = Iterator[Finding]
