"""Writes requirements.hashes.lock: the pins of requirements.lock with the hashes that PyPI publishes.

    pip install torch==...          # the build for your machine, from where you get it
    pip install --require-hashes --no-deps --requirement requirements.hashes.lock

pip then refuses any file that is not one of those. The hashes are read from PyPI's index; nothing is
downloaded to make them. PyTorch is left out: it comes in several builds, from several places, with libraries
of their own.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK, HASHED = ROOT / "requirements.lock", ROOT / "requirements.hashes.lock"
INDEX = "https://pypi.org/simple/{name}/"
LEFT_OUT = {"torch"}
KIND = "application/vnd.pypi.simple.v1+json"
HEADER = "# Made by tools/hash_lock.py out of requirements.lock; `make lock` makes both anew.\n"


def pins(text: str) -> list[tuple[str, str]]:
    """Reads the pins of a lock file: names and versions, in order."""
    return re.findall(r"^([A-Za-z0-9._-]+)==([^\s\\]+)", text, flags=re.MULTILINE)


def hashes(pin: tuple[str, str]) -> list[str]:
    """Asks the index for the SHA-256 of every file of a version.

    Raises:
        ValueError: If it has none.
    """
    name, version = pin
    request = urllib.request.Request(INDEX.format(name=name), headers={"Accept": KIND})
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = json.load(answer)["files"]
    found = sorted({file["hashes"]["sha256"] for file in files if version in versions(file["filename"])})
    if not found:
        raise ValueError(f"{name}=={version} has no file on the index.")
    return found


def versions(filename: str) -> Iterator[str]:
    """Gives what a file's name may say of its version: the part after each dash, without the suffix."""
    stem = re.sub(r"\.(tar\.gz|zip|whl|tar\.bz2)$", "", filename)
    yield from stem.split("-")[1:]


def main() -> int:
    """Writes the file, or says why it cannot."""
    wanted = [pin for pin in pins(LOCK.read_text(encoding="utf-8")) if pin[0] not in LEFT_OUT]
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(hashes, wanted))
    except (OSError, ValueError) as error:
        print(f"hash_lock: {error} {HASHED.name} is as it was.", file=sys.stderr)
        return 1
    lines = [
        " \\\n    ".join([f"{name}=={version}", *(f"--hash=sha256:{digest}" for digest in digests)])
        for (name, version), digests in zip(wanted, found, strict=True)
    ]
    HASHED.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{HASHED.name}: {len(lines)} pins, {sum(map(len, found))} files.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
