"""Measure how flat the loss is around the models of an experiment.

usage: lowland sharpness DIR [--option ...]

Measures sharpness, L(w+eps) - L(w), at several radii, and the largest
eigenvalue of the Hessian, on training and on held-out examples, for the
finished runs of an experiment. Writes tables and one file of numbers for each
model to DIR/sharpness.

Examples:
  lowland sharpness runs/compare-demo-1a2b3c4d
  lowland sharpness runs/sst2 --radii 0.05,0.15 --hessian-examples 0
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lowland.cli import options
from lowland.cli.options import add, add_settings, given
from lowland.cli.trouble import disk_error
from lowland.config.data import DataSettings
from lowland.config.experiment import build_config
from lowland.config.layers import build_section, read_layer
from lowland.config.outcomes import SharpnessSettings
from lowland.errors import UserError
from lowland.settings import at_home

COMMON = (
    *("experiment", "seeds", "data.data_dir", "data.hub", "sharpness.radii"),
    *("sharpness.examples", "sharpness.batch_size", "sharpness.hessian_examples", "out"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    runs = parser.add_argument_group("which models")
    runs.add_argument("experiment", metavar="DIR", type=at_home, help="directory of an experiment")
    options.add_seeds(runs, "all")
    add_settings(parser.add_argument_group("data"), DataSettings, "data", only=options.SOURCES)
    add_settings(parser.add_argument_group("what is measured"), SharpnessSettings, "sharpness")
    out = "where to write (default: DIR/sharpness)"
    add(parser.add_argument_group("results"), "--out", "DIR", out, at_home)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from lowland.cli.console import console, note, quiet_libraries
    from lowland.comparison.sharpness import FOLDER, finished_runs, measure_all
    from lowland.report.sharpness import write_sharpness
    from lowland.runs.directory import RunDirectory

    quiet_libraries()
    path = Path(arguments.experiment)
    if not (path / "experiment.toml").is_file():
        raise UserError(f"{path} is no directory of an experiment. Give one that lowland compare wrote.")
    # Where its data lie may be said anew.
    config = build_config(read_layer(path / "experiment.toml"), given(arguments, "data", "seeds"))
    found = finished_runs(path, config)
    if not found:
        raise UserError(f"{path} holds no checkpoint of a finished run. Run its experiment first.")
    out = Path(arguments.out) if "out" in arguments else path / FOLDER

    def on_start(run: RunDirectory, done: bool) -> None:
        note(f"{run.path.name}: {'measured before' if done else 'measuring'}")

    own = {"batch_size": config.train.batch_size, **given(arguments, "sharpness").get("sharpness", {})}
    try:
        measure_all(config, found, out, build_section(SharpnessSettings, own), on_start)
    except OSError as error:
        raise disk_error(error, out) from None
    write_sharpness(out, list(config.arms)).print(console)
    return 0
