"""Where a registered task's rows come from: a folder with the official files, or the hub.

In a data folder, the files may lie in a folder of the task's name (`SST-2`) or directly. Of the patterns of a
split, the official name first, the first that matches anything is taken, and all its files, in order of name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from lowland.errors import UserError
from lowland.tasks import checks
from lowland.tasks.base import UNLABELLED, DataSet, Example, Row, Source, Split, Task, TaskData
from lowland.tasks.rows import place, read_rows

NumberedRow = tuple[str, Row]
"""The place of a row, for messages, and the row."""


class MissingFilesError(UserError):
    """The files of a split are not where the user said."""


def load(task: Task, source: Source) -> TaskData:
    """Reads the examples of a task, with warnings of numbers that differ from the published ones."""
    if task.carried is not None:
        carried = [[example for row in rows for example in task.examples(row)] for rows in task.carried()]
        return TaskData(train=carried[0], evaluation={task.name: carried[1]})
    if task.data is None:
        raise ValueError(f"{task.name} has no rows to load.")
    data = task.data
    warnings: list[str] = []
    train: list[Example] = []
    if source.train and data.train is None:
        warnings.append(f"{task.name} is for evaluation only: it has no training examples.")
    elif source.train and data.train is not None:
        name = f"{task.name} train"
        train = _write(task, name, data.train, _rows(name, data, data.train, source, warnings), warnings)
    evaluation: dict[str, list[Example]] = {}
    absent: list[UserError] = []
    read: dict[str, list[NumberedRow]] = {}
    for name, split in data.evaluation.items() if task.evaluated else ():
        try:
            rows: Iterable[NumberedRow] = _rows(name, data, split, source, warnings)
            if split.pick is not None:  # several splits of the same files
                rows = read[split.hub] = read.get(split.hub) or list(rows)
            evaluation[name] = _write(task, name, split, rows, warnings)
            warnings += checks.shared(name, train, evaluation[name])
        except MissingFilesError as error:
            absent.append(error)
    if absent and not evaluation:
        raise absent[0]
    warnings.extend(f"{error} The other evaluation sets are used." for error in absent)
    return TaskData(train=train, evaluation=evaluation, warnings=tuple(dict.fromkeys(warnings)))


def _write(
    task: Task, name: str, split: Split, rows: Iterable[NumberedRow], warnings: list[str]
) -> list[Example]:
    """Writes the rows of a split, adding the place to errors and reporting dropped rows."""
    examples: list[Example] = []
    dropped: list[str] = []
    for where, row in rows:
        try:
            for picked in [row] if split.pick is None else split.pick(row):
                written = task.examples(picked, split.hub.partition("_")[0])
                if not written and not task.drops_rows:
                    dropped.append(where)
                if any(example.targets == UNLABELLED or example.label == -1 for example in written):
                    raise UserError(f"the row has no label, but {task.name} needs one here.")
                examples += written
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    if not examples:
        kind = UserError if split.pick is None else MissingFilesError
        raise kind(f"{name}: the files hold no usable row.")
    if dropped:
        number = len(dropped)
        warnings.append(f"{task.name}: {number} rows dropped for empty fields, the first at {dropped[0]}.")
    if split.published is not None and len(examples) != split.published:
        warnings.append(f"{name} holds {len(examples)} examples; {split.published} are published.")
    return examples


def _rows(
    name: str, data: DataSet, split: Split, source: Source, warnings: list[str]
) -> Iterator[NumberedRow]:
    """Reads the rows of a split from the data folder or, where they are not there, from the hub."""
    files = _find_files(data, split, source.data_dir) if source.data_dir is not None else []
    for path in files:
        short: list[int] | None = [] if data.drop_short_rows else None
        read = data.read(path) if data.read else read_rows(path, columns=data.columns, short_rows=short)
        for number, row in read:
            yield place(path, number), row
        if short:
            warnings.append(
                f"{path}: {len(short)} rows that lack fields were dropped, the first in line {short[0]}."
            )
    if files:
        return
    if source.hub:
        yield from _hub_rows(data, split.hub)
        return
    folder, patterns = data.folders[0], split.patterns
    if source.data_dir is None:
        what = f"{name} needs its data: give the folder with the official files ({folder}/{patterns[0]}) with"
        raise MissingFilesError(f"{what} --data-dir, or allow the Hugging Face hub with --hub.")
    raise MissingFilesError(
        f"{name}: no file {' or '.join(patterns[:3])} in {source.data_dir} or in its folder {folder}; "
        "download the official files there, or allow the Hugging Face hub with --hub."
    )


def _find_files(data: DataSet, split: Split, data_dir: Path) -> list[Path]:
    """Finds the files of a split: those of the first pattern that matches, in order of name."""
    if not data_dir.is_dir():
        raise UserError(f"The data folder {data_dir} does not exist, or is not a folder.")
    wanted = [folder.lower() for folder in data.folders]
    inside = [path for path in data_dir.iterdir() if path.is_dir() and path.name.lower() in wanted]
    inside.sort(key=lambda path: wanted.index(path.name.lower()))
    for folder in (*inside, data_dir):
        paths = sorted(path for path in folder.iterdir() if path.is_file())
        for pattern in split.patterns:
            if found := [path for path in paths if fnmatchcase(path.name.lower(), pattern.lower())]:
                return found
    return []


def _hub_rows(data: DataSet, split: str) -> Iterator[NumberedRow]:
    name, configuration = data.hub
    try:
        import datasets
    except ImportError:
        raise UserError(
            "Reading from the Hugging Face hub needs the package datasets:"
            " run pip install 'lowland[hub]', or give a folder with the official files."
        ) from None
    try:
        try:
            rows = datasets.load_dataset(name, configuration, split=split, revision=data.revision)
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
