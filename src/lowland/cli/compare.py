r"""Fine-tune with and without SAM, several seeds each, and compare.

usage: lowland compare [TASK ...] [--option ...]

Fine-tunes a model with every arm and every seed, and reports whether an arm is
better than the first one, with a confidence interval. An arm is a name and the
settings that it changes. The report is in DIR/report, the model to use in
DIR/model. Finished runs are reused: the same command resumes.

Examples:
  lowland compare --preset demo --grid sam.rho=0.02,0.05,0.1
  lowland compare glue/sst2 --data-dir ~/glue --fraction 0.02 --seeds 5
  lowland compare --train reviews.csv --split 0.2 \
    --input "review: {text}" --target "{label}" --metric macro_f1
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lowland.cli import options
from lowland.cli.console import console, quiet_libraries, say
from lowland.cli.options import add
from lowland.cli.parser import Pairs, at_least_one, launcher_and_options, number, own_arm, texts
from lowland.cli.plan import show_plan
from lowland.cli.trouble import disk_error
from lowland.config.arms import KNOWN
from lowland.config.experiment import MOST_SEEDS, SEEDS
from lowland.errors import UserError
from lowland.files import fingerprint
from lowland.report.formats import plain

if TYPE_CHECKING:  # torch is loaded when a run begins, not for --help
    from lowland.comparison.experiment import Experiment

COMMON = (
    *("data.tasks", "data.custom.train", "data.custom.evaluation", "data.custom.split"),
    *("data.custom.input", "data.custom.target", "data.custom.metrics", "data.data_dir", "data.hub"),
    *("model", "lora", "train.steps", "epochs", "train.batch_size", "train.learning_rate", "sam.rho"),
    *("arms", "more_arms", "grid", "seeds", "jobs", "preset", "plan", "out"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    options.add_training_options(parser)
    arms = parser.add_argument_group("arms", "Each arm is compared with the first one, seed by seed.")
    names = f"what is compared: {', '.join(KNOWN)}, or arms of the file of settings"
    add(arms, "--arms", "NAMES", f"{names}, with commas between (default: baseline,sam)", texts)
    own = 'one more, such as "late: sam.rho=0.1 sam.start=0.2"; may be repeated'
    add(arms, "--arm", "ARM", own, own_arm, dest="more_arms", action=Pairs)
    grid = "an arm for each value, such as sam.rho=0.02,0.05; replaces the arms after the first; of what all "
    grid += "arms share (data, steps), an experiment for each value; repeated, all combinations"
    add(arms, "--grid", "NAME=VALUES", grid, action="append")
    runs = parser.add_argument_group("runs")
    options.add_seeds(runs)
    detect = "as many seeds as detect this difference of the score with 80%% power (default: --seeds counts)"
    add(runs, "--detect", "POINTS", detect, number)
    tune = "choose learning rate, rho and start of every arm first; six tries each on held-out rows, N seeds"
    add(runs, "--tune", "N", f"{tune} of their own (default: off)", at_least_one, nargs="?", const=1)
    until = "add seeds until the score is decided for every arm, by intervals that allow for repeated looks; "
    until += f"begins with {SEEDS} seeds, or with --seeds (default: off)"
    runs.add_argument("--until-decided", action="store_true", help=until)
    most = f"with --until-decided, the maximum number of seeds (default: {MOST_SEEDS})"
    add(runs, "--max-seeds", "N", most, at_least_one)
    jobs = "runs at the same time; each in a process with a share of the cores, or one GPU (default: 1)"
    add(runs, "--jobs", "N", jobs, at_least_one)
    where = "where processes run: processes, for this machine; slurm, for a cluster by submitit, with its "
    where += "options, such as slurm,timeout_min=600; submitit-local, to try that here (default: processes)"
    add(runs, "--launcher", "NAME", where, launcher_and_options)
    # How such a process is called: it runs what it is told, and leaves the rest to who called it.
    runs.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options.add_result_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    if "max_seeds" in arguments and "until_decided" not in arguments:
        raise UserError("--max-seeds needs --until-decided; for a fixed number give --seeds.")
    if "detect" in arguments and ("seeds" in arguments or "until_decided" in arguments):
        raise UserError("--detect chooses the seeds; leave --seeds and --until-decided out.")
    if "until_decided" in arguments and "seeds" not in arguments:
        arguments.seeds = list(range(min(SEEDS, getattr(arguments, "max_seeds", MOST_SEEDS))))
    experiments = options.experiments(arguments)
    if len(experiments) == 1:
        return run_one(arguments, next(iter(experiments.values())), "compare")
    return _run_all(arguments, experiments)


def run_one(
    arguments: argparse.Namespace, experiment: Experiment, command: str, path: Path | None = None
) -> int:
    """Runs an experiment, and shows its plan and its report."""
    from lowland.comparison.experiment import default_directory
    from lowland.comparison.session import Way, run_comparison, seeds_that_see
    from lowland.runs.store import store_of

    jobs: int = getattr(arguments, "jobs", 1)
    if path is None:
        own = default_directory(experiment.config, command, getattr(arguments, "preset", None))
        path = Path(arguments.out) if "out" in arguments else own
    store = Path(arguments.runs) if "runs" in arguments else store_of(path)
    if "detect" in arguments:
        experiment = seeds_that_see(experiment, arguments.detect, store)
    if "plan" in arguments:
        plan_only(experiment, jobs, store)
        return 0

    show = partial(show_plan, jobs=jobs, store=store)
    launcher, launcher_options = getattr(arguments, "launcher", ("processes", {}))
    way = Way(
        command=arguments.command,
        console=console,
        store=store,
        jobs=jobs,
        launcher=launcher,
        launcher_options=launcher_options,
        tracker=getattr(arguments, "tracker", None),
        alone="alone" in arguments,
        most_seeds=getattr(arguments, "max_seeds", MOST_SEEDS) if "until_decided" in arguments else 0,
        tune_seeds=getattr(arguments, "tune", 0),
        on_plan=None if "alone" in arguments else show,
    )
    try:
        result = run_comparison(experiment, path, way)
    except OSError as error:
        raise disk_error(error, path) from None
    if result is None:  # another process reports for all
        return 0
    result.report.print(console)
    if result.model is not None:
        say(f"Model to use: {result.model} (from_pretrained loads it)")
        several = " --task NAME" if len(experiment.data.tasks) > 1 else ""
        say(f"Next: lowland predict --model {shlex.quote(str(result.model))} --input FILE{several}")
        if name := getattr(arguments, "push_to_hub", None):
            say(f"Uploaded: {push(result.model, name)}")
    return 0


def plan_only(experiment: Experiment, jobs: int, store: Path) -> None:
    """Prints what an experiment would do."""
    from lowland.comparison.outcomes import Measured
    from lowland.planning.plan import make_plan
    from lowland.runs.prepared import prepare

    quiet_libraries()
    prepared, family = prepare(experiment.config, experiment.data)
    measured = Measured(experiment.config, prepared.data)  # a file of it may be missing
    plan = make_plan(experiment.config, prepared, family, measured.settings["examples"], timed=True)
    show_plan(plan, jobs, store)
    for sentence in dict.fromkeys((*experiment.warnings, *prepared.warnings, *measured.warnings)):
        say(f"Warning: {plain(sentence)}")


def _run_all(arguments: argparse.Namespace, experiments: Mapping[str, Experiment]) -> int:
    """Runs the experiments of a grid one after another, and reports on all; one that fails stops no other."""
    from lowland.report.write import find_experiments, read_report, write_several

    digits = fingerprint([experiment.config.fingerprint() for experiment in experiments.values()])
    out = Path(arguments.out) if "out" in arguments else Path("runs") / f"compare-grid-{digits}"
    failed = []
    for place, (name, experiment) in enumerate(experiments.items(), start=1):
        say(f"\n[{place}/{len(experiments)}] {name}", style="bold")
        try:
            run_one(arguments, experiment, "compare", out / name)
        except UserError as error:
            failed.append(name)
            say(f"{name}: failed. {error}", style="red")
    if "plan" not in arguments and len(failed) < len(experiments):
        reports = [read_report(directory) for directory in find_experiments(out)]
        write_several(reports, out / "report").print(console)
    if failed:
        say(f"Failed: {', '.join(failed)}. The same command tries again.")
    return 1 if failed else 0


def push(model: Path, name: str) -> str:
    """Uploads a model's directory to a repository such as `me/reviews`, private if new; gives its address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        made = HfApi().create_repo(name, private=True, exist_ok=True)
        about = "Add the model of a comparison"
        HfApi().upload_folder(repo_id=made.repo_id, folder_path=model, commit_message=about)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(
            f"--push-to-hub {name}: {reason}. The model lies in {model}; give the command again, or type: "
            f"hf upload {shlex.join([name, str(model)])}"
        ) from None
    return str(made)
