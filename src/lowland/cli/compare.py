"""`lowland compare`: fine-tune with and without SAM, and say which is better and how sure that is."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from lowland.cli import options, settings
from lowland.cli.parser import seed_list
from lowland.errors import UserError
from lowland.report.formats import plain

if TYPE_CHECKING:  # torch is loaded when a run begins, not for --help
    from lowland.experiment.configuration import ExperimentConfig

HELP = "fine-tune with and without SAM, several seeds each, and compare"
USAGE = "[TASK ...] [--option ...]"
DESCRIPTION = """\
Fine-tunes a model twice for every seed, by standard training and by SAM, from
the same start with the same data in the same order, and says which is better
and how sure that is. The best model is left in DIR/model, the report in
DIR/report. After an interruption the same command goes on where it stopped."""
EPILOG = """\
examples:
  lowland compare --preset demo
  lowland compare superglue --preset paper-base --hub
  lowland compare glue/sst2 --data-dir ~/glue --fraction 0.02 --seeds 5
  lowland compare --train reviews.csv --eval dev.csv \\
    --input "review: {text}" --target "{label}" --metric macro_f1
"""
INTERRUPTED = "interrupted. The same command goes on where it stopped."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    options.add_data_options(parser)
    options.add_training_options(parser)
    runs = parser.add_argument_group("runs")
    runs.add_argument(
        "--seeds", type=seed_list, metavar="N", help="number of seeds, or a list such as 4,7 (default: 3)"
    )
    options.add_layer_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    return run_arms(arguments, "compare")


def run_arms(arguments: argparse.Namespace, verb: str) -> int:
    """Builds the configuration, runs it and shows the report."""
    from lowland.cli.console import console, quiet_libraries
    from lowland.cli.disk import disk_error
    from lowland.cli.plan_view import show_plan
    from lowland.cli.progress import ExperimentProgress
    from lowland.experiment.compare import run_experiment
    from lowland.train import TrainingError

    quiet_libraries()
    config = settings.build(arguments)
    if "plan" in arguments:
        from lowland.experiment.plan import plan_experiment

        plan = plan_experiment(config)
        show_plan(plan, console)
        for sentence in plan.workload.warnings:
            console.print(Text(f"Warning: {plain(sentence)}"), soft_wrap=True)
        return 0
    path = Path(arguments.out) if "out" in arguments else default_directory(config, verb, arguments)
    with ExperimentProgress(console, config, path) as progress:
        try:
            report = run_experiment(
                config, path, arguments.command, progress, lambda plan: show_plan(plan, console)
            )
        except TrainingError as error:
            raise UserError(str(error)) from None
        except OSError as error:
            raise disk_error(error, path) from None
    if report is None:  # the first process reports for all
        return 0
    report.print(console)
    model = path / "model"
    if model.is_dir():
        console.print(Text(f"Best model: {model} (from_pretrained loads it)"), soft_wrap=True)
        console.print(
            Text(f"Next: lowland predict --model {shlex.quote(str(model))} --input FILE"), soft_wrap=True
        )
    return 0


def default_directory(config: ExperimentConfig, verb: str, arguments: argparse.Namespace) -> Path:
    """Names the directory of an experiment after what it is, so that the same command finds it again."""
    names = [*config.data.tasks, *([config.data.custom.name] if config.data.custom else [])]
    what = arguments.preset if "preset" in arguments else "-".join(names).replace("/", "-")
    return Path("runs") / f"{verb}-{what[:60]}-{config.fingerprint()}"
