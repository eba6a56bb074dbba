"""The parser of arguments: argparse, with one clear sentence for every mistake."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

from lowland.config.arms import parse_arm, parse_value
from lowland.errors import UserError, unknown_name

WIDTH = 80
COLUMN = 24
"""Where the explanation of an option begins in the short help."""


class Parser(argparse.ArgumentParser):
    """Parses arguments in any order; a mistake is a `UserError`.

    Options are not understood by their beginnings, so that a new option never changes an old command.

    Args:
        common: The options that `--help` shows, by their destinations; the others are in `--help-all`. All
            where it is empty.
        settings: Of `argparse.ArgumentParser`.
    """

    def __init__(self, common: Collection[str] = (), **settings: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
            **settings,
        )
        self._common = common
        self.add_argument("-h", "--help", action="help", help="show this text")
        if common:
            self.add_argument("--help-all", action=_HelpAll, nargs=0, help="show all options")

    def print_help(self, file: Any = None) -> None:
        """Prints the common options, or all where there are no others."""
        self._print_message(self._short_help() if self._common else self.format_help(), file or sys.stdout)

    def _short_help(self) -> str:
        """Writes a line for each common option."""
        lines = [f"usage: {self.usage}", "", str(self.description), ""]
        lines.append(f"options ({self.prog} --help-all shows all, and more about each):")
        actions = {action.dest: action for action in self._actions}
        for action in (actions[name] for name in self._common):
            value = f" {action.metavar}" if action.nargs != 0 and action.option_strings else ""
            name = action.option_strings[0] if action.option_strings else f"{action.metavar} ..."
            lines.append(f"  {name + value:<{COLUMN - 3}} {_in_short(str(action.help))}")
        return "\n".join([*lines, "", str(self.epilog).rstrip()]) + "\n"

    def parse_words(self, words: Sequence[str]) -> argparse.Namespace:
        """Parses the words of a command line.

        Raises:
            UserError: If an option is unknown, lacks its value, or has an invalid one.
        """
        arguments, left = self.parse_known_intermixed_args(words)
        for word in left:
            if word.startswith("-"):
                options = [option for option in self._option_string_actions if option.startswith("--")]
                raise unknown_name(f"option of {self.prog}", word.partition("=")[0], options)
        if left:
            raise UserError(f"Unexpected {left[0]!r}. See {self.prog} --help.")
        return arguments

    def error(self, message: str) -> NoReturn:
        """Raises argparse's message as a sentence that begins with the option."""
        text = re.sub(r"^argument ([^:]+): ", lambda found: f"{found[1].split('/')[-1]}: ", message)
        text = text.replace("expected one argument", "a value is missing")
        text = text.replace("the following arguments are required: ", "Missing: ")
        text = text.rstrip(".")
        raise UserError(f"{text}. See {self.prog} --help.")


class _HelpAll(argparse.Action):
    """Prints all options."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        parser._print_message(parser.format_help(), sys.stdout)
        parser.exit()


def _in_short(text: str) -> str:
    """Shortens an explanation to a line: what comes before a semicolon, with the default where it fits."""
    said, default = re.fullmatch(r"(.*?)( \(default: .*\))?", text.replace("%%", "%"), re.DOTALL).groups("")  # type: ignore[union-attr]
    clause = said.split("; ")[0]
    short = re.split(r"[:,] ", clause)[0]
    room = WIDTH - COLUMN
    tries = (clause + default, clause, short + default, short)
    return next((text for text in tries if len(text) <= room), tries[-1])


def whole(text: str) -> int:
    """Reads a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}") from None


def at_least_one(text: str) -> int:
    """Reads a number of things of which there must be one."""
    value = whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def number(text: str) -> float:
    """Reads a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None


def whole_or_fraction(text: str) -> int | float:
    """Reads `8` as a whole number and `0.25` or `1.0` as a fraction, which the settings tell apart."""
    try:
        return int(text)
    except ValueError:
        return number(text)


def seed_list(text: str) -> list[int]:
    """Reads `3` as the seeds 0, 1, 2, `4,7` as these two, and `4,` as one."""
    try:
        if "," in text:
            return [int(part) for part in text.split(",") if part]
        return list(range(int(text)))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a number of seeds or a list such as 4,7, not {text!r}"
        ) from None


def comma_list(text: str) -> list[str]:
    """Reads texts with commas between them."""
    return [part for part in text.split(",") if part]


def truth(text: str) -> bool:
    """Reads true or false."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, not {text!r}")
    return text == "true"


class KeysAndValues(argparse.Action):
    """Reads `r=16 alpha=32` as settings of a section.

    Args:
        option_strings: As in argparse.
        dest: As in argparse.
        keys: Key -> what reads its value.
        options: As in argparse.
    """

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        keys: Mapping[str, Callable[[str], Any]],
        **options: Any,
    ) -> None:
        super().__init__(option_strings, dest, **options)
        self.keys = keys

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        """Puts the settings into the namespace."""
        found: dict[str, Any] = {}
        for word in values:
            key, equals, value = word.partition("=")
            if not equals:
                raise argparse.ArgumentError(self, f"{word!r} is no KEY=VALUE; put names of tasks before it")
            if key not in self.keys:
                raise argparse.ArgumentError(self, f"unknown {key!r}; it takes {', '.join(self.keys)}")
            try:
                found[key] = self.keys[key](value)
            except argparse.ArgumentTypeError as error:
                raise argparse.ArgumentError(self, f"{key} {error}") from None
        setattr(namespace, self.dest, found)


class NamedFiles(argparse.Action):
    """Reads `NAME=FILE`, repeated, as a mapping."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, option: Any = None
    ) -> None:
        """Puts one more into the namespace."""
        name, equals, file = value.partition("=")
        found = getattr(namespace, self.dest, {})
        if not equals or not name or name in found:
            raise argparse.ArgumentError(self, f"must be NAME=FILE, each name once, not {value!r}")
        setattr(namespace, self.dest, {**found, name: file})


def own_arm(text: str) -> tuple[str, dict[str, Any]]:
    """Reads `late: sam.rho=0.15 sam.start=0.2`."""
    try:
        return parse_arm(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def arm_or_name(text: str) -> tuple[str, dict[str, Any] | None]:
    """Reads the name of an arm, or one of the user's own."""
    return own_arm(text) if ":" in text else (text, None)


def launcher_and_options(text: str) -> tuple[str, dict[str, Any]]:
    """Reads `slurm,timeout_min=600`: where processes run, and what submitit is told."""
    name, *words = text.split(",")
    name = one_of("processes", "slurm", "submitit-local")(name)
    pairs = [word.partition("=") for word in words]
    wrong = [key for key, equals, _ in pairs if not equals or not key]
    if wrong or (pairs and name == "processes"):
        raise argparse.ArgumentTypeError("must be like slurm,timeout_min=600, with options of submitit")
    return name, {key: parse_value(value) for key, _, value in pairs}


def one_of(*choices: str) -> Callable[[str], str]:
    """Makes a reader that takes one of several words, and names the nearest for any other."""

    def read(text: str) -> str:
        if text in choices:
            return text
        raise argparse.ArgumentTypeError(f"must be {', '.join(choices[:-1])} or {choices[-1]}, not {text!r}")

    return read
