"""Token ids of an experiment's training examples, and the batches that are drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from lowland.data import EncodedExample, EncodedSet, MixtureSampler
from lowland.errors import UserError
from lowland.families.base import Family
from lowland.runs.examples import ExperimentData, SeedData
from lowland.runs.writing import check_writing
from lowland.tasks.base import Example
from lowland.train import TrainSettings, derive_seed


class Encodings:
    """Token ids of all training examples, made once and shared by all runs.

    Attributes:
        warnings: What was cut, and what the model cannot read or write.
        longest: The most tokens of an input and of a target.
    """

    def __init__(self, data: ExperimentData, family: Family, settings: TrainSettings) -> None:
        self.warnings: list[str] = [*family.notes]
        self.longest = (1, 1)
        self._encoded: dict[str, EncodedSet] = {}
        self._inputs: dict[str, dict[str, int]] = {}
        self._targets: dict[str, dict[str, int]] = {}
        for name, examples in data.train.items():
            task = data.tasks[name]
            input_length, target_length = family.lengths(
                settings.input_length or task.input_length, settings.target_length or task.target_length
            )
            try:
                encoded = family.encode(examples, input_length, target_length)
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
            scored = {set_: data.evaluation[set_] for set_, task_ in data.scorers.items() if task_ is task}
            lengths = (input_length, target_length)
            self.warnings += check_writing(name, task, examples, encoded.inputs, scored, family, lengths)
            self.longest = (
                max(self.longest[0], *map(len, encoded.inputs)),
                max(self.longest[1], *map(len, encoded.targets)),
            )
            self._encoded[name] = encoded
            # Token ids depend on the text alone; a label that was made wrong is the right one of another.
            self._inputs[name] = {example.inputs: index for index, example in enumerate(examples)}
            self._targets[name] = {example.targets: index for index, example in enumerate(examples)}

    def batches(self, parted: SeedData, batch_size: int, seed: int, family: Family) -> SampledBatches:
        """Draws padded batches of a seed's examples without end; tasks come at their rates."""
        rows = {name: self._select(name, examples) for name, examples in parted.train.items()}
        sizes = {name: len(examples) for name, examples in parted.train.items()}
        sampler = MixtureSampler(sizes, parted.rates, batch_size, derive_seed(seed, "order"))
        return SampledBatches(
            sampler, lambda drawn: family.collate([rows[name][index] for name, index in drawn])
        )

    def _select(self, name: str, examples: Sequence[Example]) -> list[EncodedExample]:
        encoded, inputs, targets = self._encoded[name], self._inputs[name], self._targets[name]
        return [
            EncodedExample(encoded.inputs[inputs[e.inputs]], encoded.targets[targets[e.targets]])
            for e in examples
        ]


class SampledBatches:
    """Endless batches out of a sampler, whose place in the stream is their only state."""

    def __init__(
        self, sampler: MixtureSampler, collate: Callable[[list[tuple[str, int]]], dict[str, Tensor]]
    ) -> None:
        self.sampler, self._collate = sampler, collate
        self.state_dict, self.load_state_dict = sampler.state_dict, sampler.load_state_dict

    def __next__(self) -> dict[str, Tensor]:
        """Draws and pads the next batch."""
        return self._collate(next(self.sampler))

    def realised_rates(self) -> dict[str, float]:
        """Gives the share of the examples drawn so far that came from each task."""
        total = sum(self.sampler.counts.values())
        return {name: round(count / max(1, total), 6) for name, count in self.sampler.counts.items()}
