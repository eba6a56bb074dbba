"""What goes wrong in a run, said once: on the terminal at once, and in the run's status for the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lowland.config.experiment import RunConfig
from lowland.report.formats import plain
from lowland.runs.directory import RunDirectory
from lowland.sam.plateau import HELD, PlateauWatch
from lowland.tasks.base import Example
from lowland.train import StepReport

PATIENCE = 3
"""Lines of the log in a row before a loss is called exploded."""

EXPLODED = 2.0
"""Times the lowest loss so far, and above the first one, that an exploded loss is at least."""

FAR_BELOW = 0.5
"""Of rho; a measured radius below this means that much of the perturbation never reached the weights."""

FEW = 10
"""Fewer predictions than this may well be the same by chance."""

MOST_SHOWN = 40
"""Characters of a prediction that are shown."""


class Health:
    """Reads a run's log and predictions, and says what is wrong.

    What it says of the log depends on its lines alone, so that an interrupted run, which reads its log again,
    says the same.

    Args:
        directory: The run.
        config: Its settings.
        on_note: Is told at once.
    """

    def __init__(self, directory: RunDirectory, config: RunConfig, on_note: Callable[[str], None]) -> None:
        self._directory = directory
        self._train, self._sam = config.train, config.sam
        self._on_note = on_note
        self._losses: list[tuple[float, int]] = []  # with their steps: the first one, and the lowest so far
        self._high = 0
        self._said: set[str] = set()
        number = self._sam.ascent_examples
        share = self._sam.ascent if number is None else min(1.0, number / self._train.batch_size)
        self._plateau = PlateauWatch(share if self._sam.direction == "ascent" else 0.0)

    def begin(self) -> None:
        """Begins with what the settings tell, and with the log of a run that goes on."""
        sam = {line["step"]: line for line in _lines(self._directory.path / "sam.jsonl")}
        for line in _lines(self._directory.path / "train.jsonl"):
            self._read(StepReport(**{"seconds": 0.0, **line, **sam.get(line["step"], {})}))
        train = self._train
        if train.warmup_steps >= train.steps:
            self._directory.warn(
                [
                    f"The learning rate never reaches {train.learning_rate:g}: its warm-up of "
                    f"{train.warmup_steps} steps is as long as the training or longer."
                ]
            )

    def on_log(self, report: StepReport) -> None:
        """Reads a line of the log."""
        self.say(self._read(report))

    def on_predictions(
        self, name: str, step: int, examples: Sequence[Example], predictions: Sequence[str]
    ) -> None:
        """Looks whether a model writes the same for all examples of a set, though their targets differ."""
        different = {example.targets for example in examples}
        if len(predictions) < FEW or len(different) < 2 or len(set(predictions)) > 1:
            return
        text = plain(predictions[0])
        shown = repr(text[:MOST_SHOWN]) + (" ..." if len(text) > MOST_SHOWN else "")
        sentence = (
            f"{name}: at step {step} the model writes {shown if text else 'nothing'} for all "
            f"{len(predictions)} examples, whose targets differ."
        )
        if step == self._train.steps:
            self.say([sentence])
        elif name not in self._said:  # early in a training that is no cause for alarm
            self._on_note(sentence)
        self._said.add(name)

    def end(self, skipped: Sequence[int]) -> None:
        """Ends with the number of updates that were left out."""
        if skipped:
            self.say(
                [
                    f"{len(skipped)} of {self._train.steps} updates were left out, the first at step "
                    f"{skipped[0]}, because the loss or the gradient was not finite."
                ]
            )

    def say(self, sentences: Sequence[str]) -> None:
        """Says what was not said before."""
        known = self._directory.live_status.get("warnings", ())
        new = [sentence for sentence in sentences if sentence not in known]
        if new:
            self._directory.warn(new)
        for sentence in new:
            self._on_note(f"Warning: {sentence}")

    def _read(self, report: StepReport) -> list[str]:
        """Reads a line of the log; returns what it tells for the first time."""
        checks = (self._explosion, self._rate, self._radius, self._no_progress)
        found = {check.__name__: check(report) for check in checks}
        new = {kind: sentence for kind, sentence in found.items() if sentence and kind not in self._said}
        self._said |= set(new)
        return list(new.values())

    def _explosion(self, report: StepReport) -> str | None:
        if report.loss is None:
            return None
        here = (report.loss, report.step)
        first, lowest = self._losses or (here, here)
        self._losses = [first, min(lowest, here)]
        self._high = self._high + 1 if report.loss > max(first[0], EXPLODED * lowest[0]) else 0
        if self._high < PATIENCE:
            return None
        other = " or rho" if self._sam.rho else ""
        return (
            f"The loss exploded: it is {report.loss:.3g} at step {report.step} and was {lowest[0]:.3g} at "
            f"step {lowest[1]}; lower the learning rate{other}, or clip the gradient."
        )

    def _rate(self, report: StepReport) -> str | None:
        # The first step of a warm-up is at 0, which is as it should be.
        if report.learning_rate > 0 or report.step == 1:
            return None
        return f"The learning rate is 0 at step {report.step}: nothing is learnt there."

    def _radius(self, report: StepReport) -> str | None:
        if self._sam.rho == 0 or self._sam.rise is not None:  # which lowers rho where it is to be lower
            return None
        if report.radius is None or report.radius >= FAR_BELOW * self._sam.rho:
            return None
        why = (
            "the weights' type is too coarse for so small a step"
            if report.radius
            else "the direction of its ascent examples was zero or not finite"
        )
        return (
            f"SAM was inactive at step {report.step}: of rho={self._sam.rho:g} only {report.radius:.3g} "
            f"reached the weights, because {why}."
        )

    def _no_progress(self, report: StepReport) -> str | None:
        loss = report.loss if report.ascent_loss is None else report.ascent_loss
        if loss is None or report.cosine is None or not self._plateau(loss, report.cosine):
            return None
        return f"{HELD} By step {report.step} the loss has not fallen since SAM began (now {loss:.3g})."


def _lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]
