"""A fuzz target for the readers of files: whatever the bytes are, they give rows or one sentence.

`python -m tests.tasks.fuzz_readers SECONDS` mutates good files; a failure prints the bytes and ends.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from lowland.config.experiment import build_config
from lowland.config.layers import read_layer
from lowland.errors import UserError
from lowland.tasks.custom import CustomTask
from lowland.tasks.rows import read_rows

GOOD: dict[str, bytes] = {
    ".jsonl": b'{"text": "a \\u00e9 b", "label": "yes", "n": [1, 2.5e3, null]}\n{"text": "c", "label": 1}\n',
    ".json": b'{"data": [{"text": "a", "label": "yes"}, {"text": "b", "label": true}], "version": 1}',
    ".csv": b'text,label\n"a, ""b""\nc",yes\nd,no\n',
    ".tsv": b'text\tlabel\r\na "b\tyes\r\nc\tno\r\n',
    ".toml": b'model = "embedded"\n[data]\ntasks = ["facts"]\n[train]\nsteps = 3\n[sam]\nrho = 0.1\n',
}
PIECES = [b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b'"', b"\\", b"{", b"}", b"[", b"\t", b",", b"1e999"]
PIECES += [b"NaN", b"\\ud800", b"\xed\xa0\x80", b"\x1f\x8b", b"9" * 5000, b"[" * 3000, b"'", b"=", b"-1"]


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Changes a file in a few places: bytes flipped, cut, doubled, or replaced by something nasty."""
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        start = chance.randint(0, len(damaged))
        stop = min(len(damaged), start + chance.randint(0, 8))
        match chance.randint(0, 3):
            case 0:
                damaged[start:stop] = chance.choice(PIECES)
            case 1:
                damaged[start:stop] = b""
            case 2:
                damaged[start:start] = damaged[start:stop] * chance.randint(1, 3)
            case _:
                damaged[start:stop] = chance.randbytes(stop - start)
    return bytes(damaged)


def read_all(path: Path) -> None:
    """Reads a file in every way that the command line would.

    Raises:
        UserError: If it is refused, as it should be; anything else that is raised is a bug.
    """
    if path.suffix == ".toml":
        build_config(read_layer(path))
        return
    for _, row in read_rows(path):
        assert all(isinstance(name, str) for name in row)
    CustomTask("fuzz", path, path, "{text}", "{label}").load()


def check(suffix: str, content: bytes, folder: Path) -> bool:
    """Feeds bytes to the readers; returns whether they were read.

    Raises:
        AssertionError: If a refusal is no single sentence that names the file.
    """
    path = folder / f"a{suffix}"
    path.write_bytes(content)
    try:
        read_all(path)
    except UserError as error:
        sentence = str(error)
        assert sentence and "\n" not in sentence.strip() and len(sentence) < 1500, sentence
        return False
    return True


def main() -> int:
    """Fuzzes for some seconds."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns()
    chance, tried, read = random.Random(seed), 0, 0
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as name:
        while time.monotonic() < end:
            suffix = chance.choice(sorted(GOOD))
            content = mutated(GOOD[suffix], chance)
            try:
                read += check(suffix, content, Path(name))
            except BaseException:
                print(f"seed {seed}, input {tried}, {suffix}: {content!r}", flush=True)
                raise
            tried += 1
    print(f"seed {seed}: {tried} files, {read} read, {tried - read} refused with a sentence")
    return 0


if __name__ == "__main__":
    sys.exit(main())
