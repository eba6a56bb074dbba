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

Reader = Callable[[str], Any]


ELSEWHERE = {
    **dict.fromkeys(("--lr",), "--learning-rate"),
    **dict.fromkeys(("--batch", "--bs", "--per-device-train-batch-size"), "--batch-size"),
    **dict.fromkeys(("--max-steps", "--iterations"), "--steps"),
    **dict.fromkeys(("--num-epochs", "--num-train-epochs"), "--epochs"),
    **dict.fromkeys(("--validation", "--valid", "--val", "--dev", "--test-file", "--eval-file"), "--test"),
    **dict.fromkeys(("--train-file", "--data", "--dataset"), "--train"),
    **dict.fromkeys(("--label", "--labels", "--output-column"), "--target"),
    **dict.fromkeys(("--output", "--output-dir"), "--out"),
    **dict.fromkeys(("--model-name", "--model-name-or-path"), "--model"),
    **dict.fromkeys(("--bf16", "--fp16", "--fp32", "--dtype"), "--precision"),
    **dict.fromkeys(("--peft", "--use-peft", "--adapter"), "--lora"),
    **dict.fromkeys(("--seed",), "--seeds"),
}
"""Names that options have in other tools -> ours."""


class Parser(argparse.ArgumentParser):
    """Parses arguments in any order; a mistake is a `UserError`.

    Options are not understood by their beginnings, so that a new option never changes an old command.

    Args:
        common: The options that `--help` shows, by their destinations; the others are in `--help-all`. All
            where it is empty.
        settings: Of `argparse.ArgumentParser`.
    """

    def __init__(self, common: Collection[str] = (), **settings: Any) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(formatter_class=formatter, allow_abbrev=False, add_help=False, **settings)
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
            more = " ..." if action.nargs == "*" else ""
            name = action.option_strings[0] if action.option_strings else f"{action.metavar}{more}"
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
                meant = ELSEWHERE.get(word.partition("=")[0].replace("_", "-"))
                if meant in options:
                    raise UserError(
                        f"Unknown option of {self.prog} {word.partition('=')[0]!r}. Did you mean {meant}?"
                    )
                raise unknown_name(f"option of {self.prog}", word.partition("=")[0], options)
        if left:
            raise UserError(f"Unexpected {left[0]!r}. See {self.prog} --help.")
        return arguments

    def error(self, message: str) -> NoReturn:
        """Raises argparse's message as a sentence that begins with the option."""
        text = re.sub(r"^argument ([^:]+): ", lambda found: f"{found[1].split('/')[-1]}: ", message)
        text = text.replace("expected one argument", "a value is missing")
        text = text.replace("the following arguments are required: ", "Missing: ")
        raise UserError(f"{text.rstrip('.')}. See {self.prog} --help.")


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


def reader(read: Reader, what: str) -> Reader:
    """Makes the reader of an option's value; what it cannot read must be `what`."""

    def read_or_refuse(text: str) -> Any:
        try:
            return read(text)
        except (ValueError, KeyError):
            raise argparse.ArgumentTypeError(f"must be {what}, not {text!r}") from None

    return read_or_refuse


def one_of(*choices: str) -> Reader:
    """Makes a reader that takes one of several words."""
    listed = " or ".join([", ".join(choices[:-1]), choices[-1]])
    return reader(dict(zip(choices, choices, strict=True)).__getitem__, listed)


def list_of(read: Reader) -> Reader:
    """Makes a reader of values with commas between them."""
    return lambda text: [read(part) for part in text.split(",") if part]


def pair(what: str, readers: Mapping[str, Reader] | None = None) -> Reader:
    """Makes a reader of `NAME=VALUE`, for some names only where their readers are given."""

    def read(word: str) -> tuple[str, Any]:
        name, equals, value = word.partition("=")
        if not equals or not name:
            more = "; put names of tasks before it" if readers else ""
            raise argparse.ArgumentTypeError(f"{word!r} is no {what}{more}")
        if readers is None:
            return name, value
        if name not in readers:
            raise argparse.ArgumentTypeError(f"unknown {name!r}; it takes {', '.join(readers)}")
        try:
            return name, readers[name](value)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{name} {error}") from None

    return read


def _whole_or_fraction(text: str) -> int | float:
    """Reads `8` as a whole number and `0.25` or `1.0` as a fraction, which the settings tell apart."""
    return int(text) if re.fullmatch(r"[+-]?\d+", text.strip()) else float(text)


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _seeds(text: str) -> list[int]:
    """Reads `3` as the seeds 0, 1, 2, `4,7` as these two, and `4,` as one."""
    return list_of(int)(text) if "," in text else list(range(int(text)))


text_list = list_of(str)
whole = reader(int, "a whole number")
at_least_one = reader(_at_least_one, "at least 1")
number = reader(_whole_or_fraction, "a number")
truth = reader({"true": True, "false": False}.__getitem__, "true or false")
seed_list = reader(_seeds, "a number of seeds or a list such as 4,7")


def own_arm(text: str) -> tuple[str, dict[str, Any]]:
    """Reads `late: sam.rho=0.15 sam.start=0.2`."""
    try:
        return parse_arm(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def launcher_and_options(text: str) -> tuple[str, dict[str, Any]]:
    """Reads `slurm,timeout_min=600`: where processes run, and what submitit is told."""
    name, *words = text.split(",")
    name = one_of("processes", "slurm", "submitit-local")(name)
    if words and name == "processes":
        raise argparse.ArgumentTypeError("processes has no options")
    pairs = map(pair("NAME=VALUE, such as slurm,timeout_min=600"), words)
    return name, {key: parse_value(value) for key, value in pairs}
