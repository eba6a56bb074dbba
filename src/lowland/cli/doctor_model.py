"""A checkpoint before it is trained: how it loads, and what a step of it needs on this machine."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lowland.cli.console import quiet_libraries
from lowland.cli.doctor import Findings
from lowland.cli.plan import sizes
from lowland.config.experiment import ExperimentConfig, build_config
from lowland.errors import UserError
from lowland.report.words import gigabytes

if TYPE_CHECKING:
    from lowland.families.base import Family
    from lowland.runs.examples import ExperimentData

SAMPLE = "What is the capital of France?"
ROWS = "text,label\n" + f"{SAMPLE},question\nIt is Paris.,answer\n" * 200
"""Rows on which every family trains whose vocabulary has their words."""


def look_at_model(name: str, hub: bool) -> Findings:
    """Loads a model as training does, and plans a comparison on short texts."""
    quiet_libraries()
    try:
        config, data, family = _load(name, hub)
    except UserError as error:
        yield "problem", "model", str(error)
        return
    yield from _describe(name, family)
    plans: list[tuple[ExperimentConfig, ExperimentData | None]] = [(config, data)]
    if family.writes:  # answers to questions are no labels, which a vocabulary must tell apart
        plans.append((build_config({"model": name, "data": {"tasks": ["facts/capitals"], "hub": hub}}), None))
    for planned, examples in plans:
        try:
            yield from _plan(planned, examples, family)
            return
        except UserError as error:
            sentence = str(error)
    yield "note", "training", sentence


def _load(name: str, hub: bool) -> tuple[ExperimentConfig, ExperimentData, Family]:
    from lowland.runs.examples import load_data
    from lowland.runs.prepared import start_model

    with TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.csv"
        rows.write_text(ROWS, encoding="utf-8")
        own = {"train": str(rows), "split": 0.5, "input": "{text}", "target": "{label}"}
        config = build_config({"model": name, "data": {"custom": own, "hub": hub}})
        data = load_data(config.data)
    return config, data, start_model(config.of(config.reference), data, config.seeds[0])


def _describe(name: str, family: Family) -> Findings:
    from lowland.models.head import has_separate_head, is_t5

    model, tokenizer = family.loaded.model, family.loaded.tokenizer
    weights = sum(parameter.numel() for parameter in model.parameters())
    kind = f"{model.config.model_type} ({family.name})"
    yield "ok", "model", f"{name}: {kind}, {weights / 1e6:.1f} million weights"
    back = tokenizer.decode(tokenizer(SAMPLE)["input_ids"], skip_special_tokens=True)
    same = " ".join(str(back).split()) == SAMPLE
    lost = "" if same else f"; {SAMPLE!r} comes back as {back!r}"
    yield "ok" if same else "note", "tokenizer", f"{len(tokenizer):,} tokens{lost}"
    if is_t5(model):
        text = "apart from" if has_separate_head(model) else "the same as"
        yield "ok", "output matrix", f"{text} the token embeddings"
    for sentence in family.notes:
        yield "note", "", sentence


def _plan(config: ExperimentConfig, data: ExperimentData | None, family: Family) -> Findings:
    from lowland.planning.plan import plan_experiment, refuse_oversized
    from lowland.planning.remaining import sam_passes

    plan = plan_experiment(config, data, family)
    yield "ok", "memory", f"{sizes(plan.memory)}; {gigabytes(plan.available)} free"
    if plan.step_seconds is not None:
        steps = f"a step of {config.train.batch_size} short examples"
        times = f"SAM {sam_passes(config):.3g} times that"
        yield "ok", "time", f"{plan.step_seconds:.2g} s {steps}, {times}"
    try:
        refuse_oversized(plan, Path.cwd())
    except UserError as error:
        yield "problem", "size", str(error)
