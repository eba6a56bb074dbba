"""What a user takes home: the best run's model as an ordinary transformers directory, with its card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from transformers import PreTrainedConfig

from lowland.config.arms import describe
from lowland.config.experiment import ExperimentConfig
from lowland.families.adapters import merge
from lowland.families.base import Family
from lowland.families.recognise import family_of, load_family
from lowland.files import DamagedError, aside_of, check_sums, put_in_place, remove, write_sums
from lowland.models import save_model
from lowland.report.formats import escape_markdown
from lowland.report.runs import Run, read_experiment
from lowland.runs.examples import ExperimentData
from lowland.runs.run import mean_score
from lowland.runs.usage import Usage
from lowland.version import __version__


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A kept checkpoint.

    Attributes:
        arm: Its arm.
        seed: Its seed.
        step: Its step.
        checkpoint: Its directory.
        score: What it is chosen by.
        scores: Evaluation set -> metric -> value, of this checkpoint.
    """

    arm: str
    seed: int
    step: int
    checkpoint: Path
    score: float
    scores: Mapping[str, Mapping[str, float]]


def export_best(
    config: ExperimentConfig,
    path: Path,
    data: ExperimentData,
    on_note: Callable[[str], None],
    headline: str = "",
) -> Path | None:
    """Copies the best kept checkpoint to `model/` in the experiment's directory.

    Best means the highest mean score on held-out training examples; where none were held out, the
    checkpoint of the last step of the run whose evaluation score is highest, and the card says so.

    Args:
        config: The experiment.
        path: Its directory.
        data: All examples.
        on_note: Is told of checkpoints that are damaged; the next best one is taken then.
        headline: How the arms compare, for the card; without times, which no two runs share.

    Returns:
        The directory, or `None` if no run left a checkpoint.
    """
    runs = {(run.arm, run.seed): run for run in read_experiment(path).runs}
    chosen = [runs[arm, seed] for seed in config.seeds for arm in config.arms]
    # A seed whose held-out examples cannot tell has none: then all runs are compared in the other way.
    held_out = all(
        any(evaluation.split == "held_out" for evaluation in run.evaluations)
        for run in chosen
        if run.state == "done"
    )
    candidates = [candidate for run in chosen for candidate in _candidates(path, run, data, held_out)]
    for best in sorted(candidates, key=lambda candidate: -candidate.score):
        try:
            check_sums(best.checkpoint)
        except DamagedError as error:
            on_note(f"A checkpoint is damaged and is not used: {error}")
            continue
        return _export(best, path / "model", config, data, held_out, headline)
    return None


def _export(
    best: Candidate,
    target: Path,
    config: ExperimentConfig,
    data: ExperimentData,
    held_out: bool,
    headline: str,
) -> Path:
    """Copies a checkpoint, with all that the model's user needs."""
    aside = aside_of(target)
    try:
        own = config.of(best.arm)
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
            _card(config, data, best, held_out, family, model_config, headline), encoding="utf-8"
        )
        put_in_place(aside, target)
    finally:
        remove(aside)
    return target


def _candidates(path: Path, run: Run, data: ExperimentData, held_out: bool) -> list[Candidate]:
    if run.state != "done":
        return []
    found: list[Candidate] = []
    for checkpoint in sorted((path / f"{run.arm}-seed{run.seed}" / "checkpoints").glob("step-*")):
        step = int(checkpoint.name.removeprefix("step-"))
        scores = _scores(run, list(data.evaluation), "evaluation", step)
        chosen_by = _scores(run, list(data.tasks), "held_out", step) if held_out else scores
        if chosen_by:
            found.append(
                Candidate(
                    arm=run.arm,
                    seed=run.seed,
                    step=step,
                    checkpoint=checkpoint,
                    score=mean_score(chosen_by),
                    scores=scores,
                )
            )
    return found


def _scores(run: Run, names: list[str], split: str, step: int) -> dict[str, Mapping[str, float]]:
    """Finds a run's scores of one step."""
    scores = {e.name: e.metrics for e in run.evaluations if (e.split, e.step) == (split, step)}
    return {name: scores[name] for name in names if name in scores}


def _card(
    config: ExperimentConfig,
    data: ExperimentData,
    best: Candidate,
    held_out: bool,
    family: type[Family],
    model_config: PreTrainedConfig,
    headline: str,
) -> str:
    """Writes the model card."""
    own = config.of(best.arm)
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
        "highest mean score on training examples that were held out"
        if held_out
        else "highest evaluation score among the runs' last steps (nothing was held out: optimistic)"
    )
    return f"""---
library_name: transformers
pipeline_tag: {family.pipeline}
tags: [lowland, sharpness-aware-minimization]
---

# {escape_markdown(", ".join(data.tasks))}, fine-tuned from {escape_markdown(own.model)}

Fine-tuned with lowland {__version__} by {how}.
Arm {escape_markdown(best.arm)}, seed {best.seed}, step {best.step} of {config.train.steps}.
Chosen among all arms, seeds and kept checkpoints of its experiment by: {chosen}.

    from transformers import {family.auto_class}, AutoTokenizer
    model = {family.auto_class}.from_pretrained("this directory"{options})
    tokenizer = AutoTokenizer.from_pretrained("this directory")

Or, for a file of new rows: `lowland predict --model "this directory" --input FILE`

## Scores on the evaluation sets

| evaluation set | metric | score |
|---|---|---|
{rows}
| average | | {average:.2f} |

{_arms(config, headline)}## Data

{_data(config, data)}

## Settings

    {own.to_toml().strip().replace(chr(10), chr(10) + "    ")}
"""


def _arms(config: ExperimentConfig, headline: str) -> str:
    """Says what was compared, and how it came out."""
    if len(config.arms) < 2:
        return ""
    lines = [
        f"- {escape_markdown(arm)}: {escape_markdown(describe(changed) or 'as the settings below')}"
        for arm, changed in config.arms.items()
    ]
    return "\n".join(["## Arms of the comparison", "", *lines, "", escape_markdown(headline), "", ""])


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
