"""`lowland train`: one arm, one seed."""

from __future__ import annotations

import argparse

from lowland.cli import compare, options

HELP = "fine-tune one model, by SAM or by standard training"
DESCRIPTION = """\
Fine-tunes one model by SAM (or, with --arm standard, without) and scores it. The model is left in DIR/model.
Use `lowland compare` to learn whether SAM helps on your data."""
EPILOG = """\
examples:
  lowland train glue/rte --data-dir ~/glue --model t5-v1_1-base --rho 0.15
  lowland train --train reviews.csv --eval dev.csv --input "review: {text}" --target "{label}" --arm standard
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    options.add_data_options(parser)
    options.add_training_options(parser)
    options.add_layer_options(parser)
    parser.add_argument("--arm", choices=("sam", "standard"), help="which gradient (default: sam)")
    parser.add_argument("--seed", type=int, metavar="N", help="(default: 0)")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    arguments.arms = [getattr(arguments, "arm", "sam")]
    arguments.seeds = [getattr(arguments, "seed", 0)]
    return compare.run_arms(arguments, f"train-{arguments.arms[0]}")
