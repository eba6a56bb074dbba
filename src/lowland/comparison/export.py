"""What a user takes home: a model of the arm to use as an ordinary transformers directory, with its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from transformers import PreTrainedConfig

from lowland.config.arms import describe
from lowland.config.experiment import ExperimentConfig, RunConfig
from lowland.families.adapters import merge
from lowland.families.base import Family
from lowland.families.recognise import family_of, load_family
from lowland.files import DamagedError, aside_of, check_sums, put_in_place, remove, write_sums
from lowland.models import save_model
from lowland.report.formats import escape_markdown
from lowland.report.result import Report
from lowland.report.runs import Run
from lowland.report.selection import average
from lowland.report.words import count, spread
from lowland.runs.directory import RunDirectory, step_of
from lowland.runs.examples import ExperimentData
from lowland.runs.run import mean_score
from lowland.runs.usage import Usage
from lowland.statistics import summarize
from lowland.version import __version__


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A kept checkpoint.

    Attributes:
        run: Its run.
        step: Its step.
        checkpoint: Its directory.
        held_out: Its mean score on held-out training examples; `None` where there were none.
        scores: Evaluation set -> metric -> value, of this checkpoint.
    """

    run: Run
    step: int
    checkpoint: Path
    held_out: float | None
    scores: Mapping[str, Mapping[str, float]]


def export_best(
    config: ExperimentConfig,
    path: Path,
    data: ExperimentData,
    on_note: Callable[[str], None],
    report: Report,
) -> Path | None:
    """Copies a checkpoint of the arm to use to `model/` in the experiment's directory.

    The arm follows the verdict: the reference, unless another is better. Within the arm the checkpoint is the
    one that is best on held-out training examples, which are the same for all seeds. Where none were held out
    it is the last step of the run whose evaluation score is the middle one: the best one would be chosen on
    the examples that it is reported on.

    Args:
        config: The experiment.
        path: Its directory.
        data: All examples.
        on_note: Is told of checkpoints that are damaged; the next one is taken then.
        report: How the arms compare.

    Returns:
        The directory, or `None` if no run left a checkpoint.
    """
    runs = report.comparison.experiment.runs
    # Where the arm left no usable checkpoint, one of another is better than none.
    for arm in sorted(config.arms, key=lambda arm: arm != report.recommended):
        done = [run for run in runs if run.arm == arm and run.state == "done"]
        found = [one for run in done for one in _candidates(path, run, data)]
        for best in _in_order(found, config.train.steps):
            try:
                check_sums(best.checkpoint)
            except DamagedError as error:
                on_note(f"A checkpoint is damaged and is not used: {error}")
                continue
            return _export(best, path / "model", config, data, report)
    return None


def _candidates(path: Path, run: Run, data: ExperimentData) -> list[Candidate]:
    found = []
    for checkpoint in RunDirectory(path, run.arm, run.seed).checkpoints():
        step = step_of(checkpoint)
        held_out = _scores(run, list(data.tasks), "held_out", step)
        found.append(
            Candidate(
                run=run,
                step=step,
                checkpoint=checkpoint,
                held_out=mean_score(held_out) if held_out else None,
                scores=_scores(run, list(data.evaluation), "evaluation", step),
            )
        )
    return [one for one in found if one.scores]


def _in_order(candidates: Sequence[Candidate], last: int) -> list[Candidate]:
    """Orders an arm's checkpoints, the one to use first."""
    if all(one.held_out is not None for one in candidates):
        return sorted(candidates, key=lambda one: -(one.held_out or 0.0))
    steps = [one for one in candidates if one.step == last]
    ranked = sorted(steps, key=lambda one: mean_score(one.scores))
    middle = len(ranked) // 2
    return ranked[middle:] + ranked[:middle][::-1]


def _scores(run: Run, names: list[str], split: str, step: int) -> dict[str, Mapping[str, float]]:
    """Finds a run's scores of one step."""
    scores = {e.name: e.metrics for e in run.evaluations if (e.split, e.step) == (split, step)}
    return {name: scores[name] for name in names if name in scores}


def _export(
    best: Candidate,
    target: Path,
    config: ExperimentConfig,
    data: ExperimentData,
    report: Report,
) -> Path:
    """Copies a checkpoint, with all that the model's user needs."""
    aside = aside_of(target)
    try:
        own = config.of(best.run.arm)
        family, model_config = family_of(str(best.checkpoint), own.family.name, config.data.hub)
        if own.merge:
            trained = load_family(str(best.checkpoint), own.family, hub=config.data.hub)
            save_model(merge(trained.loaded), aside)
        else:
            shutil.copytree(best.checkpoint, aside)
        usage = Usage(
            tasks=tuple(data.tasks),
            template=config.data.custom.input if config.data.custom is not None else None,
            positive=config.data.custom.positive if config.data.custom is not None else None,
            input_length=config.train.input_length,
            target_length=config.train.target_length,
            labels=tuple(
                dict.fromkeys(
                    label
                    for name, task in data.tasks.items()
                    for label in task.labels(data.train.get(name, ()))
                )
            ),
            family=own.to_dict().get("family", {}),
        )
        usage.write(aside)
        write_sums(aside)
        # Without a checksum: it is there to be edited.
        (aside / "README.md").write_text(
            _card(config, data, best, family, model_config, report, target.parent), encoding="utf-8"
        )
        put_in_place(aside, target)
    finally:
        remove(aside)
    return target


