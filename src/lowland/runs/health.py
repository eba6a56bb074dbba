"""What goes wrong in a run, said once: on the terminal at once, and in the run's status for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lowland.config.experiment import RunConfig
from lowland.report.formats import plain
from lowland.report.runs import read_log
from lowland.runs.directory import RunDirectory
from lowland.sam.plateau import HELD, PlateauWatch
from lowland.tasks.base import Example
from lowland.train.log import StepReport

FAR_BELOW = 0.5
"""Of rho; a measured radius below this means that much of the perturbation never reached the weights."""

FEW = 10
"""Fewer predictions than this may well be the same by chance."""


class Health:
    """Reads a run's log and predictions, anew after an interruption, and says what is wrong in them."""

    def __init__(self, directory: RunDirectory, config: RunConfig, on_note: Callable[[str], None]) -> None:
        self._on_note, self._directory = on_note, directory
        self._train, self._sam = config.train, config.sam
        self._inactive = False
        number = self._sam.ascent_examples
        share = self._sam.ascent if number is None else min(1.0, number / self._train.batch_size)
        self._plateau = PlateauWatch(share if self._sam.direction == "ascent" else 0.0)

    def read_again(self) -> None:
        """Reads the log of a run that goes on."""
        sam = {line["step"]: line for line in read_log(self._directory.path / "sam.jsonl")}
        for line in read_log(self._directory.path / "train.jsonl"):
            self._read(StepReport(**{"seconds": 0.0, **line, **sam.get(line["step"], {})}))

    def on_log(self, report: StepReport) -> None:
        """Reads a line of the log."""
        self.say(self._read(report))

    def on_predictions(self, name: str, examples: Sequence[Example], predictions: Sequence[str]) -> None:
        """Looks whether a model writes the same for all examples of a set, though their targets differ."""
        different = {example.targets for example in examples}
        if len(predictions) >= FEW and len(different) > 1 and len(set(predictions)) == 1:
            shown = repr(plain(predictions[0])[:40]) if plain(predictions[0]) else "nothing"
            number = len(predictions)
            self.say([f"{name}: the model writes {shown} for all {number} examples, whose targets differ."])

    def on_end(self, skipped: Sequence[int]) -> None:
        """Takes the steps whose updates were left out."""
        if skipped:
            many = (
                f"{len(skipped)} of {self._train.steps} updates were left out, the first at step {skipped[0]}"
            )
            self.say([f"{many}, because the loss or the gradient was not finite."])

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
        found = []
        rho, radius = self._sam.rho, report.radius
        # A rho that follows the rise of the loss is lowered where it is to be lower.
        known = self._inactive or self._sam.rise is not None
        if not known and radius is not None and radius < FAR_BELOW * rho:
            self._inactive = True
            why = "the direction of its ascent examples was zero or not finite"
            if radius:
                why = "the weights' type is too coarse for so small a step"
            found.append(
                f"SAM was inactive at step {report.step}: of rho={rho:g} only {radius:.3g} reached the "
                f"weights, because {why}."
            )
        loss = report.loss if report.ascent_loss is None else report.ascent_loss
        if loss is not None and report.cosine is not None and self._plateau(loss, report.cosine):
            since = f"By step {report.step} the loss has not fallen since SAM began (now {loss:.3g})."
            found.append(f"{HELD} {since}")
        return found
