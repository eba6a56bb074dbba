"""What else differs between models than the score: likelihood, calibration, rounding, forgetting.

Each kept checkpoint of a finished run, the last and the chosen one, is measured once and leaves a file in the
directory of its run, which experiments share: `outcomes/step-N.json`, with

- `settings`: what was measured, on what; files that agree in it can be compared;
- `sets`: evaluation set (`general text` for forgetting) -> `examples`, their number; `outcomes`, name ->
  value or null, with names as in `lowland.outcomes`, "... after int8" after rounding, and metrics in
  percent; and `bins`, null or the reliability diagram's: `low`, `high`, `answers`, `confidence`, `right`.

`lowland.report.outcomes.read_outcomes` gives tables and bins; confusion matrices and flips are made from the
predictions that runs keep, by `lowland.report.examples`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lowland.comparison.general import OWN, general_loss, read_text
from lowland.config.experiment import ExperimentConfig, RunConfig
from lowland.config.outcomes import LEAST, MOST, SHARE
from lowland.content import examples_hash
from lowland.errors import UserError
from lowland.evaluate import evaluate_sets
from lowland.families.base import Family
from lowland.families.recognise import family_of, load_family
from lowland.families.settings import FamilySettings
from lowland.outcomes.likelihood import FORGETTING, measure_answers, measure_labels
from lowland.outcomes.quantized import ROUNDINGS, linear_weights, rounded_weights
from lowland.runs.directory import RunDirectory, write_json
from lowland.runs.examples import ExperimentData
from lowland.runs.run import processes
from lowland.tasks import checks
from lowland.tasks.base import Example, Task
from lowland.tasks.custom import CustomTask
from lowland.train import resolve_precision

FOLDER = "outcomes"

GENERAL = "general text"
"""What stands for an evaluation set where forgetting is told."""

BACKWARD = 2.0
"""A backward pass takes twice the arithmetic of its forward pass: gradients of inputs and of weights."""

GENERATION = 2.0
"""Generating an answer token by token takes about this much longer than its forward pass."""

MOST_LABELS = 20
"""More labels than these cost too much: each is scored as the answer to every example."""


def measure_outcomes(
    measured: Measured, runs: Iterable[RunDirectory], on_note: Callable[[str], None]
) -> None:
    """Measures the kept checkpoints of finished runs, unless they were measured alike before.

    Args:
        measured: What is measured.
        runs: The experiment's runs.
        on_note: Is told what is measured, and what cannot be.
    """
    if not measured.settings:
        return
    config = measured.config
    left = [
        (run, folder, file)
        for run in runs
        if run.done
        for folder in run.checkpoints()
        if not _agrees(file := run.path / FOLDER / f"{folder.name}.json", measured.settings)
    ]
    if left:
        what = ", ".join(config.outcomes.measure) or "further test sets"
        on_note(f"Measuring {what} of {len(left)} model{'s' * (len(left) > 1)}, {measured.examples}.")
    for run, folder, file in left:
        try:
            sets = measured(config.of(run.arm), folder)
        except UserError as error:  # a damaged checkpoint: the others can be compared
            on_note(f"{run.arm}, seed {run.seed}, {folder.name}: its outcomes cannot be measured. {error}")
            continue
        write_json(file, {"settings": measured.settings, "sets": sets})
    if left and measured.without_general:
        on_note("Forgetting is left out: this model has no loss on general text.")


class Measured:
    """What is measured of each model of an experiment.

    Args:
        config: The experiment.
        data: Its examples.

    Attributes:
        config: The experiment.
        settings: What files of outcomes must agree in to be compared; empty where nothing is measured.
        examples: On which examples, in words.
        without_general: Whether a model had no loss on general text.
        warnings: What the user should know of the further test sets.

    Raises:
        UserError: If a further test set or the general text cannot be read.
    """

    def __init__(self, config: ExperimentConfig, data: ExperimentData) -> None:
        self.config, wanted = config, config.outcomes
        self._kinds = wanted.measure
        self._labels = {
            name: task.labels(data.train.get(task.name) or data.evaluation[name])
            for name, task in data.scorers.items()
        }
        number = wanted.examples or _affordable(config, data, self._labels)
        self._sets = {name: examples[:number] for name, examples in data.evaluation.items()}
        self._also, self.warnings = further_sets(config, data)
        self._scorers = dict(data.scorers) | {name: _own(data) for name in self._also}
        self._labels |= {
            name: self._labels[config.data.custom.name] for name in self._also if config.data.custom
        }
        self._text = ""
        if "forgetting" in wanted.measure:
            self._text = read_text(Path(wanted.general) if wanted.general else OWN)
        self.examples = f"up to {number:,} examples of each set"
        self.without_general = False
        self.settings: dict[str, Any] = {}
        if wanted.measure or wanted.also:
            also = [[name, examples_hash(found)] for name, found in self._also.items()]
            self.settings = {
                "measure": list(wanted.measure),
                "examples": number,
                "general": _sha256(self._text),
                "also": _sha256(json.dumps(also)) if also else "",
            }
        self._before = cache(self._loss_before)

    def __call__(self, config: RunConfig, checkpoint: Path) -> dict[str, Any]:
        """Measures a model; gives evaluation set -> `examples`, `outcomes` and `bins`."""
        family = self._load(str(checkpoint), config.family)
        found: dict[str, Any] = {
            name: {"examples": len(examples), "outcomes": {}, "bins": None}
            for name, examples in (self._sets | self._also).items()
        }
        self._add_scores(family, config, found, self._also, "")
        if "likelihood" in self._kinds:
            for name, examples in (self._sets | self._also).items():
                self._add_likelihood(family, config, found[name], name, examples, "")
        quantized = "quantized" in self._kinds and bool(linear_weights(family.loaded.model))
        for rounding in ROUNDINGS if quantized else ():
            after = f" after {rounding.name}"
            with rounded_weights(family.loaded.model, rounding):
                self._add_scores(family, config, found, self._sets, after)
                for name, examples in self._sets.items():
                    self._add_likelihood(family, config, found[name], name, examples, after)
        if self._text:
            loss = general_loss(family, self._text)
            before = self._before(config.model, config.family) if loss is not None else None
            if loss is None or before is None:
                self.without_general = True
            else:
                rise = {FORGETTING.name: _plain(loss - before)}
                found[GENERAL] = {"examples": 0, "outcomes": rise, "bins": None}
        return {name: of_set for name, of_set in found.items() if of_set["outcomes"]}

    def _load(self, model: str, settings: FamilySettings) -> Family:
        family = load_family(model, settings, hub=self.config.data.hub)
        family.loaded.model.to(processes().device)
        return family

    def _loss_before(self, model: str, settings: FamilySettings) -> float | None:
        return general_loss(self._load(model, settings), self._text)

    def _add_scores(
        self,
        family: Family,
        config: RunConfig,
        found: Mapping[str, Any],
        sets: Mapping[str, Sequence[Example]],
        after: str,
    ) -> None:
        scored = evaluate_sets(
            family,
            self._scorers,
            sets,
            input_length=config.train.input_length,
            target_length=config.train.target_length,
            batch_size=_batch_size(config),
            bf16=_bf16(config),
            labels=self._labels,
        )
        for name, result in scored.items():
            found[name]["outcomes"] |= {
                f"{key}{after}": _plain(value) for key, value in result.metrics.items()
            }

    def _add_likelihood(
        self,
        family: Family,
        config: RunConfig,
        found: dict[str, Any],
        name: str,
        examples: Sequence[Example],
        after: str,
    ) -> None:
        """Adds the likelihood of the right answers: among the labels where there are some, else alone."""
        task, labels = self._scorers[name], self._labels[name]
        lengths = family.lengths(
            config.train.input_length or task.input_length, config.train.target_length or task.target_length
        )
        targets = [example.targets for example in examples]
        among = _among(labels, targets)
        try:
            logarithms = family.likelihoods(
                [example.inputs for example in examples],
                [labels] * len(targets) if among else [[target] for target in targets],
                input_length=lengths[0],
                target_length=lengths[1],
                batch_size=_batch_size(config),
                bf16=_bf16(config),
            )
        except UserError:  # of a model that gives numbers, whose scores are measured all the same
            return
        tokens = family.answer_tokens(list(labels if among else targets), lengths[1])
        if among:
            numbers = [list(labels).index(target) for target in targets]
            measured, bins = measure_labels(logarithms, numbers, tokens)
            if not after:
                found["bins"] = [{key: _plain(value) for key, value in one.items()} for one in bins]
        else:
            measured = measure_answers([row[0] for row in logarithms], tokens)
        found["outcomes"] |= {f"{key}{after}": _plain(value) for key, value in measured.items()}


def further_sets(
    config: ExperimentConfig, data: ExperimentData
) -> tuple[dict[str, Sequence[Example]], list[str]]:
    """Reads the further test sets: name -> examples, and what the user should know of them.

    Raises:
        UserError: If one cannot be read, has the name of another, or there are no templates to read it by.
    """
    custom = config.data.custom
    found: dict[str, Sequence[Example]] = {}
    warnings: list[str] = []
    for name, file in config.outcomes.also.items():
        if custom is None:
            raise UserError(
                f"--also {name}: it is read as your own data are; give --train, --input and --target."
            )
        if name in data.evaluation or name == GENERAL:
            raise UserError(f"--also {name}: an evaluation set has this name. Give another one.")
        task = CustomTask(
            name,
            None,
            Path(file),
            custom.input,
            custom.target,
            custom.metrics,
            custom.answers,
            custom.positive,
            classes=_own(data).labels(data.train[custom.name]),
            skip_empty=custom.skip_empty,
        )
        loaded, train = task.load(), data.train[custom.name]
        found[name] = loaded.evaluation[name]
        warnings += [*loaded.warnings, *checks.shared(name, train, found[name])]
        known = {example.targets for example in train}
        warnings += checks.unseen(name, known, found[name]) if _own(data).labels(train) else []
    return found, warnings


def _own(data: ExperimentData) -> Task:
    """Gives the task of the user's own data."""
    return next(task for task in data.tasks.values() if isinstance(task, CustomTask))


