"""The examples of an experiment: loaded once, and parted anew for every seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    source = Source(data_dir=Path(settings.data_dir) if settings.data_dir else None, hub=settings.hub)
    tasks: dict[str, Task] = {}
    train: dict[str, Sequence[Example]] = {}
    evaluation: dict[str, Sequence[Example]] = {}
    scorers: dict[str, Task] = {}
    warnings: list[str] = []
    for task in load_tasks(settings):
        data = task.load(source)
        tasks[task.name] = task
        if data.train:
            train[task.name] = data.train
        for name, examples in data.evaluation.items():
            evaluation[name] = examples[: settings.evaluation_limit or None]
            scorers[name] = task
        warnings += data.warnings
    if not train:
        raise UserError(f"No training examples were found for {', '.join(tasks)}.")
    if not evaluation:
        raise UserError(f"No evaluation examples were found for {', '.join(tasks)}.")
    return ExperimentData(
        tasks=tasks, train=train, evaluation=evaluation, scorers=scorers, warnings=tuple(warnings)
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

    def batches(
        self, train: Mapping[str, Sequence[Example]], batch_size: int, seed: int
    ) -> Iterator[dict[str, Tensor]]:
        """Draws batches without end; tasks come in proportion to their numbers of examples.

        Args:
            train: Task name -> the examples to draw from, which must be among those encoded.
            batch_size: Examples of a batch.
            seed: The run's seed.

        Yields:
            `input_ids`, `attention_mask` and `labels`, padded.
        """
        rows = {name: [self._positions[name][id(e)] for e in examples] for name, examples in train.items()}
        sizes = {name: len(examples) for name, examples in train.items()}
        sampler = MixtureSampler(sizes, sizes, batch_size, derive_seed(seed, "order"))
        for drawn in sampler:
            yield collate(
                [self._encoded[name][rows[name][index]] for name, index in drawn], self.pad_token_id
            )
