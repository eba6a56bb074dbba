"""What else differs between models than the score: likelihood, calibration, rounding, forgetting.

Each kept checkpoint of a finished run, the last and the chosen one, is measured once and leaves a file in the
directory of its run, which experiments share: `outcomes/FOLDER/step-N.json`. FOLDER is a hash of what is
measured, on what; the experiment's `outcomes.json` names it. A file holds these `settings`, and `sets`:
evaluation set (`general text` for forgetting) -> the number of `examples`, the `outcomes` by name, and
`bins`, those of a reliability diagram or null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lowland.config.experiment import ExperimentConfig, RunConfig
from lowland.errors import UserError
from lowland.families.base import Family
from lowland.families.causal import Causal
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.families.recognise import family_of, load_family
from lowland.families.settings import FamilySettings
from lowland.files import examples_hash, fingerprint, finite
from lowland.outcomes.likelihood import FORGETTING, measure_answers, measure_labels
from lowland.outcomes.quantized import ROUNDINGS, linear_weights, rounded_weights
from lowland.report.outcomes import ROUNDED
from lowland.report.words import count
from lowland.runs.directory import RunDirectory, agrees, write_json
from lowland.runs.examples import ExperimentData, first
from lowland.runs.prepared import processes
from lowland.tasks import checks
from lowland.tasks.base import Example, Task
from lowland.train.machine import resolve_precision

FOLDER = "outcomes"
NAMED = "outcomes.json"

GENERAL = "general text"
"""The name under which forgetting is reported, in the place of an evaluation set's."""

SHARE = 0.15
"""The part of a run's compute that its outcomes may take, where the number of examples is not given."""

LEAST, MOST = 20, 1000
"""Examples of an evaluation set that this share is spent on, at least and at most."""

MOST_LABELS = 20
"""Largest number of labels that are scored; each is scored as the answer to every example."""

OWN = Path(__file__).with_name("general.txt")
"""Ninety plain sentences, written for this."""

PIECE, PIECES = 128, 128
"""Tokens of a piece of text, and the largest number of pieces."""

LEAST_TEXT = 200
"""Characters of the shortest text; most vocabularies make of them the tokens that one span needs."""

EVERY, SPAN = 20, 3
"""T5 predicts one span of `SPAN` in `EVERY` tokens: the density and span length of its pre-training."""


