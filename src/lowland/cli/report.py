"""`lowland report`: tables and figures from experiments that were run."""

from __future__ import annotations

import argparse
from pathlib import Path

from lowland.cli.console import console
from lowland.errors import UserError
from lowland.report import report_many, write_summary

HELP = "write tables and figures of experiments again, and a summary"
USAGE = "DIR ... [--out DIR]"
DESCRIPTION = """\
Reads the directories of experiments, writes DIR/report of each again, and
prints it. Several experiments also get one table over all of them."""
EPILOG = """\
examples:
  lowland report runs/compare-demo-1a2b3c4d
  lowland report runs/* --out summary
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    group = parser.add_argument_group("experiments")
    group.add_argument("directories", nargs="+", metavar="DIR", help="directories of experiments")
    group.add_argument("--out", metavar="DIR", help="where to write the table over several experiments")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    directories = [Path(name) for name in arguments.directories]
    out = Path(arguments.out) if "out" in arguments else None
    if out is not None and len({directory.resolve() for directory in directories}) < 2:
        raise UserError("--out is for a table over several experiments, but only one is given.")
    reports = report_many(directories)
    reports.print(console)
    if out is not None:
        write_summary(reports, out)
        console.print(f"Summary: {out / 'summary.md'}", markup=False, highlight=False, soft_wrap=True)
    return 0
