"""Lines of UTF-8 text files, packed by gzip or not, read with errors that name the line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from lowland.errors import UserError

NO_TEXT = {
    b"\xff\xfe\0\0": "UTF-32; save it as UTF-8",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
    b"BZh": "compressed with bzip2; unpack it first",
    b"\xfd7zXZ\0": "compressed with xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it first",
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it, or save the sheet as CSV",
    b"PAR1": "a Parquet file; name it .parquet",
}
"""How files begin that are no UTF-8 text, and what to do. Only gzip, which packs one file, is unpacked."""


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Reads a UTF-8 text file line by line; one that gzip has packed is unpacked on the way.

    Yields:
        The number of the line from 1, and the line with its line end. Only line feeds end a line.

    Raises:
        UserError: If the file cannot be read, is not UTF-8 or holds a NUL character.
    """
    number = 0
    try:
        with gzip.open(path) if is_packed(path) else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if number == 1:
                    what = next((NO_TEXT[start] for start in NO_TEXT if raw.startswith(start)), None)
                    if what is not None:
                        raise UserError(f"{path} is {what}.")
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                if b"\0" in raw:
                    raise UserError(
                        f"{path}, line {number}: a NUL character; the file is damaged, no text, or not UTF-8."
                    )
                yield number, raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, line {number}: byte {error.start + 1} is not UTF-8; if this is text, save it as UTF-8."
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(
            f"{path}, after line {number}: the rest cannot be unpacked; it is cut off or damaged."
        ) from None
    except OSError as error:
        raise cannot_read(path, error) from None


def cannot_read(path: Path, error: OSError) -> UserError:
    """Builds the error for a file that the system does not give."""
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path} does not exist.")
    if isinstance(error, IsADirectoryError):
        return UserError(f"{path} is a folder; give a file.")
    return UserError(f"{path} cannot be read: {error.strerror or error}.")


def is_packed(path: Path) -> bool:
    """Whether gzip has packed a file, whatever its name; `False` for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(2) == b"\x1f\x8b"
    except OSError:
        return False
