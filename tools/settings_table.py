"""Writes the list of SAM's settings in docs/command-line.md from the settings themselves.

python tools/settings_table.py          # puts the list into the page
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from lowland.sam.config import SAMConfig
from lowland.settings import described

PAGE = Path(__file__).resolve().parents[1] / "docs" / "command-line.md"
BEGIN, END = "<!-- settings of SAM -->", "<!-- end -->"


def table() -> str:
    """Makes the list: one line a setting, with its option, default and help."""
    defaults = {item.name: item.default for item in fields(SAMConfig)}
    lines = []
    for name, said in described(SAMConfig).items():
        default = defaults[name]
        shown = "" if default is None or default is False else f" ({default})"
        option = f"`--{said.option or name.replace('_', '-')}`"
        text = said.help.replace("*", r"\*")  # which Markdown would take for emphasis
        lines.append(f"- {option}{shown}: {text}")
    return "\n".join(lines)


def placed(page: str) -> str:
    """Puts the list between its marks in the text of a page."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(placed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
