"""What a user takes home: a model of the arm to use as an ordinary transformers directory, with its card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lowland.config.experiment import ExperimentConfig
from lowland.families.adapters import merge
from lowland.families.recognise import family_of, load_family
from lowland.files import DamagedError, aside_of, check_sums, put_in_place, remove, write_sums
from lowland.models.save import save_model
from lowland.report.formats import escape_markdown
from lowland.report.result import Report
from lowland.report.runs import Run, Sets
from lowland.report.selection import mean_score
from lowland.runs.directory import RunDirectory, step_of
from lowland.runs.examples import ExperimentData
from lowland.runs.predict import Usage
from lowland.version import __version__


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A kept checkpoint."""

    run: Run
    step: int
    checkpoint: Path
    held_out: float | None  # the mean score on held-out training examples, where there were any
    scores: Sets


def export_best(
    config: ExperimentConfig, path: Path, data: ExperimentData, on_note: Callable[[str], None], report: Report
) -> None:
    """Copies a checkpoint of the arm to use to `model/` in the experiment's directory.

    The arm follows the verdict: the reference, unless another is better. Within the arm the checkpoint is the
    one that is best on held-out training examples, which are the same for all seeds. Where none were held out
    it is the last step of the run whose evaluation score is the middle one: the best one would be chosen on
    the examples that it is reported on. Damaged checkpoints are noted, and the next one is taken.
    """
    # Where the arm left no usable checkpoint, one of another is better than none.
    for arm in sorted(config.arms, key=lambda arm: arm != report.recommended):
        found = [
            candidate
            for run in report.comparison.experiment.runs
            if run.arm == arm and run.state == "done"
            for checkpoint in RunDirectory(path, arm, run.seed).checkpoints()
            if (candidate := _candidate(run, checkpoint, data)).scores
        ]
        for best in _in_order(found, config.train.steps):
            try:
                check_sums(best.checkpoint)
            except DamagedError as error:
                on_note(f"A checkpoint is damaged and is not used: {error}")
                continue
            _export(best, path / "model", config, data, report)
            return


def _candidate(run: Run, checkpoint: Path, data: ExperimentData) -> Candidate:
    step = step_of(checkpoint)
    held_out = run.evaluated("held_out").get(step, {})
    scores = run.evaluated("evaluation").get(step, {})
    return Candidate(
        run=run,
        step=step,
        checkpoint=checkpoint,
        held_out=mean_score(held_out) if held_out else None,
        scores={name: scores[name] for name in data.evaluation if name in scores},
    )


def _in_order(candidates: Sequence[Candidate], last: int) -> list[Candidate]:
    """Orders an arm's checkpoints, the one to use first."""
    if all(one.held_out is not None for one in candidates):
        return sorted(candidates, key=lambda one: -(one.held_out or 0.0))
    steps = [one for one in candidates if one.step == last]
    ranked = sorted(steps, key=lambda one: mean_score(one.scores))
    middle = (len(ranked) - 1) // 2  # of an even number the lower one
    return ranked[middle:] + ranked[:middle][::-1]


def _export(
    best: Candidate, target: Path, config: ExperimentConfig, data: ExperimentData, report: Report
) -> None:
    """Copies a checkpoint, with all that the model's user needs."""
    own, custom, aside = config.of(best.run.arm), config.data.custom, aside_of(target)
    labels = [label for name, task in data.tasks.items() for label in task.labels(data.train.get(name, ()))]
    usage = Usage(
        tasks=tuple(data.tasks),
        template=custom.input if custom is not None else None,
        positive=custom.positive if custom is not None else None,
        input_length=config.train.input_length,
        target_length=config.train.target_length,
        labels=tuple(dict.fromkeys(labels)),
        family=own.to_dict().get("family", {}),
    )
    try:
        if own.merge:
            trained = load_family(str(best.checkpoint), own.family, hub=config.data.hub)
            save_model(merge(trained.loaded), aside)
        else:
            shutil.copytree(best.checkpoint, aside)
        usage.write(aside)
        write_sums(aside)
        # Without a checksum: it is there to be edited.
        card = _card(best, config, data, report)
        (aside / "README.md").write_text(card, encoding="utf-8")
        put_in_place(aside, target)
    finally:
        remove(aside)


def _card(best: Candidate, config: ExperimentConfig, data: ExperimentData, report: Report) -> str:
    """Writes the model card."""
    own = config.of(best.run.arm)
    family, model_config = family_of(str(best.checkpoint), own.family.name, config.data.hub)
    options = ""
    if own.lora is not None and not own.merge and model_config.problem_type is not None:
        options = f", num_labels={model_config.num_labels}"  # the base knows nothing of the head
    example = next(iter(data.train.values()))[0]
    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    page.filters["md"] = escape_markdown
    return page.get_template("card.md.j2").render(
        family=family,
        data=data,
        own=own,
        version=__version__,
        best=best,
        config=config,
        options=options,
        average=mean_score(best.scores),
        answer=" ".join(report.answer),
        example=[repr(text[:300]) for text in (example.inputs, example.targets)],
    )
