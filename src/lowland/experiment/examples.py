"""The examples of an experiment: loaded once, and parted anew for every seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lowland.data import EncodedSet, MixtureSampler, collate, encode
from lowland.errors import UserError
from lowland.experiment.configuration import DataSettings
from lowland.tasks.base import Example, Source, Task
from lowland.tasks.custom import CustomTask
from lowland.tasks.mixture import resolve
from lowland.tasks.subsample import hold_out, subsample
from lowland.train import TrainSettings, derive_seed


@dataclass(frozen=True, kw_only=True)
class ExperimentData:
    """All examples of an experiment.

    Attributes:
        tasks: Task name -> task, in the order given.
        train: Task name -> all its training examples; tasks without any are left out.
        evaluation: Evaluation set -> its examples.
        scorers: Evaluation set -> the task that scores it.
        warnings: What the user should know about the data.
    """

    tasks: Mapping[str, Task]
    train: Mapping[str, Sequence[Example]]
    evaluation: Mapping[str, Sequence[Example]]
    scorers: Mapping[str, Task]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SeedData:
    """What one seed trains on, and what it holds out; both arms of the seed share it.

    Attributes:
        train: Task name -> examples for training.
        held_out: Task name -> examples for choosing a checkpoint; empty where none were asked for.
    """

    train: Mapping[str, Sequence[Example]]
    held_out: Mapping[str, Sequence[Example]]


def load_tasks(settings: DataSettings) -> list[Task]:
    """Looks up the tasks that the settings name, the user's own among them.

    Raises:
        UserError: If a name is unknown or a template wrong.
    """
    tasks = resolve(settings.tasks)
    if settings.custom is not None:
        custom = settings.custom
        tasks.append(
            CustomTask(
                custom.name,
                Path(custom.train),
                Path(custom.evaluation),
                custom.input,
                custom.target,
                custom.metrics,
                custom.answers,
            )
        )
    return tasks


def load_data(settings: DataSettings) -> ExperimentData:
    """Reads all examples.

    Raises:
        UserError: If something about the data is wrong; the message says where.
    """
    folder = Path(settings.data_dir).expanduser() if settings.data_dir else None
    source = Source(data_dir=folder, hub=settings.hub)
    data = load_examples(load_tasks(settings), source, settings.evaluation_limit)
    if not data.train:
        raise UserError(f"No training examples were found for {', '.join(data.tasks)}.")
    if not data.evaluation:
        raise UserError(f"No evaluation examples were found for {', '.join(data.tasks)}.")
    return data


def load_examples(tasks: Sequence[Task], source: Source, limit: int) -> ExperimentData:
    """Reads the examples of tasks.

    Args:
        tasks: The tasks.
        source: Where from.
        limit: Most examples of an evaluation set, the first ones; 0 for all.

    Raises:
        UserError: If something about the data is wrong; the message says where.
    """
    train: dict[str, Sequence[Example]] = {}
    evaluation: dict[str, Sequence[Example]] = {}
    scorers: dict[str, Task] = {}
    warnings: list[str] = []
    by_name = {task.name: task for task in tasks}
    if len(by_name) < len(tasks):
        names = [task.name for task in tasks]
        double = next(name for name in names if names.count(name) > 1)
        raise UserError(f"Your own data has the name of the task {double!r}. Give it another with --name.")
    for task in tasks:
        data = task.load(source)
        if data.train:
            train[task.name] = data.train
        for name, examples in data.evaluation.items():
            evaluation[name] = examples[: limit or None]
            scorers[name] = task
        warnings += data.warnings
    return ExperimentData(
        tasks=by_name,
        train=train,
        evaluation=evaluation,
        scorers=scorers,
        warnings=tuple(warnings),
    )


def part(data: ExperimentData, settings: DataSettings, seed: int) -> SeedData:
    """Takes a seed's fraction of the training examples and holds some of it out.

    Args:
        data: All examples.
        settings: The fraction, and how much is held out.
        seed: The run's seed.

    Raises:
        UserError: If a task has too few examples to hold any out.
    """
    train: dict[str, Sequence[Example]] = {}
    held_out: dict[str, Sequence[Example]] = {}
    for name, examples in data.train.items():
        chosen = subsample(examples, settings.fraction, derive_seed(seed, "subsample"))
        count = (
            settings.held_out
            if isinstance(settings.held_out, int)
            else max(1, round(settings.held_out * len(chosen)))
        )
        if settings.held_out and settings.held_out_limit:
            count = min(count, settings.held_out_limit)
            try:
                train[name], held_out[name] = hold_out(chosen, count, derive_seed(seed, "held-out"))
            except UserError as error:
                raise UserError(f"{name}: {error} Give --held-out 0 to train on all of them.") from None
        else:
            train[name] = chosen
    return SeedData(train=train, held_out=held_out)


class Encodings:
    """Token ids of all training examples, made once and shared by all runs.

    Args:
        data: All examples.
        tokenizer: The model's tokenizer.
        settings: The lengths.
    """

    def __init__(
        self, data: ExperimentData, tokenizer: PreTrainedTokenizerBase, settings: TrainSettings
    ) -> None:
        self.pad_token_id = int(tokenizer.pad_token_id)
        self.warnings: list[str] = []
        self._encoded: dict[str, EncodedSet] = {}
        self._positions: dict[str, dict[int, int]] = {}
        for name, examples in data.train.items():
            task = data.tasks[name]
            input_length = settings.input_length or task.input_length
            target_length = settings.target_length or task.target_length
            try:
                encoded = encode(examples, tokenizer, input_length, target_length)
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
            for what, cut, length in (
                ("inputs", encoded.truncated_inputs, input_length),
                ("targets", encoded.truncated_targets, target_length),
            ):
                if cut:
                    self.warnings.append(
                        f"{name}: {cut} of {len(examples)} training {what} are longer than {length} tokens "
                        "and were cut."
                    )
            self._encoded[name] = encoded
            self._positions[name] = {id(example): index for index, example in enumerate(examples)}

    def batches(self, train: Mapping[str, Sequence[Example]], batch_size: int, seed: int) -> SampledBatches:
        """Draws batches without end; tasks come in proportion to their numbers of examples.

        Args:
            train: Task name -> the examples to draw from, which must be among those encoded.
            batch_size: Examples of a batch.
            seed: The run's seed.

        Returns:
            `input_ids`, `attention_mask` and `labels`, padded, batch after batch.
        """
        rows = {name: [self._positions[name][id(e)] for e in examples] for name, examples in train.items()}
        sizes = {name: len(examples) for name, examples in train.items()}
        sampler = MixtureSampler(sizes, sizes, batch_size, derive_seed(seed, "order"))
        return SampledBatches(
            sampler,
            lambda drawn: collate(
                [self._encoded[name][rows[name][index]] for name, index in drawn], self.pad_token_id
            ),
        )


class SampledBatches:
    """Endless batches out of a sampler, whose place in the stream is their only state."""

    def __init__(
        self, sampler: MixtureSampler, collate: Callable[[list[tuple[str, int]]], dict[str, Tensor]]
    ) -> None:
        self.sampler = sampler
        self._collate = collate

    def __next__(self) -> dict[str, Tensor]:
        """Draws and pads the next batch."""
        return self._collate(next(self.sampler))

    def state_dict(self) -> dict[str, Any]:
        """Gives the place in the stream."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes to a place in the stream."""
        self.sampler.load_state_dict(state)
