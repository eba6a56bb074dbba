"""`lowland sharpness`: how flat the ground is in which a model ended."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lowland.cli import options
from lowland.cli.options import add, add_settings
from lowland.cli.parser import one_of
from lowland.cli.settings import given, settings_of
from lowland.config.experiment import build_config
from lowland.config.layers import build_section, read_layer
from lowland.config.sharpness import SharpnessSettings
from lowland.errors import UserError

if TYPE_CHECKING:
    from lowland.comparison.sharpness import Checkpoint
    from lowland.config.experiment import ExperimentConfig

HELP = "measure how flat the loss is around the models of an experiment"
USAGE = "DIR ... | TASK ... --model MODEL [--option ...]"
DESCRIPTION = """\
Measures what SAM minimises, L(w+eps) - L(w), at several radii, and the largest
eigenvalue and the trace of the Hessian, on training and on held-out examples:
for the finished runs of an experiment, all arms, or for any one model. Writes
tables, pictures and a file of figures for each model to DIR/sharpness. Where
the arms were tuned separately, give all their directories, and --out."""
EPILOG = """\
examples:
  lowland sharpness runs/compare-demo-1a2b3c4d --start
  lowland sharpness runs/sst2 --radii 0.05,0.15 --hessian-examples 0
  lowland sharpness glue/sst2 --data-dir ~/glue --model ~/t5-small --out flat
"""
INTERRUPTED = "interrupted. The same command resumes where it stopped."
COMMON = (
    *("data.tasks", "data.data_dir", "data.hub", "model", "seeds", "checkpoint", "start"),
    *("sharpness.radii", "sharpness.examples", "sharpness.batch_size", "sharpness.hessian_examples", "out"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.add_argument_group("what").add_argument(
        "data.tasks", nargs="*", metavar="DIR|TASK", help="directories of experiments, or names of tasks"
    )
    model = parser.add_argument_group("a single model")
    add(model, "--model", "DIR", "directory of a checkpoint, or embedded")
    options.add_own_data(parser)
    options.add_sources(parser)
    runs = parser.add_argument_group("an experiment")
    options.add_seeds(runs, "all")
    chosen = "last step, or best on held-out examples (default: last)"
    add(runs, "--checkpoint", "NAME", chosen, one_of("last", "best"))
    runs.add_argument("--start", action="store_true", help="measure the model before training, too")
    add_settings(parser.add_argument_group("what is measured"), SharpnessSettings, "sharpness")
    out = "where to write; needed with --model (default: DIR/sharpness)"
    add(parser.add_argument_group("results"), "--out", "DIR", out)


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    from lowland.cli.console import console, note, quiet_libraries
    from lowland.cli.trouble import disk_error
    from lowland.comparison.sharpness import FOLDER, Checkpoint, measure_all
    from lowland.report.sharpness import write_sharpness

    quiet_libraries()
    words = getattr(arguments, "data.tasks", [])
    if "model" in arguments:
        if "out" not in arguments:
            raise UserError("Say with --out where to write the figures of --model.")
        config = _of_model(arguments)
        work = [(config, [Checkpoint(arm="model", seed=0, step=None, model=config.model)])]
    elif not words or (len(words) > 1 and "out" not in arguments):
        raise UserError("Give the directory of an experiment, or several and --out, or --model and tasks.")
    else:
        work = [_of_experiment(path, arguments) for path in map(Path, words)]
        names = [checkpoint.name for _, found in work for checkpoint in found if checkpoint.arm != "start"]
        if double := next((name for name in names if names.count(name) > 1), None):
            raise UserError(f"Two of the directories hold {double}. Measure them apart, each with its --out.")
    out = Path(arguments.out) if "out" in arguments else Path(words[0]) / FOLDER

    def on_start(checkpoint: Checkpoint, done: bool) -> None:
        note(f"{checkpoint.name}: {'measured before' if done else f'measuring {checkpoint.model}'}")

    try:
        for config, found in work:
            own = {
                "batch_size": config.train.batch_size,
                **given(arguments, "sharpness").get("sharpness", {}),
            }
            measure_all(config, found, out, build_section(SharpnessSettings, own), on_start)
    except OSError as error:
        raise disk_error(error, out) from None
    write_sharpness(out).print(console)
    return 0


def _of_experiment(path: Path, arguments: argparse.Namespace) -> tuple[ExperimentConfig, list[Checkpoint]]:
    """Reads the settings of an experiment and finds its models; where its data lie may be said anew."""
    from lowland.comparison.sharpness import find_checkpoints

    if not (path / "experiment.toml").is_file():
        raise UserError(
            f"{path} is no directory of an experiment. Give one that lowland compare wrote, or --model."
        )
    own = settings_of(arguments)
    own.get("data", {}).pop("tasks", None)
    # There may be runs of more seeds than the settings name.
    seeds = {int(folder.name.rpartition("-seed")[2]) for folder in path.glob("*-seed*") if folder.is_dir()}
    config = build_config(read_layer(path / "experiment.toml"), {"seeds": sorted(seeds) or None}, own)
    best = getattr(arguments, "checkpoint", "last") == "best"
    found = find_checkpoints(path, config, best=best, start="start" in arguments)
    if not found:
        raise UserError(f"{path} holds no checkpoint of a finished run. Run its experiment first.")
    return config, found


def _of_model(arguments: argparse.Namespace) -> ExperimentConfig:
    """Builds what stands for an experiment around a single model."""
    for name in ("seeds", "checkpoint", "start"):
        if name in arguments:
            raise UserError(f"--{name} is for the runs of an experiment, and --model is a single model.")
    return build_config(settings_of(arguments), {"train": {"batch_size": 32}})
