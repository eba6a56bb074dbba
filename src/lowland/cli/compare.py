"""`lowland compare`: fine-tune with and without SAM, and say which is better and how sure that is."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from lowland.cli import options, settings
from lowland.cli.parser import at_least_one, seed_list
from lowland.errors import UserError
from lowland.report.formats import plain

if TYPE_CHECKING:  # torch is loaded when a run begins, not for --help
    from lowland.cli.progress import ExperimentProgress
    from lowland.experiment.configuration import ExperimentConfig
    from lowland.experiment.plan import Plan

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
    runs.add_argument(
        "--jobs",
        type=at_least_one,
        metavar="N",
        help="seeds that run at the same time, each in a process with its share of the cores or, in turn, "
        "one of the GPUs, and a log in DIR/jobs (default: 1, in this process)",
    )
    # How such a process is called: it runs the seeds that it is told, and leaves the rest to who called it.
    runs.add_argument("--seeds-alone", action="store_true", help=argparse.SUPPRESS)
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
    from lowland.experiment.compare import run_experiment, run_seeds_alone
    from lowland.experiment.fits import refuse_oversized
    from lowland.train import TrainingError

    quiet_libraries()
    config = settings.build(arguments)
    jobs = jobs_of(arguments)
    if "plan" in arguments:
        from lowland.experiment.plan import plan_experiment

        plan = plan_experiment(config)
        show_plan(plan, console, jobs)
        for sentence in plan.workload.warnings:
            console.print(Text(f"Warning: {plain(sentence)}"), soft_wrap=True)
        return 0
    path = Path(arguments.out) if "out" in arguments else default_directory(config, verb, arguments)

    def on_plan(plan: Plan) -> None:
        show_plan(plan, console, jobs)
        if "anyway" not in arguments:
            refuse_oversized(plan, path, jobs)

    with ExperimentProgress(console, config, path) as progress:
        try:
            if "seeds_alone" in arguments:
                run_seeds_alone(config, path, progress)
                return 0
            report = run_experiment(
                config,
                path,
                arguments.command,
                progress,
                on_plan,
                elsewhere=None if jobs == 1 else lambda: run_side_by_side(config, path, jobs, progress),
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


def jobs_of(arguments: argparse.Namespace) -> int:
    """Reads how many seeds run at the same time.

    Raises:
        UserError: If that goes against how this process was started.
    """
    jobs: int = getattr(arguments, "jobs", 1)
    if jobs > 1:
        from lowland.experiment.run import processes

        if processes().num_processes > 1:
            raise UserError(
                "--jobs: several processes train each run together already. Leave it out, or start only one."
            )
    return jobs


def run_side_by_side(config: ExperimentConfig, path: Path, jobs: int, progress: ExperimentProgress) -> None:
    """Runs what is left of an experiment, several seeds at a time."""
    from lowland.cli.seeds_view import SeedsView
    from lowland.experiment.sweep import plan_seeds, run_seeds

    plan = plan_seeds(config, path)
    run_seeds(plan, path, jobs, SeedsView(progress, config, plan))


def default_directory(config: ExperimentConfig, verb: str, arguments: argparse.Namespace) -> Path:
    """Names the directory of an experiment after what it is, so that the same command finds it again."""
    names = [*config.data.tasks, *([config.data.custom.name] if config.data.custom else [])]
    what = arguments.preset if "preset" in arguments else "-".join(names).replace("/", "-")
    return Path("runs") / f"{verb}-{what[:60]}-{config.fingerprint()}"
