"""Rewrite reports, or compare several experiments.

usage: lowland report DIR ... [--paper] [--out DIR]

Rewrites DIR/report of each experiment from its finished runs, and prints it. A
directory that holds experiments stands for all of them, and gets a table and
figures over all of them; so do several directories, with --out. --paper
arranges the results as the paper's tables, beside the paper's numbers.

Examples:
  lowland report runs/compare-demo-1a2b3c4d
  lowland report runs/superglue-* --paper --out tables
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lowland.cli.console import console
from lowland.errors import UserError
from lowland.settings import at_home


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    group = parser.add_argument_group("experiments")
    group.add_argument(
        "directories", nargs="+", metavar="DIR", type=at_home, help="directories of experiments"
    )
    paper = "also lay the results out as the paper's tables and figures"
    group.add_argument("--paper", action="store_true", help=paper)
    group.add_argument(
        "--out", metavar="DIR", type=at_home, help="where to write what is over several experiments"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from lowland.paper.tables import write_paper
    from lowland.report.write import find_experiments, write_report, write_several

    given = [Path(name) for name in arguments.directories]
    directories = [experiment for directory in given for experiment in find_experiments(directory)]
    directories = list({directory.resolve(): directory for directory in directories}.values())
    several = len(directories) > 1
    paper = "paper" in arguments
    out = Path(arguments.out) if "out" in arguments else None
    if out is not None and not several and not paper:
        raise UserError("--out is for a report over several experiments, but only one is given.")
    if out is None and len(given) == 1:  # what is over several goes beside them
        out = given[0] / "report" / ("paper" if directories == given else "")
    if paper and out is None:
        raise UserError("--paper makes tables over several experiments. Say with --out where to write them.")
    reports = [write_report(directory) for directory in directories]
    for report in reports:
        report.print(console)
    if several and out is not None:
        write_several(reports, out).print(console)
    if paper and out is not None:
        write_paper([report.comparison.experiment for report in reports], out).print(console)
    return 0