class Measured:
    """What is measured of each model of an experiment; `warnings` is on the further test sets."""

    def __init__(self, config: ExperimentConfig, data: ExperimentData) -> None:
        wanted = config.outcomes
        self._config, self._kinds = config, wanted.measure
        self.warnings: list[str] = []
        self._scorers = dict(data.scorers)
        self._labels = {
            name: task.labels(data.train.get(task.name) or data.evaluation[name])
            for name, task in data.scorers.items()
        }
        number = wanted.examples or self._affordable(len(data.evaluation))
        self._sets = {name: first(examples, number) for name, examples in data.evaluation.items()}
        self._also = {name: self._further(name, Path(file), data) for name, file in wanted.also.items()}
        self._text = read_text(wanted.general) if "forgetting" in self._kinds else ""
        self.settings: dict[str, Any] = {
            "measure": list(wanted.measure),
            "examples": number,
            "general": fingerprint(self._text),
            "also": fingerprint([[name, examples_hash(found)] for name, found in self._also.items()]),
        }
        self._loss_before = cache(
            lambda model, settings: general_loss(self._load(model, settings), self._text)
        )

    def _affordable(self, sets: int) -> int:
        """Computes how many examples of each set take `SHARE` of a run's compute, in forward passes."""
        config, train = self._config, self._config.train
        writes = family_of(config.model, config.family.name, config.data.hub)[0].writes
        labels = [len(of) for of in self._labels.values()] if writes else []
        answers = max([1, *(number for number in labels if number <= MOST_LABELS)])
        roundings = len(ROUNDINGS) if "quantized" in self._kinds else 0
        # Token by token takes about twice as long; to choose among many labels takes a pass for each.
        many = max([0, *(number for number in labels if number > MOST_LABELS)])
        written = many if config.family.rank else 2 * writes
        passes = answers + roundings * (answers + written)
        run = 3 * train.steps * train.batch_size  # a backward pass takes twice as long as a forward pass
        checkpoints = 2 if config.data.held_out and config.data.held_out_limit else 1
        return max(LEAST, min(MOST, int(SHARE * run / (sets * checkpoints * passes))))

    def measure(self, path: Path, runs: Iterable[RunDirectory], on_note: Callable[[str], None]) -> None:
        """Measures the kept checkpoints of an experiment's finished runs, unless that was done before."""
        if not (self._kinds or self._also):
            (path / NAMED).unlink(missing_ok=True)
            return
        alike = fingerprint(self.settings)
        write_json(path / NAMED, {"folder": alike})
        left = [
            (run, folder, file)
            for run in runs
            if run.done
            for folder in run.checkpoints()
            if not agrees(
                file := run.path / FOLDER / alike / f"{folder.name}.json", {"settings": self.settings}
            )
        ]
        if left:
            what = ", ".join(self._kinds) or "further test sets"
            number = max(map(len, (self._sets if self._kinds else self._also).values()))
            on_note(
                f"Measuring {what} of {count(len(left), 'model')}, on up to {number} examples of each set."
            )
        without_general = False
        for run, folder, file in left:
            try:
                sets = self._of_model(self._config.of(run.arm), folder)
            except UserError as error:  # a damaged checkpoint: the others can be compared
                on_note(
                    f"{run.arm}, seed {run.seed}, {folder.name}: its outcomes cannot be measured. {error}"
                )
                continue
            without_general |= "forgetting" in self._kinds and GENERAL not in sets
            write_json(file, {"settings": self.settings, "sets": finite(sets)})
        if without_general:
            on_note("Forgetting is left out: this model has no loss on general text.")

    def _of_model(self, config: RunConfig, checkpoint: Path) -> dict[str, Any]:
        """Measures a model; gives evaluation set -> `examples`, `outcomes` and `bins`."""
        family = self._load(str(checkpoint), config.family)
        found: dict[str, Any] = {
            name: {"examples": len(examples), "outcomes": {}, "bins": None}
            for name, examples in (self._sets | self._also).items()
        }
        likelihood = "likelihood" in self._kinds
        if likelihood:
            self._add(family, config, found, self._sets, score=False)
        self._add(family, config, found, self._also, likelihood=likelihood)
        quantized = "quantized" in self._kinds and bool(linear_weights(family.loaded.model))
        for rounding in ROUNDINGS if quantized else ():
            with rounded_weights(family.loaded.model, rounding):
                self._add(family, config, found, self._sets, ROUNDED + rounding.name)
        if "forgetting" in self._kinds and (loss := general_loss(family, self._text)) is not None:
            before = self._loss_before(config.model, config.family)
            if before is not None:
                found[GENERAL] = {"examples": 0, "outcomes": {FORGETTING.name: loss - before}, "bins": None}
        return {name: of_set for name, of_set in found.items() if of_set["outcomes"]}

    def _load(self, model: str, settings: FamilySettings) -> Family:
        family = load_family(model, settings, hub=self._config.data.hub)
        family.loaded.model.to(processes().device)
        return family

    def _add(
        self,
        family: Family,
        config: RunConfig,
        found: Mapping[str, Any],
        sets: Mapping[str, Sequence[Example]],
        after: str = "",
        *,
        score: bool = True,
        likelihood: bool = True,
    ) -> None:
        """Adds scores and likelihoods of right answers: among the labels where there are some, else alone."""
        for name, examples in sets.items():
            task, labels = self._scorers[name], self._labels[name]
            reading = _reading(config, family, task)
            inputs = [example.inputs for example in examples]
            targets = [example.targets for example in examples]
            among = _among(labels, targets)
            measured: dict[str, float] = {}
            predictions: Sequence[str] | None = None
            logarithms: list[list[float]] = []
            if likelihood:
                answers = [labels] * len(targets) if among else [[target] for target in targets]
                with suppress(UserError):  # of a model that gives numbers, which is scored all the same
                    logarithms = family.likelihoods(inputs, answers, **reading)
            if logarithms:
                tokens = family.answer_tokens(list(labels if among else targets), reading["target_length"])
                if among:
                    numbers = [list(labels).index(target) for target in targets]
                    measured, bins = measure_labels(logarithms, numbers, tokens)
                    found[name]["bins"] = found[name]["bins"] if after else bins
                else:
                    measured = measure_answers([row[0] for row in logarithms], tokens)
                # The answers of a model that chooses among just these follow without another pass.
                if among and family.chooses and set(family.labels) <= set(labels):
                    predictions = [labels[int(np.argmax(row))] for row in logarithms]
            if score:
                predictions = predictions or family.predict(
                    inputs, labels=labels or task.labels(examples), **reading
                )
                measured = task.evaluate(examples, predictions) | measured
            found[name]["outcomes"] |= {f"{key}{after}": value for key, value in measured.items()}

    def _further(self, name: str, file: Path, data: ExperimentData) -> Sequence[Example]:
        """Reads a further test set as the user's own data are read."""
        custom = self._config.data.custom
        if custom is None:
            raise UserError(
                f"--also {name}: it is read as your own data are; give --train, --input and --target."
            )
        if name in data.evaluation or name == GENERAL:
            raise UserError(f"--also {name}: an evaluation set has this name. Give another one.")
        own, train = data.tasks[custom.name], data.train[custom.name]
        self._scorers[name], self._labels[name] = own, self._labels[custom.name]
        also = replace(custom, name=name, train=None, evaluation=str(file), split=None)
        try:
            loaded = also.task(own.labels(train)).load()
        except UserError as error:
            raise UserError(f"--also {name}: {error}") from None
        examples = loaded.evaluation[name]
        self.warnings += [*loaded.warnings, *checks.shared(name, train, examples)]
        known = {example.targets for example in train}
        self.warnings += checks.unseen(name, known, examples) if own.labels(train) else []
        return examples


