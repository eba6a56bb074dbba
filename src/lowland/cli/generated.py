"""Options that are made from a settings class: name, limits, default and help stand at its fields."""

from __future__ import annotations

import argparse
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Literal

from lowland.cli.parser import comma_list, number, one_of, truth, whole, whole_or_fraction
from lowland.settings import Setting, described, kinds_of


def add_settings(
    group: argparse._ArgumentGroup,
    kind: type[Any],
    section: str = "",
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
    others: Mapping[str, Any] | None = None,
    unset: str | None = None,
    strict: bool = False,
    also: Mapping[str, str] | None = None,
) -> None:
    """Adds an option for every described field of a settings class.

    Args:
        group: Gets the options.
        kind: The class.
        section: Name of its section among the settings, such as `sam`.
        only: The fields that get an option; all where it is empty.
        without: Fields that get none.
        others: Other defaults, which help shows in brackets.
        unset: What holds where an option is not given, instead of the defaults.
        strict: Whether a value below its limit is refused here rather than by the settings.
        also: Field -> another name of its option.
    """
    for name, said in described(kind).items():
        if name in without or (only and name not in only):
            continue
        default = _default(kind, name, said)
        if others and name in others:
            default += f" [{_shown(others[name])}]"
        shown = f" (default: {unset or default})" if unset or default else ""
        more: dict[str, Any] = {
            "dest": f"{section}.{name}" if section else name,
            "help": said.help.replace("%", "%%") + shown,
        }
        types = kinds_of(kind)[name]
        metavar = said.metavar or _metavar(types)
        names = [
            f"--{said.option or name.replace('_', '-')}",
            *([also[name]] if also and name in also else []),
        ]
        if bool in types:
            group.add_argument(*names, action="store_true", **more)
        elif any(typing.get_origin(one) in (Sequence, tuple) for one in types):
            group.add_argument(*names, metavar=metavar, action="append", **more)
        else:
            read = reader_of(types)
            read = _at_least(read, said.least) if strict and said.least is not None else read
            group.add_argument(*names, metavar=metavar, type=read, **more)


def keys_of(kind: type[Any]) -> dict[str, Callable[[str], Any]]:
    """Gives the keys of a settings class that is written as `KEY=VALUE ...`, each with its reader."""
    return {name: reader_of(kinds_of(kind)[name]) for name in described(kind)}


def reader_of(types: tuple[Any, ...]) -> Callable[[str], Any]:
    """Gives what reads a value of one of some types."""
    choices = [
        choice for one in types if typing.get_origin(one) is Literal for choice in typing.get_args(one)
    ]
    if choices:
        return one_of(*choices)
    if any(typing.get_origin(one) is tuple for one in types):
        return comma_list
    if bool in types:
        return truth
    if str in types:
        return str
    if float in types:
        # The settings tell 8 examples from a fraction of 8.0, and say so where it is meant otherwise.
        return whole_or_fraction
    return whole if int in types else number


def _metavar(types: tuple[Any, ...]) -> str:
    if any(typing.get_origin(one) is Literal for one in types):
        return "NAME"
    return "X" if float in types else "N" if int in types else "TEXT"


def _at_least(read: Callable[[str], Any], least: float) -> Callable[[str], Any]:
    def read_and_check(text: str) -> Any:
        value = read(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least:g}, not {value}")
        return value

    return read_and_check


def _default(kind: type[Any], name: str, said: Setting) -> str:
    default = next(item.default for item in fields(kind) if item.name == name)
    return said.unset or ("" if default in (None, MISSING) else _shown(default))


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return ", ".join(default)
    if default == "\n":
        return "a line end"
    return f"{default:g}" if isinstance(default, (int, float)) else str(default)
