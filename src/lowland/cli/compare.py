"""`lowland compare`: fine-tune with and without SAM, and say which is better and how sure that is."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from lowland.cli import options, settings
from lowland.cli.parser import at_least_one, comma_list, own_arm, seed_list
from lowland.config.arms import KNOWN
from lowland.errors import UserError
from lowland.report.formats import plain

if TYPE_CHECKING:  # torch is loaded when a run begins, not for --help
    from lowland.cli.progress import ExperimentProgress
    from lowland.config.experiment import ExperimentConfig
    from lowland.planning.plan import Plan
    from lowland.runs.directory import RunDirectory

HELP = "fine-tune with and without SAM, several seeds each, and compare"
USAGE = "[TASK ...] [--option ...]"
DESCRIPTION = """\
Fine-tunes a model by every arm for every seed, with the same data in the same
order, and says which arm is better than the first one and how sure that is. The
arms are baseline and sam if you name no others. A model of the arm to use is
left in DIR/model, the report in DIR/report. A run is never repeated: after an
interruption the same command goes on, and other commands use its runs."""
EPILOG = """\
examples:
  lowland compare --preset demo
  lowland compare superglue --preset paper-base --hub
  lowland compare glue/sst2 --data-dir ~/glue --fraction 0.02 --seeds 5
  lowland compare --train reviews.csv --test dev.csv \\
    --input "review: {text}" --target "{label}" --metric macro_f1
  lowland compare --preset demo --arms baseline,sam,asam \\
    --arm "late: sam.rho=0.15 sam.start=0.2"
  lowland compare --preset demo --grid sam.rho=0.02,0.05,0.1
