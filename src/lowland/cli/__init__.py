"""The command `lowland`: one module a verb, and one place where errors become sentences."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from types import ModuleType

from lowland.cli.parser import Parser
from lowland.cli.trouble import machine_trouble, redact
from lowland.errors import UserError, unknown_name
from lowland.version import __version__

VERBS = ("compare", "train", "eval", "predict", "report", "sharpness", "tasks", "doctor")
GONE = {
    "sweep": "lowland compare --grid SETTING=VALUES, such as --grid sam.rho=0.02,0.05",
    "outcomes": "a part of lowland compare, see its --outcomes",
    "replay": "part of the sentence with which a run stops, see --on-non-finite",
    "recipes": "lowland tasks --recipes",
}
"""What former verbs have become."""

DESCRIPTION = """\
Sharpness-Aware Minimization (SAM) for language models: fine-tunes a model
with and without SAM, and measures whether SAM helps on your data.

verbs:
{verbs}"""

EPILOG = """\
`lowland VERB --help` describes a verb. Start with:
  lowland doctor                  check this machine and the installation
  lowland compare --preset demo   a first comparison: minutes, offline
  lowland tasks                   list the tasks to train on
  lowland compare --train my.csv --split 0.2 \\
    --input "review: {text}" --target "{label}"
"""


def build_parser() -> Parser:
    """Builds the parser of what stands before a verb, which tells about all verbs."""
    listed = "\n".join(f"  {name:<10}{verb_module(name).HELP}" for name in VERBS)
    text = DESCRIPTION.format(verbs=listed)
    usage = "lowland VERB ... [--option ...]"
    parser = Parser(prog="lowland", usage=usage, description=text, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"lowland {__version__}")
    return parser


def build_verb_parser(name: str) -> Parser:
    """Builds the parser of one verb's arguments; an option that is not given leaves no trace."""
    module = verb_module(name)
    parser = Parser(
        prog=f"lowland {name}",
        common=getattr(module, "COMMON", ()),
        usage=f"lowland {name} {module.USAGE}",
        description=module.DESCRIPTION,
        epilog=module.EPILOG,
        argument_default=argparse.SUPPRESS,
    )
    module.add_arguments(parser)
    return parser


def verb_module(name: str) -> ModuleType:
    """Imports the module of a verb; none of them imports torch before it runs."""
    return importlib.import_module(f"lowland.cli.{name}")


def missing_packages(requirements: Iterable[str]) -> list[str]:
    """Lists the packages of the extra `lab`, of requirements as metadata has them, that are not installed."""
    missing = []
    for requirement in requirements:
        name = re.split(r"[^A-Za-z0-9._-]", requirement)[0]
        try:
            if re.search(r"extra\s*==\s*['\"]lab['\"]", requirement):
                metadata.distribution(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    return missing


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: The arguments, without the command's name; those of the process by default.

    Returns:
        The exit code: 0, 2 for a mistake of the user's, 1 for anything else, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    missing = missing_packages(metadata.requires("lowland") or [])
    if missing:
        print(
            f"lowland: The command line needs packages that are not installed: {', '.join(missing)}. "
            'Install them with: pip install "lowland[lab]"',
            file=sys.stderr,
        )
        return 2
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    interrupted = "interrupted."
    try:
        _write_anything()
        _refuse_bytes(words)
        if not words or words[0].startswith("-"):
            parser = build_parser()
            parser.parse_words(words)
            parser.print_help()
            return 0
        name = words[0]
        if name in GONE:
            raise UserError(f"`lowland {name}` is now: {GONE[name]}.")
        if name not in VERBS:
            raise unknown_name("verb", name, VERBS)
        arguments = build_verb_parser(name).parse_words(words[1:])
        arguments.command = redact(shlex.join(["lowland", *words]))
        # Nothing is asked of the network unless the user asks for the hub, or to upload there.
        if not getattr(arguments, "data.hub", False) and "push_to_hub" not in arguments:
            os.environ["HF_HUB_OFFLINE"] = "1"
        module = verb_module(name)
        interrupted = getattr(module, "INTERRUPTED", interrupted)
        code = int(module.run(arguments))
        sys.stdout.flush()  # what cannot be written is said here
        return code
    except UserError as error:
        print(f"lowland: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nlowland: {interrupted}", file=sys.stderr)
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


def _write_anything() -> None:
    """Lets output go on where the terminal has no such characters, or a name is no text: they are escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _refuse_bytes(words: Sequence[str]) -> None:
    """Refuses words that are no text, such as a file's name in Latin-1: no record could hold them."""
    try:
        "".join(words).encode()
    except UnicodeEncodeError:
        word = next(word for word in words if any("\ud800" <= letter <= "\udfff" for letter in word))
        shown = os.fsencode(word).decode(errors="backslashreplace")
        raise UserError(
            f"The name {shown} is not UTF-8, so that no record of the experiment could hold it. Rename the "
            "file or folder."
        ) from None
