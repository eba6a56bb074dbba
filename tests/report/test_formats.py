"""Tables as Markdown, LaTeX, CSV and for the terminal."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lowland.report.formats import (
    Table,
    escape_csv,
    escape_latex,
    escape_markdown,
    plain,
    print_table,
    to_csv,
    to_latex,
    to_markdown,
)

NASTY = "a|b $x_1$ [red]50% & #1 {~^} \\ <b> `c` *d* _e_"


def table(name: str = "x", value: float = -1.5) -> Table:
    """A table with one row."""
    return Table(
        name="t",
        title="Title",
        columns=("Name", "Score"),
        align="lr",
        rows=((name, f"{value}"),),
        notes=("A note.",),
        records=({"name": name, "score": value},),
    )


def test_markdown_keeps_a_name_in_its_cell() -> None:
    """Every character that Markdown would act on is escaped, underscores within words are left alone."""
    assert escape_markdown(NASTY) == (r"a\|b \$x_1\$ \[red\]50% \& \#1 {\~^} \\ \<b\> \`c\` \*d\* \_e\_")
    assert escape_markdown("exact_match") == "exact_match"
    assert to_markdown(table("a|b")) == (
        "**Title**\n\n| Name | Score |\n| --- | ---: |\n| a\\|b | -1.5 |\n\nA note.\n"
    )


@given(st.text())
def test_markdown_rows_keep_their_number_of_cells(name: str) -> None:
    """Whatever a name holds, its row stays one line with two cells."""
    row = to_markdown(table(name)).splitlines()[4]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 3


def test_latex_typesets_a_name_as_it_is() -> None:
    """Every special character of LaTeX is escaped, and a number's hyphen becomes a minus sign."""
    assert escape_latex(NASTY) == (
        r"a\textbar{}b \$x\_1\$ {[}red]50\% \& \#1 \{\textasciitilde{}\textasciicircum{}\} "
        r"\textbackslash{} \textless{}b\textgreater{} `c` {*}d{*} \_e\_"
    )
    assert r"a-1 & $-$1.5 \\" in to_latex(table("a-1"))


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-x", "@SUM(A1)", "\t=1", " =1", "\r\n=1"])
def test_csv_has_no_formulas(name: str) -> None:
    """A text that a spreadsheet would run is quoted with an apostrophe."""
    assert escape_csv(name).startswith("'")


def test_csv_numbers_are_whole() -> None:
    """Numbers keep every digit and their sign, and a missing one is an empty cell."""
    third = -1 / 3
    read = csv.DictReader(io.StringIO(to_csv(table("a,b", third))))
    assert list(read) == [{"name": "a,b", "score": repr(third)}]
    assert to_csv(table("x", float("nan"))) == "name,score\nx,\n"


def test_terminal_shows_mark_up_as_text() -> None:
    """Console mark-up in a name is printed, and control characters never reach the terminal."""
    console = Console(file=io.StringIO(), width=80)
    print_table(console, table("[red]\x1b[31mx\u202e"))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "[red] [31mx" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize("width", [20, 40, 80])
def test_terminal_never_breaks_or_drops_a_number(width: int) -> None:
    """However narrow the terminal, every number is printed in one piece."""
    wide = Table(
        name="t",
        title="Title",
        columns=("A long head of a name", "Standard", "Difference (95% interval)", "SAM is"),
        align="lrrl",
        rows=(("a/very/long/name/of/a/set", "86.4 ± 0.6", "+2.3 (+2.1 to +2.5)", "no difference detected"),),
        records=(),
    )
    console = Console(file=io.StringIO(), width=width)
    print_table(console, wide)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "86.4 ± 0.6" in shown
    assert "+2.3 (+2.1 to +2.5)" in shown
    assert "detected" in shown


def test_plain_is_one_line() -> None:
    """Line ends, tabs and control characters become single spaces."""
    assert plain(" a\r\nb\t\x00c\u2028d ") == "a b c d"
