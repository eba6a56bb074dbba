"""Where a registered task's rows come from: a folder with the official files, or the hub.

A task names the folder of an official download (`SST-2`), and patterns of the files that hold each
split, the official name first. In a data folder, the files may lie in the named folder or directly.
Of the patterns the first that matches anything is taken, and all its files, in order of name: thus
`train.tsv` is preferred, and `train_part1.jsonl` with `train_part2.jsonl` is understood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from lowland.errors import UserError
from lowland.tasks import checks
from lowland.tasks.base import Example, Row, Source, Task, TaskData
from lowland.tasks.fields import UNLABELLED
from lowland.tasks.rows import place, read_rows

NumberedRow = tuple[str, Row]
"""The place of a row, for messages, and the row."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of a data set.

    Attributes:
        patterns: Patterns of file names, the official name first; upper and lower case are the same.
        hub: The name of the split on the hub.
        published: The published number of examples, of which a difference is reported.
        kind: `train`, `validation` or `test`: how the task is to write the rows.
    """

    patterns: tuple[str, ...]
    hub: str
    published: int | None = None
    kind: str = "train"


REVISIONS = {
    "nyu-mll/glue": "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
    "aps/super_glue": "3de24cf8022e94f4ee4b9d55a6f539891524d646",
    "google-research-datasets/nq_open": "5dd9790a83002ad084ddeb7c420dc716852c6f28",
    "mandarjoshi/trivia_qa": "0f7faf33a3908546c6fd5b73a660e0f8ff173c2f",
    "stanfordnlp/web_questions": "0e473cbe21d1e91ec18da343644498be6a3f5454",
}
"""Commits on the hub, so that rows do not change under a record; other sets are taken as they are."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The files of a task.

    Attributes:
        folders: Names of the folder that holds the files, the official name first.
        train: The training split; `None` for a task that is evaluated only.
        evaluation: Evaluation set -> split.
        hub: Name and configuration on the Hugging Face hub.
        columns: Column names of TSV files without a header.
        drop_short_rows: Whether rows that lack fields are dropped, as the official readers do (QQP).
        read: Reads one file; numbered rows.
    """

    folders: tuple[str, ...]
    train: Split | None
    evaluation: Mapping[str, Split]
    hub: tuple[str, str | None]
    columns: tuple[str, ...] | None = None
    drop_short_rows: bool = False
    read: Callable[[Path], Iterator[tuple[int, Row]]] | None = field(default=None)


def load(task: Task, data: DataSet, source: Source) -> TaskData:
    """Reads the examples of a task.

    Args:
        task: The task, which writes the rows.
        data: Where its rows are.
        source: Where the user wants them read from.

    Returns:
        The examples, with warnings of numbers that differ from the published ones.

    Raises:
        UserError: If files are missing or malformed, or the hub cannot be read.
    """
    warnings: list[str] = []
    train: list[Example] = []
    if data.train is None and source.train:
        warnings.append(f"{task.name} is for evaluation only: it has no training examples.")
    elif data.train is not None and source.train:
        train = _examples(task, f"{task.name} train", data, data.train, source, warnings)
    evaluation: dict[str, list[Example]] = {}
    absent: list[UserError] = []
    for name, split in data.evaluation.items():
        try:
            evaluation[name] = _examples(task, name, data, split, source, warnings)
        except MissingFilesError as error:
            absent.append(error)
    if absent and not evaluation:
        raise absent[0]
    for name, examples in evaluation.items():
        warnings += checks.shared(name, train, examples)
    warnings.extend(f"{error} The other evaluation sets are used." for error in absent)
    return TaskData(train=train, evaluation=evaluation, warnings=tuple(warnings))


class MissingFilesError(UserError):
    """The files of a split are not where the user said."""


def rows_of(
    name: str, data: DataSet, split: Split, source: Source, warnings: list[str]
) -> Iterator[NumberedRow]:
    """Reads the rows of a split from the data folder or, where they are not there, from the hub.

    Raises:
        UserError: If they are in neither place, or malformed.
    """
    files = find_files(data, split, source.data_dir) if source.data_dir is not None else []
    if files:
        for path in files:
            yield from _file_rows(path, data, warnings)
    elif source.hub:
        yield from _hub_rows(data.hub, split.hub)
    else:
        raise _not_found(name, data, split, source.data_dir)


def find_files(data: DataSet, split: Split, data_dir: Path) -> list[Path]:
    """Finds the files of a split: those of the first pattern that matches, in order of name.

    Raises:
        UserError: If the data folder does not exist.
    """
    data_dir = data_dir.expanduser()
    if not data_dir.is_dir():
        raise UserError(f"The data folder {data_dir} does not exist, or is not a folder.")
    wanted = [folder.lower() for folder in data.folders]
    inside = [path for path in data_dir.iterdir() if path.is_dir() and path.name.lower() in wanted]
    inside.sort(key=lambda path: wanted.index(path.name.lower()))
    for folder in (*inside, data_dir):
        paths = sorted(path for path in folder.iterdir() if path.is_file())
        for pattern in split.patterns:
            matches = [path for path in paths if fnmatchcase(path.name.lower(), pattern.lower())]
            if matches:
                return matches
    return []


def write_examples(task: Task, rows: Iterable[NumberedRow], kind: str, warnings: list[str]) -> list[Example]:
    """Writes rows as examples, adding the place to errors and reporting dropped rows.

    Raises:
        UserError: If a row is malformed or has no label.
    """
    examples: list[Example] = []
    dropped: list[str] = []
    for where, row in rows:
        try:
            written = task.examples(row, kind)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if not written and not task.drops_rows:
            dropped.append(where)
        for example in written:
            if example.targets == UNLABELLED or example.label == -1:
                raise UserError(f"{where}: the row has no label, but {task.name} needs one here.")
        examples.extend(written)
    if dropped:
        warnings.append(
            f"{task.name}: {len(dropped)} rows dropped for empty fields, the first at {dropped[0]}."
        )
    return examples


def _examples(
    task: Task, name: str, data: DataSet, split: Split, source: Source, warnings: list[str]
) -> list[Example]:
    rows = rows_of(name, data, split, source, warnings)
    examples = write_examples(task, rows, split.kind, warnings)
    if not examples:
        raise UserError(f"{name}: the files hold no usable row.")
    compare_count(name, len(examples), split.published, warnings)
    return examples


def compare_count(name: str, count: int, published: int | None, warnings: list[str]) -> None:
    """Adds a warning where a number of examples differs from the published one."""
    if published is not None and count != published:
        warnings.append(f"{name} holds {count} examples; {published} are published.")


def _file_rows(path: Path, data: DataSet, warnings: list[str]) -> Iterator[NumberedRow]:
    short: list[int] = []
    if data.read is not None:
        numbered = data.read(path)
    else:
        numbered = read_rows(path, columns=data.columns, short_rows=short if data.drop_short_rows else None)
    for number, row in numbered:
        yield place(path, number), row
    if short:
        warnings.append(
            f"{path}: {len(short)} rows that lack fields were dropped, the first in line {short[0]}."
        )


def _not_found(name: str, data: DataSet, split: Split, data_dir: Path | None) -> MissingFilesError:
    files = " or ".join(split.patterns[:3])
    if data_dir is None:
        return MissingFilesError(
            f"{name} needs its data: give the folder with the official files"
            f" ({data.folders[0]}/{split.patterns[0]}), or allow the Hugging Face hub."
        )
    return MissingFilesError(
        f"{name}: no file {files} in {data_dir} or in its folder {data.folders[0]};"
        " download the official files there, or allow the Hugging Face hub."
    )


def _hub_rows(hub: tuple[str, str | None], split: str) -> Iterator[NumberedRow]:
    name, configuration = hub
    try:
        import datasets
    except ImportError:
        raise UserError(
            "Reading from the Hugging Face hub needs the package datasets:"
            " run pip install 'lowland[hub]', or give a folder with the official files."
        ) from None
    try:
        try:
            rows = datasets.load_dataset(name, configuration, split=split, revision=REVISIONS.get(name))
        except RuntimeError as error:
            # Data sets that are written as programs are never run; the hub keeps a copy in Parquet.
            if "script" not in str(error):
                raise
            rows = datasets.load_dataset(name, configuration, split=split, revision="refs/convert/parquet")
    except Exception as error:  # whatever the network and the hub's client come up with
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{name} ({split}) could not be read from the Hugging Face hub: {reason.rstrip('.')}."
            " Check the network, or give a folder with the official files."
        ) from None
    for number, row in enumerate(rows, start=1):
        yield f"{name} on the hub, {split} row {number}", row
