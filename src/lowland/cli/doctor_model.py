"""A checkpoint before it is trained: how it loads, and what a step of it needs on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lowland.cli.console import quiet_libraries
from lowland.cli.plan import sizes
from lowland.errors import UserError
from lowland.report.words import gigabytes

SAMPLE = "What is the capital of France?"
ROWS = "text,label\n" + f"{SAMPLE},question\nIt is Paris.,answer\n" * 200
"""Rows on which every family trains whose vocabulary has their words."""


def look_at_model(name: str, hub: bool) -> Iterator[tuple[str, str, str]]:
    """Loads a model as training does, and plans a comparison on short texts.

    Returns:
        Level, topic and text of each line.
    """
    quiet_libraries()
    with TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.csv"
        rows.write_text(ROWS, encoding="utf-8")
        own = {"custom": {"train": str(rows), "split": 0.5, "input": "{text}", "target": "{label}"}}
        try:
            yield from _load(name, {**own, "hub": hub})
        except UserError as error:
            yield "problem", "model", str(error)
            return
        for data in (own, {"tasks": ["facts/capitals"]}):  # which has no labels to tell apart
            try:
                yield from _plan(name, {**data, "hub": hub})
                return
            except UserError as error:
                sentence = str(error)
        yield "note", "training", sentence


def _load(name: str, data: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    from lowland.config.experiment import build_config
    from lowland.models.head import has_separate_head, is_t5
    from lowland.runs.examples import load_data
    from lowland.runs.prepared import start_model

    config = build_config({"model": name, "data": data})
    family = start_model(config.of(config.reference), load_data(config.data), 0)
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


def _plan(name: str, data: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    from lowland.config.experiment import build_config
    from lowland.planning.plan import plan_experiment, refuse_oversized
    from lowland.planning.remaining import sam_passes

    config = build_config({"model": name, "data": data})
    plan = plan_experiment(config)
    yield "ok", "memory", f"{sizes(plan.memory)}; {gigabytes(plan.available)} free"
    if plan.step_seconds is not None:
        steps = f"a step of {config.train.batch_size} short examples"
        times = f"SAM {sam_passes(config):.3g} times that"
        yield "ok", "time", f"{plan.step_seconds:.2g} s {steps}, {times}"
    try:
        refuse_oversized(plan, Path.cwd())
    except UserError as error:
        yield "problem", "size", str(error)
