"""Apply a model to new rows: rows become inputs, the model writes, and each row gets what it wrote."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lowland.errors import UserError
from lowland.families.base import Family
from lowland.files import write_atomic
from lowland.runs.usage import FILE, Usage
from lowland.tasks.base import Row, Task
from lowland.tasks.fields import Template
from lowland.tasks.registry import get_task, task_names
from lowland.tasks.rows import SUFFIXES, kind_of, place, read_rows, read_text, unknown_suffix

OUTPUT_SUFFIXES = (".jsonl", ".csv", ".tsv")
CHUNK = 16
"""Batches that are sorted by length together."""


class NewRow(NamedTuple):
    """A row to be predicted: its fields, and the input texts that it makes.

    These are one for nearly all tasks; MultiRC writes one for each answer, and a task may drop a row that
    lacks something.
    """

    row: Row
    inputs: tuple[str, ...]


class InputWriter:
    """How rows become inputs: by a template, else as a registered task writes its official rows.

    Args:
        model: The model's name, for messages.
        usage: How the model was trained; the template or the only task in it is used where none is given.
        template: A template, such as `review: {text}`.
        task: Name of a registered task.

    Attributes:
        notes: What is read in another way than a file's suffix says.

    Raises:
        UserError: If the template is wrong or the task unknown.
    """

    def __init__(self, model: str, usage: Usage | None, template: str | None, task: str | None) -> None:
        self._model, self._usage = model, usage
        self.notes: list[str] = []
        self._trained = [name for name in usage.tasks if name in task_names()] if usage else []
        if template is None and task is None and usage is not None:
            template = usage.template
            if template is None and len(self._trained) == 1:
                task = self._trained[0]
        self.template = None if template is None else Template(template)
        self.task = None if task is None or template is not None else get_task(task)

    def read(self, path: Path) -> list[NewRow]:
        """Reads a file of rows, or a `.txt` file with one text a line.

        A line of text fills the only field of the template; without a template it is the whole input.

        Raises:
            UserError: If the file cannot be read, or a row lacks what the input needs.
        """
        if kind_of(path) == ".txt":
            rows = list(self._read_lines(path))
            if not rows:
                raise UserError(f"{path} is empty: it holds no text.")
            return rows
        if kind_of(path) not in SUFFIXES:
            raise unknown_suffix(path, (*SUFFIXES, ".txt"))
        if self.template is None and self.task is None:
            raise self._unknown()
        rows = []
        wanted = self.template.fields if self.template is not None else ()
        for number, row in read_rows(path, wanted=wanted, notes=self.notes):
            try:
                rows.append(NewRow(row=row, inputs=self._inputs(row)))
            except UserError as error:
                hint = ""
                if self.task:
                    hint = f" Rows are read as {self.task.name} has them; --template takes others."
                raise UserError(f"{place(path, number)}: {error}{hint}") from None
        return rows

    def lengths(self) -> tuple[int, int]:
        """Gives the most tokens of inputs and targets: those of the training, else the tasks' own."""
        tasks = [self.task] if self.task is not None else [get_task(name) for name in self._trained]
        inputs = max((task.input_length for task in tasks), default=Task.input_length)
        targets = max((task.target_length for task in tasks), default=Task.target_length)
        if self._usage is None:
            return inputs, targets
        return self._usage.input_length or inputs, self._usage.target_length or targets

    def _inputs(self, row: Row) -> tuple[str, ...]:
        if self.template is not None:
            return (self.template.fill(row),)
        return tuple(example.inputs for example in self.task.examples(row, "test")) if self.task else ()

    def _read_lines(self, path: Path) -> Iterator[NewRow]:
        names = self.template.fields if self.template is not None else ("input",)
        if len(names) != 1:
            raise UserError(
                f"{path} has one text a line, but the template needs {len(names)} fields "
                f"({', '.join(names)}). Give a file with these columns."
            )
        for line in read_text(path).split("\n"):
            text = line.rstrip("\r")
            if text.strip():
                row = {names[0]: text}
                yield NewRow(row=row, inputs=(self.template.fill(row) if self.template else text,))

    def _unknown(self) -> UserError:
        if len(self._trained) > 1:
            return UserError(
                f"{self._model} was trained on {len(self._trained)} tasks ({', '.join(self._trained)}). "
                'Say which one writes the rows with --task NAME, or give --template "review: {text}".'
            )
        return UserError(
            f"How rows become inputs is not known: {self._model} has no {FILE} that says it. "
            'Give a template, such as --template "review: {text}", or a task with --task NAME.'
        )


def predict(
    model: Family,
    rows: Sequence[NewRow],
    on_progress: Callable[[int], None],
    *,
    batch_size: int,
    **reading: Any,
) -> list[str | list[str] | None]:
    """Lets a model write for each row; `on_progress` hears of the inputs done since the last call.

    Returns:
        For each row what the model wrote; a list where the row made several inputs, `None` where none.
    """
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
    """Writes the rows' fields and the predictions as text: JSON lines, CSV or TSV by the suffix.

    CSV and TSV get the columns of all rows, in the order in which they come up. In TSV, which has no
    quotes, a tab or line end inside a field becomes a space. Lists and objects are written as JSON.
    """
    done = [{**row.row, field: prediction} for row, prediction in zip(rows, predictions, strict=True)]
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in done)
    columns = [*dict.fromkeys(column for row in rows for column in row.row), field]
    table = [columns, *([_cell(row.get(column)) for column in columns] for row in done)]
    if suffix == ".tsv":
        return "".join("\t".join(re.sub(r"[\t\r\n]+", " ", cell) for cell in line) + "\n" for line in table)
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(table)
    return file.getvalue()


def write_text(path: Path, text: str) -> None:
    """Writes a file, whole or not at all; says in a sentence why it cannot be written."""
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
