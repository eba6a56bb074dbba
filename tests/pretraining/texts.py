"""Text to pre-train on, made of a few words by chance."""

from __future__ import annotations

import random
from pathlib import Path

WORDS = [
    "the",
    "river",
    "runs",
    "through",
    "a",
    "valley",
    "where",
    "old",
    "towns",
    "stand",
    "and",
    "small",
    "boats",
    "carry",
    "wood",
    "stone",
    "wine",
    "from",
    "one",
    "market",
    "to",
    "another",
    "before",
    "winter",
    "closes",
    "every",
    "road",
    "over",
    "high",
    "mountains",
]


def write_text(file: Path, documents: int, sentences: int = 8) -> Path:
    """Writes documents whose words follow each other by a rule, so that there is a loss to lower."""
    chance = random.Random(0)
    texts = []
    for _ in range(documents):
        lines = []
        for _ in range(sentences):
            place = chance.randrange(len(WORDS))
            words = []
            for _ in range(12):
                words.append(WORDS[place])
                place = (place + chance.choice((1, 1, 1, 2))) % len(WORDS)
            lines.append(" ".join(words).capitalize() + ".")
        texts.append("\n".join(lines))
    file.write_text("\n\n".join(texts) + "\n")
    return file
