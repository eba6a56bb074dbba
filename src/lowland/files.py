"""Files and folders that are whole or not there, checksums that tell whether they still are, and hashes.

Everything is written aside, under a hidden name that ends in `.aside`, and then put in its place by one
renaming: a kill at any moment leaves the old one, or the new one, or an aside that the next start removes.
What an experiment is made from is hashed by its content: data that were edited are other data, and a file
that was copied or touched is the same one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowland.tasks.base import Example

SUMS = "SHA256SUMS"
"""File with the checksums of the others in its folder; `sha256sum --check SHA256SUMS` reads it, too."""

_HEADER = "# SHA-256 of the lines below: "

MODEL_SUFFIXES = (".safetensors", ".gguf", ".json", ".txt", ".model", ".spm", ".jinja", ".tiktoken", ".bpe")
"""Of a model's folder, files of these suffixes can decide what it computes, or what its tokenizer does."""

IDLE_NAMES = ("lowland.json", "trainer_state.json", "all_results.json", "train_results.json")
"""Files of a model's folder that decide neither."""


class DamagedError(Exception):
    """Something saved is incomplete or was changed; the message says which file."""


def aside_of(path: Path) -> Path:
    """Names a place beside a file or folder where the new one can be written."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.aside")


def remove_asides(folder: Path) -> None:
    """Removes what killed processes left half-written anywhere in a folder."""
    for path in list(folder.rglob(".*.aside")):
        remove(path)


def remove(path: Path) -> None:
    """Removes a file or a folder, or neither if it is not there; no half of a folder keeps its name."""
    if path.is_dir() and not path.is_symlink():
        doomed = path if path.suffix == ".aside" else aside_of(path)
        if doomed != path:
            path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_atomic(file: Path, content: bytes, *, durable: bool = False) -> None:
    """Writes a file, and its folders, as a whole or not at all; `durable` even if the power fails then."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(file)
    try:
        aside.write_bytes(content)
        if durable:
            sync(aside)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    if durable:
        sync(file.parent)


def put_in_place(aside: Path, target: Path) -> None:
    """Puts a folder that was written aside in its place, for good; what was there is removed afterwards."""
    for path in [*aside.rglob("*"), aside]:
        sync(path)
    old = aside_of(target)
    if target.exists():
        target.rename(old)
    try:
        aside.rename(target)
    except BaseException:
        if old.exists():
            old.rename(target)
        raise
    sync(target.parent)
    remove(old)


def sync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_sums(folder: Path) -> None:
    """Writes the checksums of all files in a folder."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    lines = "".join(f"{sha256(folder / name)}  {name}\n" for name in names if name != SUMS)
    head = f"{_HEADER}{hashlib.sha256(lines.encode()).hexdigest()}\n"
    (folder / SUMS).write_text(head + lines, encoding="utf-8")


def check_sums(folder: Path) -> None:
    """Compares the files of a folder with its checksums, and raises `DamagedError` where one differs."""
    try:
        head, _, lines = (folder / SUMS).read_bytes().decode().partition("\n")
        if head != _HEADER + hashlib.sha256(lines.encode()).hexdigest():
            raise ValueError
        for line in lines.splitlines():
            expected, _, name = line.partition("  ")
            if sha256(folder / name) != expected:
                raise DamagedError(f"{folder / name} is not as it was written.")
    except OSError as error:
        raise DamagedError(f"{error.filename} cannot be read ({error.strerror}).") from None
    except ValueError:
        raise DamagedError(f"{folder / SUMS} is not as it was written.") from None


def sha256(path: Path) -> str:
    """Computes the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(plain: Any, digits: int = 8) -> str:
    """Gives hexadecimal digits of plain values: dictionaries, lists, numbers, texts."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:digits]


def finite(value: Any) -> Any:
    """Replaces nan and infinity, which JSON does not have, by null in nested plain values."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """Turns what libraries raise when the system refuses to write a file into the `OSError` that it is."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # safetensors and tokenizers have kinds of their own
        found = re.search(r"\(os error (\d+)\)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error


def examples_hash(examples: Sequence[Example]) -> str:
    """Hashes examples as they enter training and scoring: all their texts, answers and groups, in order.

    Any change of any example, and of their order, changes the SHA-256; a field that is unset does not enter
    it, so that fields can be added.
    """
    digest = hashlib.sha256()
    for example in examples:
        fields = {name: value for name, value in vars(example).items() if value is not None}
        if (pair := getattr(example.inputs, "texts", None)) is not None:
            fields["pair"] = pair  # where the one text ends, the whole does not tell
        # JSON holds no line end; half of a character in a text is written as the half that it is.
        line = json.dumps(fields, ensure_ascii=False, sort_keys=True, default=dict)
        digest.update(line.encode(errors="surrogatepass") + b"\n")
    return digest.hexdigest()


def model_hash(directory: str | Path) -> str:
    """Hashes what a folder's model starts from: weights, configuration, tokenizer and chat template.

    The SHA-256 is over the names and contents of all files that can have an effect. Notes, logs, states of
    optimizers and folders of other checkpoints have none.
    """
    root = Path(directory)
    chosen = {path for path in root.iterdir() if _has_effect(path)}
    chosen |= {path for path in (root / "additional_chat_templates").glob("*.jinja") if path.is_file()}
    for index in root.glob("*.index.json"):
        # Weights in parts may lie in folders of their own.
        with contextlib.suppress(ValueError, AttributeError, OSError):
            parts = json.loads(index.read_bytes())["weight_map"].values()
            chosen |= {root / name for name in parts if (root / name).is_file()}
    digest = hashlib.sha256()
    for path in sorted(chosen, key=lambda path: os.fsencode(path.relative_to(root))):
        digest.update(os.fsencode(path.relative_to(root)) + b"\0" + sha256(path).encode() + b"\n")
    return digest.hexdigest()


def _has_effect(path: Path) -> bool:
    hidden, name = path.name.startswith("."), path.name.lower()
    return path.suffix.lower() in MODEL_SUFFIXES and name not in IDLE_NAMES and not hidden and path.is_file()
