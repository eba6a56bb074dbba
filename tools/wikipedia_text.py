"""Turns articles with spaces before their punctuation into text to pre-train on.

    unxz articles.txt.xz
    python tools/wikipedia_text.py articles.txt wikipedia.txt

The source has a sentence a line, words and punctuation parted by spaces, articles parted by blank lines.
Data sets come both ways ("a smart , savvy film ." in SST-2, whole text in QNLI), so every second article
is put together again, and the model reads both. Section marks and emptied brackets are left out.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from lowland.errors import UserError
from lowland.files import aside_of
from lowland.pretraining.text import read_documents

EMPTY = re.compile(r"\((?: ?[;,.:/–-])* ?\) ?")
"""What remains of a bracket whose content (pronunciations, mostly) was taken out."""

TOGETHER = (
    (re.compile(r" ([.,;:!?%)\]}])"), r"\1"),
    (re.compile(r"([(\[{$£€]) "), r"\1"),
    (re.compile(r" ('(?:s|re|ve|ll|d|m)|n't|')(?= |$|[.,;:!?])"), r"\1"),
    (re.compile(r'" ([^"]*?) "'), r'"\1"'),
    (re.compile(r"(?<=\w) ([-–/]) (?=\w)"), r"\1"),
)


def together(sentence: str) -> str:
    """Takes the spaces out that a tokenizer put in."""
    for pattern, replacement in TOGETHER:
        sentence = pattern.sub(replacement, sentence)
    return sentence


def article(text: str, *, whole: bool) -> str:
    """Cleans an article; `whole` puts its sentences together again."""
    kept = [line for line in text.split("\n") if "Section::::" not in line and "BULLET::::" not in line]
    cleaned = (EMPTY.sub("", line).strip() for line in kept)
    return "\n".join(together(line) if whole else line for line in cleaned if line)


def main(words: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="text file, .gz too")
    parser.add_argument("target", type=Path, help="text file to write")
    options = parser.parse_args(words)
    aside = aside_of(options.target)
    try:
        with aside.open("w", encoding="utf-8") as file:
            for number, text in enumerate(read_documents([options.source])):
                file.write(article(text, whole=number % 2 == 0) + "\n\n")
        aside.replace(options.target)
    except (UserError, OSError) as error:
        parser.error(str(error))
    finally:
        aside.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
