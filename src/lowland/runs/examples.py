"""The examples of an experiment: loaded once, and parted anew for every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from lowland.config.data import DataSettings
from lowland.errors import UserError
from lowland.report.words import count
from lowland.tasks import checks
from lowland.tasks.base import Example, Source, Task
from lowland.tasks.registry import rates, resolve
from lowland.tasks.subsample import flip_labels, hold_out, subsample
from lowland.train.seeds import derive_seed

LEAST_EVALUATION = 10
"""A fraction of an evaluation set leaves this many examples, so that every metric is defined."""

LEAST_HELD_OUT = 100
"""A score of fewer has a standard error of up to 5 points and more: the checkpoint that scores best is the
luckiest."""

HELD_OUT_SEED = 0
"""Of the examples that are held out: the same for every seed, so that runs can be compared on them."""

Parts: TypeAlias = Mapping[str, Sequence[Example]]
"""Task name or evaluation set -> examples."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExperimentData:
    """All examples: `train` by task, `evaluation` by set, and `scorers`, the task of each of these sets."""

    tasks: Mapping[str, Task]
    train: Parts
    evaluation: Parts
    scorers: Mapping[str, Task]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SeedData:
    """What one seed trains on, and what it holds out, by task; all arms of the seed share it."""

    train: Parts
    held_out: Parts  # empty where the last step counts
    rates: Mapping[str, float]  # the share of the training examples that are drawn from a task
    warnings: tuple[str, ...] = ()


def load_tasks(settings: DataSettings) -> list[Task]:
    """Looks up the tasks that the settings name, the user's own among them."""
    custom = [] if settings.custom is None else [settings.custom.task()]
    return [*resolve(settings.tasks), *custom]


def load_data(settings: DataSettings) -> ExperimentData:
    """Reads all examples of an experiment."""
    folder = Path(settings.data_dir) if settings.data_dir else None
    source = Source(data_dir=folder, hub=settings.hub)
    data = load_examples(load_tasks(settings), source, settings.evaluation_limit)
    for kind, found in (("training", data.train), ("evaluation", data.evaluation)):
        if not found:
            raise UserError(f"No {kind} examples were found for {', '.join(data.tasks)}.")
    return data


