"""`lowland outcomes`: what else differs between the models of an experiment."""

from __future__ import annotations

import argparse
from pathlib import Path

from lowland.cli import options
from lowland.cli.parser import one_of, seed_list, whole
from lowland.cli.sharpness import experiment_of
from lowland.errors import UserError

HELP = "measure likelihood, calibration and rounding to few bits"
USAGE = "DIR [--option ...]"
DESCRIPTION = """\
Measures, for the finished runs of an experiment, what the score does not tell:
the likelihood of the right answers; where these are labels, the Brier score
and whether confidence is to be believed; and score and likelihood once more
after the weights are rounded to int8 and to int4. With --general, also how
much the loss on a general text rose over the model before fine-tuning. Writes
a file for each model to DIR/outcomes and a new report with tables and
verdicts. After an interruption the same command goes on."""
EPILOG = """\
examples:
  lowland outcomes runs/compare-demo-1a2b3c4d
  lowland outcomes runs/sst2 --examples 200 --rounding int4 --general wiki.txt
"""
INTERRUPTED = "interrupted. The same command goes on where it stopped."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.add_argument("directory", metavar="DIR", help="directory of an experiment")
    options.add_sources(parser)
    runs = parser.add_argument_group("which models")
    runs.add_argument(
        "--seeds", type=seed_list, metavar="N", help="number of seeds, or a list such as 4,7 (default: all)"
    )
    runs.add_argument(
        "--checkpoint",
        type=one_of("last", "best"),
        metavar="NAME",
        help="last step, or best on held-out examples (default: last)",
    )
    measured = parser.add_argument_group("what is measured")
    measured.add_argument(
        "--examples",
        type=whole,
        metavar="N",
        help="most examples of each evaluation set, the first ones (default: 1000)",
    )
    measured.add_argument("--batch-size", type=whole, metavar="N", help="examples at a time (default: 64)")
    measured.add_argument(
        "--rounding",
        type=_names,
        metavar="NAME,NAME",
        help="int8, int4, both or none (default: int8,int4)",
    )
    measured.add_argument(
        "--general",
        metavar="FILE",
        help="plain text, to measure what was forgotten: by span corruption for T5, by the next token for "
        "causal models; others are left out",
    )


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(text.split(","))


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    from lowland.cli.console import console, note, quiet_libraries
    from lowland.compare.outcomes import FOLDER, OutcomeSettings, measure_outcomes
    from lowland.compare.sharpness import Checkpoint, find_checkpoints
    from lowland.pretraining.general import GeneralText
    from lowland.report import write_report
    from lowland.report.formats import to_rich

    quiet_libraries()
    path = Path(arguments.directory)
    general = GeneralText(Path(arguments.general)) if "general" in arguments else None
    names = ("examples", "batch_size", "rounding")
    try:
        settings = OutcomeSettings(
            **{name: getattr(arguments, name) for name in names if name in arguments},
            general=general.sha256 if general else "",
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    config = experiment_of(path, arguments)
    best = getattr(arguments, "checkpoint", "last") == "best"
    found = find_checkpoints(path, config, best=best, start=False)
    if not found:
        raise UserError(f"{path} holds no checkpoint of a finished run. Run its experiment first.")

    def on_start(checkpoint: Checkpoint, done: bool) -> None:
        note(f"{checkpoint.name}: {'measured before' if done else f'measuring {checkpoint.model}'}")

    try:
        if general is None:
            measure_outcomes(config, found, path / FOLDER, settings, on_start)
        else:
            measure_outcomes(config, found, path / FOLDER, settings, on_start, general)
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror}.") from None
    report = write_report(path)
    for table in report.beyond:
        if table.name == "outcomes":
            two = len({record["arm"] for record in table.records}) == 1
            hide = ("Arm", "Seeds") if two else ("Seeds",)
            console.print(to_rich(table, width=console.width, hide=hide), crop=False)
    report.print_answer(console)
    return 0
