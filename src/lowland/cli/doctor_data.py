"""What `lowland doctor` says of the official files of tasks."""

from __future__ import annotations

from pathlib import Path

from lowland.cli.findings import Finding, Findings
from lowland.cli.tasks import data_set, is_carried
from lowland.errors import UserError
from lowland.tasks import Source, get_task, task_names
from lowland.tasks.base import DataSet


def data_sets(directory: Path) -> Findings:
    """Reads the files of every task that lie in a directory, and says which are missing.

    Args:
        directory: The folder with the official files.

    Yields:
        A line for every task that has files there, and one that names all the others.
    """
    if not directory.is_dir():
        yield Finding("problem", "data", f"{directory} does not exist, or is no directory")
        return
    missing: list[str] = []
    found = 0
    for name in task_names():
        if is_carried(get_task(name)):
            continue
        task = get_task(name)
        known = data_set(task)
        trained = known is not None and known.train is not None
        try:
            data = task.load(Source(data_dir=directory, train=trained))
        except UserError as error:
            # Files that lie directly in the directory may be another task's: only a folder's name tells.
            if has_folder(known, directory):
                found += 1
                yield Finding("problem", name, str(error))
            else:
                missing.append(name)
            continue
        found += 1
        count = sum(map(len, data.evaluation.values()))
        text = f"{len(data.train):,} training and " if trained else ""
        text += f"{count:,} evaluation examples"
        yield Finding("ok", name, text)
        for warning in data.warnings:
            yield Finding("note", "", warning.removeprefix(f"{name}: "))
    if not found:
        yield Finding(
            "problem",
            "data",
            f"no official file in {directory}: `lowland tasks NAME` says what a task looks for",
        )
    elif missing:
        yield Finding("note", "missing", f"no files for {', '.join(missing)}")


def has_folder(data: DataSet | None, directory: Path) -> bool:
    """Says whether a directory holds the folder of an official download."""
    there = {path.name.lower() for path in directory.iterdir() if path.is_dir()}
    return data is not None and any(folder.lower() in there for folder in data.folders)
