r"""Fine-tune one model, by SAM or without.

usage: lowland train [TASK ...] [--option ...]

Fine-tunes one model by SAM (or, with --arm baseline, without) and scores it.
The model is saved in DIR/model. To see whether SAM helps on your data, use
`lowland compare`.

Examples:
  lowland train glue/rte --data-dir ~/glue --model ~/t5-v1_1-base --rho 0.15
  lowland train --train reviews.csv --split 0.2 \
    --input "review: {text}" --target "{label}" --arm baseline
"""

from __future__ import annotations

import argparse

from lowland.cli import compare, options
from lowland.cli.options import add
from lowland.cli.parser import own_arm
from lowland.config.arms import KNOWN

COMMON = tuple(
    {"arms": "arm", "seeds": "seed"}.get(name, name)
    for name in compare.COMMON
    if name not in ("more_arms", "grid", "jobs")
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    options.add_training_options(parser)
    run = parser.add_argument_group("run")
    arm = f"the arm: {', '.join(KNOWN)}, one of a file of settings, or your own as in compare (default: sam)"
    add(run, "--arm", "ARM", arm, lambda text: own_arm(text) if ":" in text else (text, None))
    add(run, "--seed", "N", "seed of the run (default: 0)", int)
    options.add_result_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    name, changes = getattr(arguments, "arm", ("sam", None))
    if changes is not None:
        arguments.more_arms = {name: changes}
    arguments.arms = [name]
    arguments.seeds = [getattr(arguments, "seed", 0)]
    (experiment,) = options.experiments(arguments, grid=False).values()
    return compare.run_one(arguments, experiment, f"train-{name}")
