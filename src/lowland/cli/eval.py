"""Score a checkpoint on tasks or on your own rows.

usage: lowland eval [TASK ...] --model DIR [--option ...]

Scores a checkpoint on the evaluation sets of tasks, or on rows of your own.

Examples:
  lowland eval facts --model runs/my-run/model
  lowland eval glue/sst2 --data-dir ~/glue --model ~/t5-v1_1-base --limit 100
  lowland eval --test test.csv --target "{label}" --model runs/my-run/model
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from lowland.cli import options
from lowland.cli.console import console, errors, make_table, note, quiet_libraries
from lowland.cli.options import add, given
from lowland.cli.parser import at_least_one
from lowland.cli.predict import add_generation, check_model, load_for_generation
from lowland.config.data import CustomData
from lowland.config.layers import build_section
from lowland.errors import UserError
from lowland.files import finite
from lowland.report.selection import mean_score
from lowland.settings import at_home
from lowland.tasks import checks
from lowland.tasks.base import Source, Task
from lowland.tasks.registry import resolve

if TYPE_CHECKING:
    from lowland.evaluate import EvaluationResult
    from lowland.runs.predict import Usage

COMMON = (
    *("data.tasks", "data.custom.evaluation", "data.custom.input", "data.custom.target"),
    *("data.custom.metrics", "data.data_dir", "data.hub", "limit", "model", "generation.batch_size"),
    *("generation.precision", "generation.input_length", "generation.target_length", "predictions", "json"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    options.add_data(parser, train=False)
    limited = "score the first N examples of each set (default: all)"
    add(parser.add_argument_group("how much"), "--limit", "N", limited, at_least_one)
    model = parser.add_argument_group("model")
    add(model, "--model", "DIR", "directory of the checkpoint, or embedded", at_home, required=True)
    add_generation(model)
    results = parser.add_argument_group("results")
    texts = "write DIR/<evaluation set>.jsonl: inputs, targets, predictions"
    add(results, "--predictions", "DIR", texts, at_home)
    results.add_argument("--json", action="store_true", help="print the scores as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from lowland.evaluate import evaluate_sets, write_predictions
    from lowland.runs.examples import load_examples
    from lowland.runs.predict import Usage, read_usage

    usage = read_usage(check_model(arguments)) or Usage(tasks=())
    folder, hub = getattr(arguments, "data.data_dir", None), getattr(arguments, "data.hub", False)
    source = Source(data_dir=Path(folder) if folder else None, hub=hub, train=False)
    data = load_examples(find_tasks(arguments, usage), source, getattr(arguments, "limit", 0))
    if not data.evaluation:
        raise UserError(f"No evaluation examples were found for {', '.join(data.tasks)}.")
    quiet_libraries()
    family, how = load_for_generation(arguments, usage)
    for name in ("input_length", "target_length"):
        how[name] = how[name] or getattr(usage, name)
    # What a model was trained to write is more than what these rows happen to hold.
    known = usage.labels if len(usage.tasks) == 1 else ()
    found = {name: set(data.scorers[name].labels(chosen)) for name, chosen in data.evaluation.items()}
    with errors.status(Text(f"{sum(map(len, data.evaluation.values())):,} examples")):
        labels = {name: known for name, of_set in found.items() if of_set <= set(known)}
        results = evaluate_sets(family, data.scorers, data.evaluation, labels=labels, **how)
    warnings = [*data.warnings]
    for name, chosen in data.evaluation.items():
        warnings += results[name].warnings
        if found[name] and (writes := family.labels or known):
            warnings += checks.unseen(name, writes, chosen, "are none of the labels of this model")
        if "predictions" in arguments:
            path = Path(arguments.predictions) / f"{name}.jsonl"
            try:
                write_predictions(path, chosen, results[name].predictions)
            except OSError as error:
                raise UserError(f"{path} cannot be written: {error.strerror or error}.") from None
    for sentence in warnings:
        note(f"Warning: {sentence}")
    show(arguments.model, results, as_json="json" in arguments)
    return 0


def find_tasks(arguments: argparse.Namespace, usage: Usage) -> list[Task]:
    """Looks up the tasks that the arguments name; own rows have the template and classes of the training."""
    data = given(arguments, "data").get("data", {})
    tasks = resolve(data.get("tasks", ()))
    if "custom" in data:
        own: dict[str, Any] = data["custom"]
        classes: tuple[str, ...] = ()
        if usage.template is not None:
            # The positive class is that of the metric f1, where that is asked for.
            positive = usage.positive if "f1" in own.get("metrics", ()) else None
            own = {"input": usage.template, "positive": positive, **own}
            # Of a model of several tasks, it is not known which classes are those of the rows.
            classes = usage.labels if len(usage.tasks) == 1 else ()
        for key, option in (("evaluation", "--test"), ("target", "--target"), ("input", "--input")):
            if own.get(key) is None:
                raise UserError(f"Your own rows need --test, --input and --target; {option} is missing.")
        tasks.append(build_section(CustomData, own, "data.custom.").task(classes))
    if not tasks:
        raise UserError(
            "There is nothing to score on. Name a task (see `lowland tasks`), or give rows of your own with "
            "--test, --input and --target."
        )
    return tasks


def show(model: str, results: Mapping[str, EvaluationResult], *, as_json: bool) -> None:
    """Prints the scores; the average is that of the sets, each the mean of its metrics, as in the paper."""
    average = mean_score({name: result.metrics for name, result in results.items()})
    if as_json:
        names = ("metrics", "examples", "seconds")
        sets = {of: {name: getattr(result, name) for name in names} for of, result in results.items()}
        scores = {"model": model, "average": average, "sets": sets}
        print(json.dumps(finite(scores), indent=2, ensure_ascii=False))  # an undefined correlation is nan
        return
    table = make_table(f"Scores of {model}", "Evaluation set", "Examples", "Metric", "Score")
    for column in (1, 3):
        table.columns[column].justify = "right"
    for name, result in results.items():
        for metric, value in result.metrics.items():
            table.add_row(*map(Text, (name, str(result.examples), metric, f"{value:.2f}")))
    if len(results) > 1:
        table.add_section()
        shown = f"{average:.2f}" if math.isfinite(average) else "undefined"
        table.add_row(*map(Text, ("average of the sets", "", "", shown)))
    console.print(table)
