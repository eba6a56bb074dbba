"""The command `lowland`: one module a verb, and one place where errors become sentences."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from lowland.errors import UserError
from lowland.version import __version__

VERBS = ("compare", "train", "eval", "predict", "report", "tasks", "doctor")

DESCRIPTION = """\
Sharpness-Aware Minimization (SAM) for language models: fine-tunes text-to-text models so that they end in
low, flat ground, and tells how much that helped."""

EPILOG = """\
Start with:
  lowland compare --preset demo               a few minutes, offline: does SAM help to learn facts?
  lowland tasks                               what there is to train on
  lowland compare --train my.jsonl --eval my-dev.jsonl --input "review: {text}" --target "{label}"
"""


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="lowland",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lowland {__version__}")
    verbs = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB")
    for name in VERBS:
        module = importlib.import_module(f"lowland.cli.{name}")
        verb = verbs.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: The arguments, without the command's name; those of the process by default.

    Returns:
        The exit code: 0, 2 for a mistake of the user's, 1 for anything else, 130 after Ctrl-C.
    """
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if "run" not in arguments:
        parser.print_help()
        return 0
    # Nothing is asked of the network unless the user asks for the hub.
    if not getattr(arguments, "data.hub", False):
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        return int(arguments.run(arguments))
    except UserError as error:
        print(f"lowland: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\nlowland: interrupted. The same command goes on with the runs that are left.", file=sys.stderr
        )
        return 130
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