def _among(labels: Sequence[str], targets: Sequence[str]) -> bool:
    """Tells whether answers are labels whose likelihoods can all be taken."""
    return 1 < len(labels) <= MOST_LABELS and set(targets) <= set(labels)


def _reading(config: RunConfig, family: Family, task: Task) -> dict[str, Any]:
    """Returns lengths, the batch size, which is that of training but at most 64, and the precision."""
    train = config.train
    inputs, targets = family.lengths(
        train.input_length or task.input_length, train.target_length or task.target_length
    )
    return {
        "input_length": inputs,
        "target_length": targets,
        "batch_size": min(64, train.micro_batch_size or train.batch_size),
        "bf16": resolve_precision(train.precision, processes().device) == "bf16",
    }


def read_text(file: str) -> str:
    """Reads general text, the package's own where no file is named."""
    path = Path(file) if file else OWN
    try:
        text = " ".join(path.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(f"--general: {path} cannot be read ({why}).") from None
    if len(text) < LEAST_TEXT:
        raise UserError(f"--general: {path} has fewer than {LEAST_TEXT} characters. Give a longer text.")
    return text


def general_loss(family: Family, text: str, batch_size: int = 32) -> float | None:
    """Computes a model's mean loss of a token of a text in nats, on its first `PIECES` pieces.

    The model's dropout is off afterwards. `None` for a classifier, and without T5's sentinels.
    """
    sentinels = _sentinels(family)
    if not sentinels and not isinstance(family, Causal):
        return None
    tokenizer = family.tokenizer
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    length = min(family.lengths(PIECE, PIECE)[0], len(ids))
    if length < EVERY:
        raise UserError(f"--general: the text has fewer than {EVERY} tokens. Give a longer one.")
    number = min(PIECES, len(ids) // length)
    pieces = np.array(ids[: number * length], dtype=np.int64).reshape(number, length)
    pairs = [_spans(piece, sentinels, int(tokenizer.eos_token_id)) for piece in pieces] if sentinels else []
    rows: Any = zip(*pairs, strict=True) if pairs else (pieces, pieces)
    inputs, labels = (torch.from_numpy(np.stack(row)) for row in rows)
    model = family.loaded.model.eval()
    loss = family.loss(model.device)
    total = 0.0
    with torch.no_grad():
        for batch_ids, batch_labels in zip(inputs.split(batch_size), labels.split(batch_size), strict=True):
            mask = torch.ones_like(batch_ids)
            batch = {"input_ids": batch_ids, "attention_mask": mask, "labels": batch_labels}
            total += float(loss(batch)) * len(batch_ids)  # every piece has as many labels
    return total / number


def _sentinels(family: Family) -> list[int]:
    """Finds T5's sentinels in the tokenizer of an encoder-decoder, as many as a piece needs."""
    if not isinstance(family, EncoderDecoder):
        return []
    known = family.tokenizer.get_vocab()
    names = [f"<extra_id_{number}>" for number in range(PIECE // EVERY + 1)]
    return [known[name] for name in names] if all(name in known for name in names) else []


def _spans(piece: np.ndarray, sentinels: list[int], eos: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts spans out of a piece: the input has a sentinel for each, the target what was there."""
    inputs: list[int] = []
    targets: list[int] = []
    at = 0
    for sentinel, start in zip(sentinels, range(EVERY // 2, len(piece) - SPAN, EVERY), strict=False):
        inputs += [*piece[at:start], sentinel]
        at = start + SPAN
        targets += [sentinel, *piece[start:at]]
    return np.array([*inputs, *piece[at:], eos]), np.array([*targets, eos])
