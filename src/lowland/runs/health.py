"""What goes wrong in a run is said once: on the terminal at once, and in the run's status for the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from lowland.report.formats import plain
from lowland.runs.directory import RunDirectory
from lowland.tasks.base import Example
from lowland.train import StepReport, Watch

FEW = 10
"""Fewer predictions than this may well be the same by chance."""

MOST_SHOWN = 40
"""Characters of a prediction that are shown."""


class Health:
    """Tells of a run's troubles, each once.

    Args:
        directory: The run.
        watch: Reads its training log.
        steps: Its training steps.
        on_note: Is told at once.
    """

    def __init__(
        self, directory: RunDirectory, watch: Watch, steps: int, on_note: Callable[[str], None]
    ) -> None:
        self._directory = directory
        self._watch = watch
        self._steps = steps
        self._on_note = on_note
        self._constant: set[str] = set()

    def begin(self) -> None:
        """Begins with what the settings tell, and with the log of a run that goes on."""
        log, sam = self._directory.path / "train.jsonl", self._directory.path / "sam.jsonl"
        figures = {line["step"]: line for line in map(json.loads, _lines(sam))}
        for line in map(json.loads, _lines(log)):
            self._watch(StepReport(**{"seconds": 0.0, **line, **figures.get(line["step"], {})}))
        self._directory.warn(self._watch.beforehand())

    def on_log(self, report: StepReport) -> None:
        """Reads a line of the log."""
        self.say(self._watch(report))

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
        if step == self._steps:
            self.say([sentence])
        elif name not in self._constant:  # early in a training that is no cause for alarm
            self._on_note(sentence)
        self._constant.add(name)

    def end(self, skipped: Sequence[int]) -> None:
        """Ends with the number of updates that were left out."""
        self.say(self._watch.skipped(skipped))

    def say(self, sentences: Sequence[str]) -> None:
        """Says what was not said before."""
        known = self._directory.live_status.get("warnings", ())
        new = [sentence for sentence in sentences if sentence not in known]
        if new:
            self._directory.warn(new)
        for sentence in new:
            self._on_note(f"Warning: {sentence}")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
