"""Keeps secrets out of records: a command line may hold a token or a password."""

from __future__ import annotations

import re

SECRETS = (
    (re.compile(r"(\w+://)[^/\s@]+@"), r"\1***@"),  # https://user:password@host
    (re.compile(r"\b(hf_|ghp_|github_pat_|sk-|xox[a-z]-|AKIA)[\w-]{8,}"), r"\1***"),
    (
        re.compile(r"(?i)\b([\w-]*(?:token|secret|password|passwd|api[_-]?key|signature))=[^\s&\"'{]+"),
        r"\1=***",
    ),
)
"""What looks like a secret, and what is written instead."""


def redact(text: str) -> str:
    """Replaces what looks like a secret by `***`."""
    for pattern, instead in SECRETS:
        text = pattern.sub(instead, text)
    return text
