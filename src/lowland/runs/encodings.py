"""Token ids of an experiment's training examples, what is lost in them, and batches drawn from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain

from torch import Tensor

from lowland.data import EncodedExample, EncodedSet, MixtureSampler
from lowland.data.encode import decode
from lowland.errors import UserError
from lowland.evaluate import written_labels
from lowland.families.base import Family
from lowland.families.writer import Writer
from lowland.runs.examples import ExperimentData, SeedData
from lowland.tasks.base import Example, Task
from lowland.train.seeds import derive_seed
from lowland.train.settings import TrainSettings

LEAST_UNKNOWN = 0.1
"""Share of the inputs' tokens that may be unknown without a warning: a vocabulary without `?` loses less."""


class Encodings:
    """Token ids of all training examples, shared by all runs; `warnings` says what was cut or is unknown."""

    def __init__(self, data: ExperimentData, family: Family, settings: TrainSettings) -> None:
        self.warnings: list[str] = [*family.notes]
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
            self.warnings += unknown_inputs(name, encoded, family)
            if isinstance(family, Writer):
                scored = [
                    *chain(*(data.evaluation[set_] for set_, own in data.scorers.items() if own is task))
                ]
                refuse_collisions(name, task, [*examples, *scored], family, target_length)
                self.warnings += lost_targets(name, task, scored or examples, family, target_length)
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


def unknown_inputs(name: str, encoded: EncodedSet, family: Family) -> list[str]:
    """Warns where a vocabulary does not know much of a task's inputs."""
    unknown = family.tokenizer.unk_token_id
    if unknown is None or unknown == family.tokenizer.eos_token_id:  # GPT-2's, which knows every byte
        return []
    share = sum(int((row == unknown).sum()) for row in encoded.inputs) / max(1, sum(map(len, encoded.inputs)))
    if share < LEAST_UNKNOWN:
        return []
    return [
        f"{name}: {share:.0%} of the training inputs' tokens are unknown to this model's vocabulary, and "
        "lost; take a model whose vocabulary has them."
    ]


def refuse_collisions(
    name: str, task: Task, examples: Sequence[Example], family: Writer, length: int
) -> None:
    """Refuses labels of which a model's vocabulary makes the same, or targets if all of them are."""
    counts = Counter(example.targets for example in examples)
    labels = task.labels(examples)
    words = sorted(set(labels) or counts)
    groups: dict[str, list[str]] = {}
    for word, written in zip(words, _written(words, family, length), strict=True):
        groups.setdefault(written, []).append(word)
    written, same = max(groups.items(), key=lambda group: len(group[1]), default=("", []))
    if len(same) < (2 if labels else max(2, len(words))):
        return
    shown = ", ".join(f"{word[:40]!r} ({counts[word]})" for word in same[:5])
    raise UserError(
        f"{name}: the {'labels' if labels else 'targets'} {shown} are the same for this model, which writes "
        f"{written[:40]!r} for each. If they are one class in different spellings, correct the file; if they "
        "are cut, give a greater --target-length; else give other words for them, or take a model whose "
        "vocabulary has theirs."
    )


def lost_targets(
    name: str, task: Task, examples: Sequence[Example], family: Writer, length: int
) -> list[str]:
    """Warns of targets that a model cannot write as they are, if the best one scores less for it."""
    targets = [example.targets for example in examples]
    texts = list(dict.fromkeys(targets))
    meant = written_labels(task.labels(examples), family.tokenizer)
    written = zip(texts, _written(texts, family, length), strict=True)
    back = {text: meant.get(found, found) for text, found in written}
    best, most = task.evaluate(examples, targets), task.evaluate(examples, [back[text] for text in targets])
    less = [key for key in best if not math.isnan(best[key]) and not most[key] >= best[key] - 1e-9]
    changed = [text for text in targets if back[text] != text]
    if not less or not changed:
        return []
    return [
        f"{name}: {len(changed)} of {len(targets)} targets cannot be written by this model as they are: "
        f"{changed[0][:40]!r} comes back as {back[changed[0]][:40]!r}. A model that learned every target "
        f"scores at most {' and '.join(f'{key} {most[key]:.1f}' for key in less)}. Write the targets as they "
        "come back, give a greater --target-length, or use another metric or model."
    ]


def _written(texts: Sequence[str], family: Writer, length: int) -> list[str]:
    """Gives what comes back from the ids of targets."""
    return decode(family.encode_targets(texts, length)[0], family.tokenizer)
