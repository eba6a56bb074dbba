"""Apply a model to new rows: rows become inputs, the model writes, and each row gets what it wrote."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lowland.config.layers import build_section
from lowland.errors import UserError
from lowland.runs.directory import write_json
from lowland.tasks.base import Row, Task
from lowland.tasks.fields import Template
from lowland.tasks.registry import get_task, task_names
from lowland.tasks.rows import place, read_rows
from lowland.version import __version__

if TYPE_CHECKING:
    from lowland.families.base import Family

FILE = "lowland.json"
"""In the directory of an exported model: how its inputs are written."""

OUTPUT_SUFFIXES = (".jsonl", ".csv")
CHUNK = 16
"""Batches that are sorted by length together."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How the inputs of a model are written."""

    version: str = __version__
    tasks: tuple[str, ...]  # that it was trained on; a user's own files count as one
    template: str | None = None  # of the input, where it was trained on a user's own files
    input_length: int | None = None  # in tokens; None for each task's own
    target_length: int | None = None
    labels: tuple[str, ...] = ()  # that it was trained to write
    positive: str | None = None  # the class that the metric f1 is of, where it was named
    family: Mapping[str, Any] = field(default_factory=dict)  # what differs from the defaults

    def write(self, directory: Path) -> None:
        """Writes the file into the directory of a model."""
        write_json(directory / FILE, dataclasses.asdict(self))


def read_usage(directory: Path) -> Usage | None:
    """Reads how the inputs of the model in a directory are written; `None` where no file says it."""
    path = directory / FILE
    if not path.is_file():
        return None
    names = {item.name for item in dataclasses.fields(Usage)}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        # Later versions may say more; what is known here keeps its meaning.
        return build_section(Usage, {key: found[key] for key in found if key in names})
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not the file that lowland wrote beside the model ({error}).") from None


class NewRow(NamedTuple):
    """A row to predict, and its inputs: several for MultiRC, none where a task leaves the row out."""

    row: Row
    inputs: tuple[str, ...]


class InputWriter:
    """How rows become inputs: by a template, else as a task writes its rows; by default as in training."""

    def __init__(self, model: str, usage: Usage | None, template: str | None, task: str | None) -> None:
        self._usage = usage
        self._trained = [name for name in usage.tasks if name in task_names()] if usage else []
        if template is None and task is None and usage is not None:
            template = usage.template
            if template is None and len(self._trained) == 1:
                task = self._trained[0]
        if template is None and task is None:
            raise UserError(
                f"How rows become inputs is not known: {model} has no {FILE} that names one template or "
                'task. Give a template, such as --template "review: {text}", or a task with --task NAME.'
            )
        self.template = None if template is None else Template(template)
        self.task = None if task is None or template is not None else get_task(task)

    def read(self, path: Path) -> list[NewRow]:
        """Reads a file of rows."""
        rows = []
        wanted = self.template.fields if self.template is not None else ()
        for number, row in read_rows(path, wanted=wanted):
            try:
                if self.template is not None:
                    inputs: tuple[str, ...] = (self.template.fill(row),)
                else:
                    examples = self.task.examples(row, "test") if self.task else ()
                    inputs = tuple(example.inputs for example in examples)
            except UserError as error:
                hint = ""
                if self.task:
                    hint = f" Rows are read as {self.task.name} has them; --template takes others."
                raise UserError(f"{place(path, number)}: {error}{hint}") from None
            rows.append(NewRow(row=row, inputs=inputs))
        return rows

    def lengths(self) -> tuple[int, int]:
        """Gives the most tokens of inputs and targets: those of the training, else the tasks' own."""
        tasks = [self.task] if self.task is not None else [get_task(name) for name in self._trained]
        inputs = max((task.input_length for task in tasks), default=Task.input_length)
        targets = max((task.target_length for task in tasks), default=Task.target_length)
        if self._usage is None:
            return inputs, targets
        return self._usage.input_length or inputs, self._usage.target_length or targets


def predict(
    model: Family,
    rows: Sequence[NewRow],
    on_progress: Callable[[int], None],
    *,
    batch_size: int,
    **reading: Any,
) -> list[str | list[str] | None]:
    """Lets a model write for each row: a list where it made several inputs, `None` where none."""
    texts = [text for row in rows for text in row.inputs]
    written: list[str] = []
    size = CHUNK * batch_size
    for start in range(0, len(texts), size):
        chunk = texts[start : start + size]
        written += model.predict(chunk, batch_size=batch_size, **reading)
        on_progress(len(chunk))
    left = iter(written)
    found = [[next(left) for _ in row.inputs] for row in rows]
    return [texts[0] if len(texts) == 1 else texts or None for texts in found]


def to_lines(rows: Sequence[NewRow], predictions: Sequence[Any], field: str, suffix: str) -> str:
    """Writes rows and predictions as JSON lines, or as CSV, where lists and objects are written as JSON."""
    done = [{**row.row, field: prediction} for row, prediction in zip(rows, predictions, strict=True)]
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in done)
    file = io.StringIO()
    columns = [*dict.fromkeys(column for row in rows for column in row.row), field]
    table = csv.DictWriter(file, columns, lineterminator="\n")
    table.writeheader()
    for row in done:
        table.writerow(
            {
                column: cell
                if cell is None or isinstance(cell, str)
                else json.dumps(cell, ensure_ascii=False)
                for column, cell in row.items()
            }
        )
    return file.getvalue()