def _affordable(config: ExperimentConfig, data: ExperimentData, labels: Mapping[str, Sequence[str]]) -> int:
    """Computes how many examples of each set can be measured for `SHARE` of a run's arithmetic.

    Everything is counted in forward passes of an example: the training of the baseline and its evaluations on
    one side; on the other a pass for each label that is an answer, and an answer that is generated.
    """
    train = config.train
    writes = family_of(config.model, config.family.name, config.data.hub)[0].writes
    predict = GENERATION if writes else 1.0
    scored = sum(map(len, data.evaluation.values()))
    evaluations = math.ceil(train.steps / train.evaluate_every)
    run = train.steps * train.batch_size * (1 + BACKWARD) + evaluations * scored * predict
    roundings = len(ROUNDINGS) if "quantized" in config.outcomes.measure else 0
    cost = 0.0
    for name, examples in data.evaluation.items():
        among = writes and _among(labels[name], [example.targets for example in examples])
        answers = len(labels[name]) if among else 1
        cost += answers + roundings * (predict + answers)
    checkpoints = 2 if config.data.held_out and config.data.held_out_limit else 1
    return max(LEAST, min(MOST, int(SHARE * run / (checkpoints * cost))))


def _among(labels: Sequence[str], targets: Sequence[str]) -> bool:
    """Tells whether answers are labels whose likelihoods can all be taken."""
    return 1 < len(labels) <= MOST_LABELS and set(targets) <= set(labels)


def _batch_size(config: RunConfig) -> int:
    """Gives as many examples as training shows to have room for, 64 at most."""
    return min(64, config.train.micro_batch_size or config.train.batch_size)


def _bf16(config: RunConfig) -> bool:
    return resolve_precision(config.train.precision, processes().device) == "bf16"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def _plain(value: float) -> float | None:
    """Gives a number as JSON can hold it: nan and infinity become null."""
    return value if math.isfinite(value) else None


def _agrees(file: Path, settings: Mapping[str, Any]) -> bool:
    """Tells whether a file holds outcomes that were measured alike."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return bool(found["settings"] == settings and found["sets"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
