"""The command line: one module a command, and one place where errors become sentences."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import shlex
import sys
from collections.abc import Sequence
from types import ModuleType

from lowland.cli.parser import Parser
from lowland.cli.trouble import machine_trouble, redact
from lowland.errors import UserError, unknown_name
from lowland.version import __version__

COMMANDS = ("compare", "train", "eval", "predict", "report", "sharpness", "tasks", "doctor")
RESUMED = ("compare", "train", "sharpness")

DESCRIPTION = """\
Sharpness-Aware Minimization (SAM) for language models: fine-tunes a model
with and without SAM, and measures whether SAM helps on your data.

commands:
"""

EPILOG = """\
`lowland COMMAND --help` describes a command. Start with:
  lowland doctor                  check this machine and the installation
  lowland compare --preset demo   a first comparison: minutes, offline
  lowland tasks                   list the tasks to train on
  lowland compare --train my.csv --split 0.2 \\
    --input "review: {text}" --target "{label}"
"""


def root_parser() -> Parser:
    """Builds the parser of what stands before a command, which tells about all commands."""
    heads = [str(command_module(name).__doc__).partition(".\n")[0] for name in COMMANDS]
    listed = [f"  {name:<10}{head[0].lower()}{head[1:]}" for name, head in zip(COMMANDS, heads, strict=True)]
    text, usage = DESCRIPTION + "\n".join(listed), "lowland COMMAND ... [--option ...]"
    parser = Parser(prog="lowland", usage=usage, description=text, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"lowland {__version__}")
    return parser


def command_parser(name: str) -> Parser:
    """Builds the parser of a command out of its module's docstring; options not given leave no trace."""
    module = command_module(name)
    _, usage, *does, examples = str(module.__doc__).split("\n\n")
    parser = Parser(
        prog=f"lowland {name}",
        common=getattr(module, "COMMON", ()),
        usage=usage.removeprefix("usage: "),
        description="\n\n".join(does),
        epilog=examples,
        argument_default=argparse.SUPPRESS,
    )
    module.add_arguments(parser)
    return parser


def command_module(name: str) -> ModuleType:
    """Imports the module of a command; none of them imports torch before it runs."""
    return importlib.import_module(f"lowland.cli.{name}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; gives 0, 2 for a user's mistake, 1 for anything else, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        for stream in (sys.stdout, sys.stderr):  # of what a terminal has no characters for, escapes are shown
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        _refuse_bytes(words)
        if not words or words[0].startswith("-"):
            parser = root_parser()
            parser.parse_words(words)
            parser.print_help()
            return 0
        name = words[0]
        if name not in COMMANDS:
            raise unknown_name("command", name, COMMANDS)
        arguments = command_parser(name).parse_words(words[1:])
        arguments.command = redact(shlex.join(["lowland", *words]))
        # Nothing is asked of the network unless the user asks for the hub, or to upload there.
        if not getattr(arguments, "data.hub", False) and "push_to_hub" not in arguments:
            os.environ["HF_HUB_OFFLINE"] = "1"
        code = int(command_module(name).run(arguments))
        sys.stdout.flush()  # what cannot be written is said here
        return code
    except UserError as error:
        print(f"lowland: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if str(error.name).startswith("lowland"):
            raise
        print(f'lowland: {error}. The command line needs: pip install "lowland[lab]"', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = "The same command resumes where it stopped." if words and words[0] in RESUMED else ""
        print(f"\nlowland: interrupted. {again}".rstrip(), file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        _drop_output()
        return 0
    except (OSError, MemoryError, RuntimeError) as error:
        sentence = machine_trouble(error)
        if sentence is None:
            raise
        print(f"lowland: {sentence}", file=sys.stderr)
        if getattr(error, "errno", None) == errno.ENOSPC:
            _drop_output()
        return 2


def _drop_output() -> None:
    """Lets what is left of the output go nowhere, so that Python does not try again at its end."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse_bytes(words: Sequence[str]) -> None:
    """Refuses words that are no text, such as a file's name in Latin-1: no record could hold them."""
    for word in words:
        if word != word.encode(errors="ignore").decode():
            shown = os.fsencode(word).decode(errors="backslashreplace")
            raise UserError(f"The name {shown} is not UTF-8. Rename the file or folder.")