def load_examples(tasks: Sequence[Task], source: Source, limit: int | float) -> ExperimentData:
    """Reads the examples of tasks, and takes the first of each evaluation set; see `evaluation_count`."""
    train: dict[str, Sequence[Example]] = {}
    evaluation: dict[str, Sequence[Example]] = {}
    scorers: dict[str, Task] = {}
    warnings: list[str] = []
    by_name: dict[str, Task] = {}
    for task in tasks:
        if task.name in by_name:
            raise UserError(
                f"Your own data has the name of the task {task.name!r}. Give it another with --name."
            )
        by_name[task.name] = task
        data = task.load(source)
        if data.train:
            train[task.name] = data.train
        warnings += data.warnings
        for name, examples in data.evaluation.items():
            evaluation[name] = first(examples, evaluation_count(len(examples), limit))
            scorers[name] = task
            warnings += checks.limits(f"{name}, evaluation", task.limits(evaluation[name]))
    return ExperimentData(
        tasks=by_name,
        train=train,
        evaluation=evaluation,
        scorers=scorers,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def first(examples: Sequence[Example], number: int) -> Sequence[Example]:
    """Takes the first examples, and those that belong to the same question as the last of them."""
    while 0 < number < len(examples) and (last := examples[number - 1].ids) is not None:
        following = examples[number].ids or {}
        if any(following.get(name) != value for name, value in last.items() if name != "answer"):
            break
        number += 1
    return examples[:number]


def evaluation_count(size: int, limit: int | float) -> int:
    """Computes how many examples of a set are scored: a fraction (float), or a number (int), 0 for all."""
    if isinstance(limit, float):
        return min(size, max(LEAST_EVALUATION, round(limit * size)))
    return min(size, limit) if limit else size


def part(data: ExperimentData, settings: DataSettings, seed: int, batch_size: int = 1) -> SeedData:
    """Takes a seed's fraction of the training examples, makes labels wrong, and holds some of it out."""
    left, held_out, found = _choose_by(data, settings)
    warnings = list(found)
    train: dict[str, Sequence[Example]] = {}
    for name, examples in data.train.items():
        kept = max(1, round(settings.fraction * len(examples))) - len(held_out.get(name, ()))
        train[name] = subsample(left[name], kept / len(left[name]), derive_seed(seed, "subsample"))
    if settings.label_noise:
        # Of held-out examples, too: who has wrong labels has no right ones to choose a checkpoint by.
        train = _noisy(data, train, settings.label_noise, seed)
        held_out = _noisy(data, held_out, settings.label_noise, HELD_OUT_SEED)
    sizes = {name: len(examples) for name, examples in train.items()}
    if (total := sum(sizes.values())) < batch_size:
        warnings.append(
            f"{count(total, 'training example')} cannot fill a batch of {batch_size}: every batch holds "
            "some of them more than once. Give a smaller --batch-size."
        )
    mixing = rates(sizes, settings.cap, settings.temperature)
    return SeedData(train=train, held_out=held_out, rates=mixing, warnings=tuple(warnings))


@lru_cache(maxsize=1)  # seconds for a large set, and the same for every seed
def _choose_by(data: ExperimentData, settings: DataSettings) -> tuple[Parts, Parts, list[str]]:
    """Holds examples out to choose checkpoints by, if they are enough and of the kinds that scores need.

    A fraction that makes few is not held out; a number that the user gives is. Where a score of the held-out
    examples would not be defined, none are held out, so that the last step counts.
    """
    asked = settings.held_out
    if not (asked and settings.held_out_limit):
        return data.train, {}, []
    used = {name: max(1, round(settings.fraction * len(rows))) for name, rows in data.train.items()}
    wanted = {name: asked if isinstance(asked, int) else max(1, round(asked * n)) for name, n in used.items()}
    if isinstance(asked, float) and (total := sum(wanted.values())) < LEAST_HELD_OUT:
        few = (
            f"{asked:.0%} of the training examples are only {total}, too few to choose a checkpoint by. "
            "None is held out, and the last step is reported. To hold them out anyway, give "
            f"--held-out {max(wanted.values())}."
        )
        return data.train, {}, [few]
    train: dict[str, Sequence[Example]] = {}
    held_out: dict[str, Sequence[Example]] = {}
    warnings: list[str] = []
    for name, examples in data.train.items():
        number = min(wanted[name], settings.held_out_limit)
        try:
            if number >= used[name]:
                raise UserError(f"{number} cannot be held out of {used[name]} training examples.")
            train[name], held_out[name] = hold_out(examples, number, derive_seed(HELD_OUT_SEED, "held-out"))
        except UserError as error:
            raise UserError(f"{name}: {error} Give --held-out 0 to train on all of them.") from None
        found = data.tasks[name].limits(held_out[name])
        warnings += checks.limits(f"{name}, held out", found)
        if any(limit.undefined for limit in found):
            warnings.append(f"{name}: no checkpoint can be chosen by such a set: the last step counts.")
            return data.train, {}, warnings
    return train, held_out, warnings


def _noisy(data: ExperimentData, parts: Parts, share: float, seed: int) -> dict[str, Sequence[Example]]:
    seed = derive_seed(seed, "label-noise")
    known = {name: known_labels(data.tasks[name], data.train[name]) for name in parts}
    return {name: flip_labels(examples, known[name], share, seed) for name, examples in parts.items()}


def known_labels(task: Task, examples: Sequence[Example]) -> tuple[str, ...]:
    """Lists the targets that a task's training examples can have and exchange."""
    known = {example.targets for example in examples}
    labels = tuple(label for label in task.exchangeable(examples) if label in known)
    if len(labels) < 2:
        raise UserError(
            f"{task.name}: label noise needs two labels or more, and the targets of this task "
            + ("are no class labels." if not labels else "are all the same.")
            + " Leave the task or --label-noise out."
        )
    return labels
