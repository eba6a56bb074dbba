"""What else differs between the models of an experiment: likelihood, calibration, and both after rounding."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lowland.compare.sharpness import Checkpoint
from lowland.config.experiment import ExperimentConfig, RunConfig
from lowland.errors import UserError
from lowland.evaluate import evaluate_sets
from lowland.families.base import Family
from lowland.families.recognise import load_family
from lowland.families.writer import Writer
from lowland.files import fingerprint
from lowland.models import weights_sha256
from lowland.outcomes.forgetting import FORGETTING, forgotten
from lowland.outcomes.likelihood import ANSWER_LOSS, TOKEN_LOSS, answer_loss, measure_labels, token_loss
from lowland.outcomes.quantized import ROUNDINGS, rounded_weights
from lowland.runs.directory import write_json
from lowland.runs.examples import ExperimentData, load_data
from lowland.runs.run import processes
from lowland.tasks.base import Example, Task

FOLDER = "outcomes"

GENERAL = "general text"
"""What stands for an evaluation set where the loss on general text is told."""

MOST_LABELS = 20
"""More labels than these cost too much: each is scored as the answer to every example."""


@dataclass(frozen=True, kw_only=True)
class OutcomeSettings:
    """What is measured.

    Attributes:
        examples: Most examples of each evaluation set, the first ones.
        batch_size: Examples at a time.
        rounding: Names of the roundings after which score and likelihood are measured again.
        general: What the general text is known by; empty without one.
    """

    examples: int = 1000
    batch_size: int = 64
    rounding: tuple[str, ...] = tuple(rounding.name for rounding in ROUNDINGS)
    general: str = ""

    def __post_init__(self) -> None:
        for name in ("examples", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"Invalid {name}={getattr(self, name)!r}. Must be >= 1.")
        known = [rounding.name for rounding in ROUNDINGS]
        if strange := set(self.rounding) - set(known):
            raise ValueError(f"Invalid rounding={min(strange)!r}. Must be one of {', '.join(known)}.")


def measure_outcomes(
    config: ExperimentConfig,
    checkpoints: Sequence[Checkpoint],
    folder: Path,
    settings: OutcomeSettings,
    on_start: Callable[[Checkpoint, bool], None],
    general_loss: Callable[[Family], float | None] = lambda family: None,
) -> None:
    """Measures checkpoints and writes a file of outcomes for each; those that are there are kept.

    Args:
        config: The experiment.
        checkpoints: What to measure.
        folder: Where to.
        settings: What to measure of them.
        on_start: Is told of each, and whether it was measured before.
        general_loss: Gives a model's loss on general text; `None` where it has none.

    Raises:
        UserError: If data or a checkpoint cannot be read.
    """
    data = load_data(config.data)

    @cache
    def before(model: str) -> float | None:
        return general_loss(_on_device(load_family(model, config.family, hub=config.data.hub)))

    for checkpoint in checkpoints:
        own = config.of(checkpoint.arm)
        family = _on_device(load_family(checkpoint.model, own.family, hub=config.data.hub))
        file = folder / f"{checkpoint.name}.json"
        identity = {
            "arm": checkpoint.arm,
            "seed": checkpoint.seed,
            "step": checkpoint.step,
            "weights_sha256": weights_sha256(family.loaded.model),
            "settings": json.loads(json.dumps(dataclasses.asdict(settings))),
            "examples": fingerprint(
                [dataclasses.asdict(config.data), own.train.input_length, own.train.target_length]
            ),
        }
        done = _agrees(file, identity)
        on_start(checkpoint, done)
        if done:
            continue
        sets = measure(family, own, data, settings)
        after = general_loss(family) if settings.general else None
        if after is not None and (first := before(own.model)) is not None:
            rise = {FORGETTING.name: _plain(forgotten(first, after))}
            sets[GENERAL] = {"examples": 0, "outcomes": rise, "bins": None}
        write_json(file, identity | {"sets": sets})


def _on_device(family: Family) -> Family:
    family.loaded.model.to(processes().device)
    return family


def measure(
    family: Family, config: RunConfig, data: ExperimentData, settings: OutcomeSettings
) -> dict[str, Any]:
    """Measures one model.

    Args:
        family: The model.
        config: The run's settings.
        data: All examples.
        settings: What to measure.

    Returns:
        Evaluation set -> `outcomes`, by name, and the `bins` of its calibration where the answers are labels.
    """
    found: dict[str, Any] = {}
    chosen = {name: examples[: settings.examples] for name, examples in data.evaluation.items()}
    labels = {
        name: task.labels(data.train[task.name]) if task.name in data.train else task.labels(chosen[name])
        for name, task in data.scorers.items()
    }
    for name, examples in chosen.items():
        outcomes, bins = _likelihood(family, config, data.scorers[name], examples, labels[name], settings)
        found[name] = {"examples": len(examples), "outcomes": outcomes, "bins": bins}
    for rounding in (one for one in ROUNDINGS if one.name in settings.rounding):
        with rounded_weights(family.loaded.model, rounding):
            scored = evaluate_sets(
                family,
                data.scorers,
                chosen,
                input_length=config.train.input_length,
                target_length=config.train.target_length,
                batch_size=settings.batch_size,
                labels=labels,
            )
            for name, examples in chosen.items():
                outcomes, _ = _likelihood(
                    family, config, data.scorers[name], examples, labels[name], settings
                )
                for outcome, value in {**scored[name].metrics, **outcomes}.items():
                    found[name]["outcomes"][f"{outcome} after {rounding.name}"] = _plain(value)
    return found


def _likelihood(
    family: Family,
    config: RunConfig,
    task: Task,
    examples: Sequence[Example],
    labels: Sequence[str],
    settings: OutcomeSettings,
) -> tuple[dict[str, Any], list[dict[str, Any]] | None]:
    """Measures the likelihood of the right answers: among the labels where there are some, else alone."""
    lengths = family.lengths(
        config.train.input_length or task.input_length, config.train.target_length or task.target_length
    )
    targets = [example.targets for example in examples]
    among = 1 < len(labels) <= MOST_LABELS and set(targets) <= set(labels)
    answers: list[Sequence[str]] = [labels] * len(targets) if among else [[target] for target in targets]
    try:
        found = family.likelihoods(
            [example.inputs for example in examples],
            answers,
            input_length=lengths[0],
            target_length=lengths[1],
            batch_size=settings.batch_size,
        )
    except UserError:  # a model that gives numbers has no likelihoods; its scores are measured all the same
        return {}, None
    tokens = _tokens(family, labels if among else targets, lengths[1])
    if among:
        numbers = [list(labels).index(target) for target in targets]
        measured, calibration = measure_labels(found, numbers, tokens)
        bins = [
            {name: _plain(value) for name, value in dataclasses.asdict(one).items()}
            for one in calibration.bins
        ]
        return {name: _plain(value) for name, value in measured.items()}, bins
    of_right = [row[0] for row in found]
    outcomes = {ANSWER_LOSS.name: _plain(answer_loss(of_right))}
    if tokens is not None:
        outcomes[TOKEN_LOSS.name] = _plain(token_loss(of_right, tokens))
    return outcomes, None


def _tokens(family: Family, texts: Sequence[str], length: int) -> list[int] | None:
    """Counts the tokens of answers, the end included; `None` for a model that writes none."""
    if not isinstance(family, Writer):
        return None
    return [len(ids) for ids in family.encode_targets(list(texts), length)[0]]


def _plain(value: float | int) -> float | int | None:
    """Gives a number as JSON can hold it: nan and infinity become null."""
    return value if math.isfinite(value) else None


def _agrees(file: Path, identity: Mapping[str, Any]) -> bool:
    """Tells whether a file holds the outcomes of the same weights by the same settings."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return "sets" in found and all(found[name] == value for name, value in identity.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False
