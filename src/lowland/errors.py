"""The one exception for a user's mistakes, and what its sentences are made with.

The command line prints the message of a `UserError` as it is, without a traceback, and exits with 2.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LONGEST_WORD = 300
"""Characters of a word in a message; a longer one, out of a damaged file, is cut in its middle."""


class UserError(ValueError):
    """Something the user gave is wrong; the message is one sentence that says what, where and what to do."""

    def __init__(self, message: str = "") -> None:
        short = re.sub(
            rf"\S{{{LONGEST_WORD + 1},}}", lambda word: f"{word[0][:80]}...{word[0][-80:]}", message
        )
        super().__init__(" ".join(short.split("\n")))


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Builds the error for a name that is not registered, with the nearest known names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(names)}."
    return UserError(f"Unknown {kind} {name!r}. {hint}")


def shorten(text: str, most: int = 40) -> str:
    """Cuts a text to a number of characters, for a message."""
    return text if len(text) <= most else f"{text[: most - 4]} ..."
