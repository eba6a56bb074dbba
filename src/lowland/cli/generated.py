"""Options that are made from a settings class: name, limits, default and help stand at its fields."""

from __future__ import annotations

import argparse
import typing
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Literal

from lowland.cli.parser import one_of, whole, whole_or_fraction
from lowland.settings import described, kinds_of


def add_settings(
    group: argparse._ArgumentGroup, kind: type[Any], section: str, only: tuple[str, ...] | None = None
) -> None:
    """Adds an option for every described field of a settings class.

    Args:
        group: Gets the options.
        kind: The class.
        section: Name of its section among the settings, such as `sam`.
        only: The fields that get an option; `None` for all.
    """
    defaults = {item.name: item.default for item in fields(kind)}
    for name, said in described(kind).items():
        if only is not None and name not in only:
            continue
        default, types = defaults[name], kinds_of(kind)[name]
        option = f"--{said.option or name.replace('_', '-')}"
        shown = "" if default is None else f" (default: {_shown(default)})"
        more: dict[str, Any] = {"dest": f"{section}.{name}", "help": said.help.replace("%", "%%") + shown}
        if bool in types:
            group.add_argument(option, action="store_true", **more)
        else:
            repeated = any(typing.get_origin(one) is Sequence for one in types)
            action = {"action": "append"} if repeated else {"type": _reader(types)}
            group.add_argument(option, metavar=said.metavar, **action, **more)


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if default == "\n":
        return "a line end"
    return f"{default:g}" if isinstance(default, (int, float)) else str(default)


def _reader(types: tuple[Any, ...]) -> Callable[[str], Any]:
    choices = [
        choice for one in types if typing.get_origin(one) is Literal for choice in typing.get_args(one)
    ]
    if choices:
        return one_of(*choices)
    if str in types:
        return str
    return whole_or_fraction if float in types else whole
