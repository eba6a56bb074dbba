"""How a plan looks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING

from lowland.cli.console import print_facts, say
from lowland.config.arms import describe
from lowland.config.experiment import build_config
from lowland.errors import shorten
from lowland.report.formats import plain
from lowland.report.words import count, gigabytes, span
from lowland.sam.config import SAMConfig
from lowland.settings import changes
from lowland.tasks.custom import CustomTask

if TYPE_CHECKING:
    from lowland.config.experiment import ExperimentConfig
    from lowland.planning.plan import Plan
    from lowland.runs.examples import ExperimentData

MOST_CLASSES, MOST_TASKS, MOST_SHOWN = 12, 4, 120
"""Classes and tasks that are listed; characters of an input that are shown."""


def show_plan(plan: Plan, jobs: int, store: Path) -> None:
    """Prints what an experiment will do, `jobs` runs at a time; the store's runs tell what seeds can see."""
    from lowland.planning.power import spread_for
    from lowland.statistics import power

    config, data, parted = plan.config, plan.data, plan.parted
    train, runs = config.train, sum(plan.runs.values())
    trained, held_out = (sum(map(len, parts.values())) for parts in (parted.train, parted.held_out))
    tested = sum(map(len, data.evaluation.values()))
    arms_and_seeds = f"{count(len(config.arms), 'arm')}, {count(len(config.seeds), 'seed')}"
    steps = f"{train.steps:,} steps of {train.batch_size} examples"
    epochs = train.steps * train.batch_size / trained
    length = f"{plan.shape[0]} + {plan.shape[1]} tokens an example, padding included"
    chosen = {
        key: value for key, value in config.to_dict().items() if key in ("model", "data", "family", "lora")
    }
    by_model = build_config(chosen).train.learning_rate == train.learning_rate
    rate = f"{train.learning_rate:g}{' (the default of this model)' if by_model else ''}"
    facts = [
        ("model", f"{config.model}: {plan.parameters / 1e6:,.1f}M weights"),
        ("runs", f"{runs} ({arms_and_seeds}), each {steps}"),
        ("training", f"{train.optimizer} at {rate}"),
        *((f"arm {name}", _arm(config, name)) for name in config.arms),
        ("examples", f"{trained:,} for training, {length}; {epochs:,.{0 if epochs >= 10 else 2}f} epochs"),
        *_glance(data),
    ]
    if len(config.arms) > 1:
        seen = power(len(config.seeds), spread_for(config, store, tested)).sentence
        facts.insert(2, ("seeds", seen))
    if len(parted.rates) > 1:
        facts.append(("mixture", ", ".join(f"{name} {rate:.1%}" for name, rate in parted.rates.items())))
    split = config.data.custom is not None and config.data.custom.split is not None
    apart = " (split off; rows with the same input are all on one side)" if split else ""
    kept = f"; {held_out:,} training examples are held out to choose a checkpoint" if held_out else ""
    times = count(math.ceil(train.steps / train.evaluate_every), "time")
    sets = f"{count(tested, 'example')} of {count(len(data.evaluation), 'set')}{apart}"
    there = next(parent for parent in store.absolute().parents if parent.is_dir())
    few = " (the few that checkpointing keeps are not counted)" if train.gradient_checkpointing else ""
    together = f"; {jobs} runs at a time take as many times that" if jobs > 1 else ""
    facts += [
        ("evaluation", f"{sets}, {times} a run{kept}"),
        ("outcomes", _outcomes(plan)),
        ("memory", f"{sizes(plan.memory)}{few}; {gigabytes(plan.available)} free{together}"),
        ("time", _time(plan)),
        ("disk", f"{sizes(plan.disk)}; {gigabytes(disk_usage(there).free)} free"),
    ]
    print_facts("Plan", facts)
    if plan.advice:
        say(f"* {plain(plan.advice)}")


def sizes(parts: Mapping[str, int]) -> str:
    """Lists what takes memory or disk, with the sum."""
    listed = ", ".join(f"{gigabytes(size)} {name}" for name, size in parts.items())
    return f"about {gigabytes(sum(parts.values()))}: {listed}"


def _glance(data: ExperimentData) -> Iterator[tuple[str, str]]:
    """Shows the classes of the first tasks that have some, with their counts, and one example."""
    for name, examples in list(data.train.items())[:MOST_TASKS]:
        task = data.tasks[name]
        if not task.labels(examples):
            continue
        counts = Counter(example.targets for example in examples).most_common()
        text = ", ".join(f"{label} {number:,}" for label, number in counts)
        if len(counts) > MOST_CLASSES:
            text = f"{len(counts)}, of {counts[-1][1]:,} to {counts[0][1]:,} examples"
        if isinstance(task, CustomTask) and task.domain and any(score.name == "f1" for score in task.scores):
            text += f"; the positive class of f1 is {task.domain.positive}"
        yield "classes", f"{name}: {text}" if len(data.train) > 1 else text
    example = next(iter(data.train.values()))[0]
    texts = (example.inputs, example.targets)
    yield "an example", " -> ".join(repr(shorten(text, MOST_SHOWN)) for text in texts)


def _arm(config: ExperimentConfig, name: str) -> str:
    """Says what an arm is: SAM's rho, ascent and m with what is not by default, and what else it changes."""
    sam, parts = config.of(name).sam, []
    if sam.rho:
        shown = {"rho": sam.rho, "ascent": sam.ascent, "m": sam.m, **changes(sam)}
        parts.append(", ".join(f"{key} {value}" for key, value in shown.items()))
        if sam.rho == SAMConfig().rho and not sam.adaptive:
            parts.append("this rho is the paper's, and small models often need less, see --grid")
    other = {key: value for key, value in config.arms[name].items() if not key.startswith("sam.")}
    parts += [describe(other)] * bool(other) + ["the reference"] * (name == config.reference)
    return "; ".join(parts if sam.rho else ["no SAM", *parts])


def _outcomes(plan: Plan) -> str:
    wanted = plan.config.outcomes
    also = f"; the score on the further test sets {', '.join(wanted.also)}" if wanted.also else ""
    if not wanted.measure:
        return f"the score alone{also}"
    number = f"up to {count(plan.outcome_examples, 'example')} of each test set (see --outcome-examples)"
    return f"{', '.join(wanted.measure)} of the saved models of each run, on {number}{also}"


def _time(plan: Plan) -> str:
    """Says what steps take; evaluation and all that comes with it are seen only when they happen."""
    from lowland.planning.remaining import sam_passes

    config, where = plan.config, f"on this machine ({plan.device}, {plan.precision})"
    passes = {arm: sam_passes(config.of(arm)) for arm in config.arms}
    if (one := plan.step_seconds) is None:
        return f"shown after the first steps {where}"
    steps = one * config.train.steps * sum(passes[arm] * number for arm, number in plan.runs.items())
    shown = ", ".join(f"{arm} {one * number:.2g} s" for arm, number in passes.items())
    return f"about {span(steps)} of steps {where}: {shown} a step; evaluation is not included"