def _card(
    config: ExperimentConfig,
    data: ExperimentData,
    best: Candidate,
    family: type[Family],
    model_config: PreTrainedConfig,
    report: Report,
    path: Path,
) -> str:
    """Writes the model card."""
    own = config.of(best.run.arm)
    how = "Sharpness-Aware Minimization (SAM)" if own.sam.rho else "training without SAM"
    rows = "\n".join(
        f"| {escape_markdown(name)} | {escape_markdown(metric)} | {value:.2f} |"
        for name, metrics in best.scores.items()
        for metric, value in metrics.items()
    )
    average = fmean(fmean(metrics.values()) for metrics in best.scores.values())
    options = ""
    if own.lora is not None and not own.merge and model_config.problem_type is not None:
        options = f", num_labels={model_config.num_labels}"  # the base knows nothing of the head
    chosen = (
        "the highest mean score on training examples that were held out, the same for all seeds"
        if best.held_out is not None
        else "the middle one of its seeds by evaluation score, at the last step; nothing was held out"
    )
    return f"""---
library_name: transformers
pipeline_tag: {family.pipeline}
tags: [lowland, sharpness-aware-minimization]
---

# {escape_markdown(", ".join(data.tasks))}, fine-tuned from {escape_markdown(own.model)}

Fine-tuned with lowland {__version__} by {how}.
Arm {escape_markdown(best.run.arm)}, seed {best.run.seed}, step {best.step} of {config.train.steps}.
Chosen among the arm's seeds and kept checkpoints: {chosen}.

    from transformers import {family.auto_class}, AutoTokenizer
    model = {family.auto_class}.from_pretrained("this directory"{options})
    tokenizer = AutoTokenizer.from_pretrained("this directory")

Or, for a file of new rows: `lowland predict --model "this directory" --input FILE`

## Scores on the evaluation sets

| evaluation set | metric | score |
|---|---|---|
{rows}
| average | | {average:.2f} |

{_arms(config, best, report)}## Data

{_data(config, data)}

## Settings
{_radius(path, best, own)}
    {own.to_toml().strip().replace(chr(10), chr(10) + "    ")}
"""


def _radius(path: Path, best: Candidate, own: RunConfig) -> str:
    """Says which radius was found, where it followed the rise of the loss."""
    file = path / f"{best.run.arm}-seed{best.run.seed}" / "sam.jsonl"
    if own.sam.rise is None or not file.exists():
        return ""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    radii = [line["radius"] for line in lines if line["step"] <= best.step and line["radius"]]
    return f"\nThe radius that was found: {radii[-1]:.3g} at the end.\n" if radii else ""


def _arms(config: ExperimentConfig, best: Candidate, report: Report) -> str:
    """Says what was compared, how it came out, and how this model compares with the runs."""
    scored = report.comparison.scored[0] if report.comparison.scored else None
    if scored is None or sum(map(len, scored.runs.values())) < 2:
        return ""
    lines = []
    metrics = report.comparison.experiment.metrics
    for arm, changed in config.arms.items():
        averages = [average(scores, metrics) for scores in scored.runs.get(arm, {}).values()]
        what = escape_markdown(describe(changed) or "as the settings below")
        seeds = count(len(averages), "run")
        lines.append(f"- {escape_markdown(arm)}: {what}; average of {seeds}: {spread(summarize(averages))}")
    lines.append(f"- this model: {mean_score(best.scores):.1f}")
    answer = escape_markdown(" ".join(report.answer))
    head = f"## Runs of the comparison, {scored.selection.label}"
    return "\n".join([head, "", *lines, "", *([answer, ""] if answer else []), ""])


def _data(config: ExperimentConfig, data: ExperimentData) -> str:
    lines = [f"- {name}: {len(examples)} training examples" for name, examples in data.train.items()]
    lines += [f"- {name}: {len(examples)} evaluation examples" for name, examples in data.evaluation.items()]
    if config.data.fraction < 1:
        lines.append(f"- of the training examples {100 * config.data.fraction:g}% were used")
    example = next(iter(data.train.values()))[0]
    lines.append("")
    lines.append("An example of an input and its target:")
    lines.append("")
    lines.append(f"    {example.inputs[:300]!r}")
    lines.append(f"    {example.targets[:300]!r}")
    return "\n".join(lines)
