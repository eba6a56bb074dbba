"""The parser of arguments: argparse, with one clear sentence for every mistake."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from lowland.config.arms import parse_arm, parse_value
from lowland.config.options import unknown_option
from lowland.errors import UserError

Reader = Callable[[str], Any]

WIDTH, COLUMN = 80, 24
"""Of the short help, and where the explanation of an option begins."""

WORDS = {
    "expected one argument": "a value is missing",
    "the following arguments are required: ": "Missing: ",
    "invalid int value: ": "must be a whole number, not ",
    "invalid number value: ": "must be a number, not ",
    "invalid at_least_one value: ": "must be at least 1, not ",
    "invalid texts value: ": "must be names with commas between, not ",
    "invalid each_value value: ": "must be values with commas between, not ",
    "invalid seed_list value: ": "must be a number of seeds or a list such as 4,7, not ",
}
"""What argparse says -> what we say."""


class Parser(argparse.ArgumentParser):
    """Parses arguments in any order; a mistake is a `UserError`.

    `--help` shows the options whose destinations are in `common`, and `--help-all` all of them. Options are
    not understood by their beginnings, so that a new option never changes an old command.
    """

    def __init__(self, common: Collection[str] = (), **settings: Any) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(formatter_class=formatter, allow_abbrev=False, add_help=False, **settings)
        self.common = common
        self.add_argument("-h", "--help", action="help", help="show this text")
        if common:
            self.add_argument("--help-all", action=_HelpAll, nargs=0, help="show all options")

    def format_help(self) -> str:
        """Writes a line for each common option, or all about all of them."""
        if not self.common:
            return super().format_help()
        lines = [f"usage: {self.usage}", "", str(self.description), ""]
        actions = {action.dest: action for action in self._actions}
        brackets = "; [...]: for the embedded model" if "train.steps" in self.common else ""
        lines.append(f"options (--help-all: all, and more about each{brackets}):")
        for action in (actions[name] for name in self.common):
            value = f" {action.metavar}" if action.nargs != 0 and action.option_strings else ""
            more = " ..." if action.nargs == "*" else ""
            name = action.option_strings[0] if action.option_strings else f"{action.metavar}{more}"
            lines.append(f"  {name + value:<{COLUMN - 3}} {_in_short(str(action.help))}")
        return "\n".join([*lines, "", str(self.epilog).rstrip()]) + "\n"

    def parse_words(self, words: Sequence[str]) -> argparse.Namespace:
        """Parses the words of a command line."""
        arguments, left = self.parse_known_intermixed_args(words)
        for word in left:
            option = word.partition("=")[0]
            if not word.startswith("-"):
                continue
            known = [name for name in self._option_string_actions if name.startswith("--")]
            raise unknown_option(f"option of {self.prog}", option, known)
        if left:
            raise UserError(f"Unexpected {left[0]!r}. See {self.prog} --help.")
        return arguments

    def error(self, message: str) -> NoReturn:
        """Raises argparse's message as a sentence that begins with the option."""
        text = re.sub(r"^argument ([^:]+): ", lambda found: f"{found[1].split('/')[-1]}: ", message)
        for theirs, ours in WORDS.items():
            text = text.replace(theirs, ours)
        raise UserError(f"{text.rstrip('.')}. See {self.prog} --help.")


class _HelpAll(argparse.Action):
    """Prints all options."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        parser.common = ()  # type: ignore[attr-defined]
        parser.print_help()
        parser.exit()


def _in_short(text: str) -> str:
    """Shortens an explanation to a line: what comes before a semicolon, with the default where it fits."""
    said, default = re.fullmatch(r"(.*?)( \(default: .*\))?", text.replace("%%", "%"), re.DOTALL).groups("")  # type: ignore[union-attr]
    clause = said.split("; ")[0]
    short = re.split(r"[:,] ", clause)[0]
    tries = (clause + default, clause, short + default, short)
    return next((text for text in tries if len(text) <= WIDTH - COLUMN), tries[-1])


class Pairs(argparse.Action):
    """Collects names with values, from one word or several, in a mapping."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        """Puts what was read into the namespace."""
        found = dict(getattr(namespace, self.dest, {}))
        for name, value in values if isinstance(values, list) else [values]:
            if name in found:
                raise argparse.ArgumentError(self, f"{name!r} is given twice")
            found[name] = value
        setattr(namespace, self.dest, found)


def pair(word: str) -> tuple[str, str]:
    """Reads `KEY=VALUE`, of options that may be followed by names of tasks, too."""
    name, equals, value = word.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{word!r} is no KEY=VALUE; names of tasks come first")
    return name, value


def setting_and_value(word: str) -> tuple[str, Any]:
    """Reads `r=16`."""
    name, value = pair(word)
    return name, parse_value(value)


def number(text: str) -> Any:
    """Reads `8` as a whole number, `0.25` or `1.0` as a fraction, or `auto`; the settings tell them apart."""
    if text == "auto":
        return text
    return int(text) if re.fullmatch(r"[+-]?\d+", text.strip()) else float(text)


def at_least_one(text: str) -> int:
    """Reads a whole number from 1 on."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def texts(text: str) -> list[str]:
    """Reads words with commas between them."""
    if not (found := [part for part in text.split(",") if part]):
        raise ValueError
    return found


def each_value(text: str) -> list[Any]:
    """Reads numbers with commas between them; their settings refuse what is none."""
    return list(map(parse_value, texts(text)))


def seed_list(text: str) -> list[int]:
    """Reads `3` as the seeds 0, 1, 2, `4,7` as these two, and `4,` as one."""
    return [int(part) for part in texts(text)] if "," in text else list(range(int(text)))


def own_arm(text: str) -> tuple[str, dict[str, Any]]:
    """Reads `late: sam.rho=0.15 sam.start=0.2`."""
    try:
        return parse_arm(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def launcher_and_options(text: str) -> tuple[str, dict[str, Any]]:
    """Reads `slurm,timeout_min=600`: where processes run, and what submitit is told."""
    name, *words = text.split(",")
    if name not in ("processes", "slurm", "submitit-local"):
        raise argparse.ArgumentTypeError(f"must be processes, slurm or submitit-local, not {name!r}")
    if words and name == "processes":
        raise argparse.ArgumentTypeError("processes has no options")
    return name, dict(map(setting_and_value, words))