"""
FIRST_LOOK, MOST_SEEDS = 5, 40
INTERRUPTED = "interrupted. The same command goes on where it stopped."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    options.add_data_options(parser)
    options.add_training_options(parser)
    arms = parser.add_argument_group("arms", "Each arm is compared with the first one, seed by seed.")
    arms.add_argument(
        "--arms",
        type=comma_list,
        metavar="NAMES",
        help=f"{', '.join(KNOWN)}, or arms of the file of settings, with commas between "
        "(default: baseline,sam)",
    )
    arms.add_argument(
        "--arm",
        dest="own_arms",
        type=own_arm,
        action="append",
        metavar="ARM",
        help='one more, such as "late: sam.rho=0.15 sam.start=0.2": a name, and what it changes of the '
        "settings, after the name of an arm that it begins with, if any; may be repeated",
    )
    arms.add_argument(
        "--grid",
        action="append",
        metavar="SETTING=VALUES",
        help="an arm for each value, such as sam.rho=0.02,0.05,0.1, in the place of the arms after the "
        "first; repeated, an arm for each combination",
    )
    runs = parser.add_argument_group("runs")
    runs.add_argument(
        "--seeds", type=seed_list, metavar="N", help="number of seeds, or a list such as 4,7 (default: 3)"
    )
    runs.add_argument(
        "--until-decided",
        action="store_true",
        help="add seeds until the score is decided for every arm, by intervals that hold however often one "
        f"looks; {FIRST_LOOK} seeds to begin with, unless --seeds says otherwise (default: off)",
    )
    runs.add_argument(
        "--max-seeds",
        type=at_least_one,
        metavar="N",
        help=f"with --until-decided, most seeds (default: {MOST_SEEDS})",
    )
    runs.add_argument(
        "--jobs",
        type=at_least_one,
        metavar="N",
        help="runs at the same time, each in a process with its share of the cores or, in turn, one of the "
        "GPUs, and a log in DIR/jobs (default: 1, in this process)",
    )
    # How such a process is called: it runs what it is told, and leaves the rest to who called it.
    runs.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options.add_layer_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    if own := getattr(arguments, "own_arms", []):
        arguments.more_arms = dict(own)
        if len(arguments.more_arms) < len(own):
            raise UserError("--arm: two of them have the same name. Give each a name of its own.")
    return run_arms(arguments, "compare")


def run_arms(arguments: argparse.Namespace, verb: str) -> int:
    """Builds the configuration, runs it and shows the report."""
    from lowland.cli.console import console, quiet_libraries
    from lowland.cli.disk import disk_error
    from lowland.cli.plan_view import show_plan
    from lowland.cli.progress import ExperimentProgress
    from lowland.compare.compare import run_alone, run_experiment
    from lowland.planning.fits import refuse_oversized
    from lowland.runs.names import store_of
    from lowland.train import TrainingError

    quiet_libraries()
    most_seeds = getattr(arguments, "max_seeds", MOST_SEEDS) if "until_decided" in arguments else 0
    if most_seeds and "seeds" not in arguments:
        arguments.seeds = list(range(min(FIRST_LOOK, most_seeds)))
    config = build_arms(arguments, verb)
    jobs = jobs_of(arguments)
    if "plan" in arguments:
        from lowland.planning.plan import plan_experiment

        plan = plan_experiment(config)
        show_plan(plan, console, jobs)
        for sentence in plan.workload.warnings:
            console.print(Text(f"Warning: {plain(sentence)}"), soft_wrap=True)
        return 0
    path = Path(arguments.out) if "out" in arguments else default_directory(config, verb, arguments)
    store = Path(arguments.runs) if "runs" in arguments else store_of(path)

    def on_plan(plan: Plan) -> None:
        show_plan(plan, console, jobs)
        if "anyway" not in arguments:
            refuse_oversized(plan, path, jobs)

    more = range(max(config.seeds) + 1, max(config.seeds) + 1 + most_seeds - len(config.seeds))
    shown = replace(config, seeds=(*config.seeds, *more))  # as many runs as there may be
    with ExperimentProgress(console, shown, path) as progress:
        try:
            if "alone" in arguments:
                run_alone(config, store, progress)
                return 0
            report = run_experiment(
                config,
                path,
                arguments.command,
                progress,
                on_plan,
                store=store,
                elsewhere=None
                if jobs == 1
                else lambda left: run_side_by_side(config, path, left, jobs, progress),
                most_seeds=most_seeds,
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
        console.print(Text(f"Model to use: {model} (from_pretrained loads it)"), soft_wrap=True)
        console.print(
            Text(f"Next: lowland predict --model {shlex.quote(str(model))} --input FILE"), soft_wrap=True
        )
    return 0


def build_arms(arguments: argparse.Namespace, verb: str) -> ExperimentConfig:
    """Builds the configuration, with the arms of a grid where there is one.

    Raises:
        UserError: If something is wrong with it, or there is only one arm to compare.
    """
    from lowland.compare import Grid, with_grid

    config = settings.build(arguments)
    if "grid" in arguments:
        grid = Grid()
        for word in arguments.grid:
            grid.add_word(word)
        config = with_grid(config, grid.arms())
    if verb == "compare" and len(config.arms) < 2 and "alone" not in arguments:
        raise UserError(
            f"There is only the arm {config.reference!r}. Name two or more to compare, such as "
            "--arms baseline,sam, or train one with `lowland train`."
        )
    return config


def jobs_of(arguments: argparse.Namespace) -> int:
    """Reads how many runs are trained at the same time.

    Raises:
        UserError: If that goes against how this process was started.
    """
    jobs: int = getattr(arguments, "jobs", 1)
    if jobs > 1:
        from lowland.runs.run import processes

        if processes().num_processes > 1:
            raise UserError(
                "--jobs: several processes train each run together already. Leave it out, or start only one."
            )
    return jobs


def run_side_by_side(
    config: ExperimentConfig,
    path: Path,
    left: Sequence[RunDirectory],
    jobs: int,
    progress: ExperimentProgress,
) -> None:
    """Runs what is left of an experiment, several runs at a time.

    Raises:
        UserError: If a process ended before its run did. Runs that fail say so in their own directories.
    """
    from lowland.cli.jobs_view import JobsView
    from lowland.compare import JOBS, make_jobs, make_launcher, run_jobs

    todo = make_jobs(config, path, left, path / JOBS)
    workers = max(1, min(jobs, len(todo)))  # who waits for nothing needs no share of the cores
    view = JobsView(progress, len(config.seeds) * len(config.arms), todo)
    for job, problem in run_jobs(
        todo, make_launcher("processes", path / JOBS, {}, workers), workers, view
    ).items():
        if job.run.status().get("state") not in ("done", "failed"):
            raise UserError(
                f"{job.name}: {problem} See {job.log}. The same command goes on where it stopped."
            )


def default_directory(config: ExperimentConfig, verb: str, arguments: argparse.Namespace) -> Path:
    """Names the directory of an experiment after what it is, so that the same command finds it again."""
    names = [*config.data.tasks, *([config.data.custom.name] if config.data.custom else [])]
    what = arguments.preset if "preset" in arguments else "-".join(names).replace("/", "-")
    return Path("runs") / f"{verb}-{what[:60]}-{config.fingerprint()}"
