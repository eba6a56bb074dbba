"""How a plan looks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lowland.cli.console import print_facts, say
from lowland.config.arms import describe
from lowland.report.formats import plain
from lowland.report.words import count, gigabytes, span
from lowland.settings import changes

if TYPE_CHECKING:
    from lowland.config.experiment import ExperimentConfig
    from lowland.planning.plan import Plan

MOST_TASKS = 4


def show_plan(plan: Plan, reasons: Mapping[str, str], jobs: int, store: Path) -> None:
    """Prints what an experiment will do, `jobs` runs at a time, and why settings have their values.

    What its seeds can see is told from finished runs in the store.
    """
    from lowland.planning.power import spread_for
    from lowland.statistics import power

    config, work = plan.config, plan.workload
    train, runs = config.train, sum(plan.runs.values())
    why = {name: f" ({reason})" for name, reason in reasons.items()}
    most = "at most " if work.uncounted else ""
    tested = sum(work.evaluation.values())
    facts = [
        ("model", f"{config.model}: {plan.parameters / 1e6:,.1f}M weights"),
        (
            "runs",
            f"{runs} ({count(len(config.arms), 'arm')}, {count(len(config.seeds), 'seed')}), each "
            f"{train.steps:,} steps of {train.batch_size} examples{why.get('train.steps', '')}",
        ),
    ]
    if len(config.arms) > 1:
        spread = spread_for(config, store, tested)
        default = f"; the default, where 3 detect only {power(3, spread).sees:.2g}" if "seeds" in why else ""
        facts.append(("seeds", power(len(config.seeds), spread).sentence + default))
    facts += [
        ("training", f"{train.optimizer} at {train.learning_rate:g}{why.get('train.learning_rate', '')}"),
        *((f"arm {name}", _arm(config, name, why.get("sam.rho", ""))) for name in config.arms),
        (
            "examples",
            f"{sum(work.train.values()):,} for training{work.uncounted}; "
            f"{plan.epochs:,.{0 if plan.epochs >= 10 else 2}f} epochs",
        ),
        *work.glance,
    ]
    if len(work.rates) > 1:
        shown = sorted(work.rates.items(), key=lambda item: -item[1])[:MOST_TASKS]
        rest = f", {len(work.rates) - MOST_TASKS} more" if len(work.rates) > MOST_TASKS else ""
        facts.append(("mixture", ", ".join(f"{name} {rate:.1%}" for name, rate in shown) + rest))
    tokens = f"{plan.tokens:,}" if plan.tokens < 1e6 else f"{plan.tokens / 1e6:,.0f} million"
    length = f"{work.shape[0]} + {work.shape[1]} tokens an example"
    held_out = f", and {work.held_out:,} held out" if work.held_out else ""
    facts += [
        ("tokens", f"{most}{tokens} a run ({most}{length}, padding included)"),
        (
            "evaluation",
            f"{count(plan.evaluations, 'time')} a run: {tested:,} example{'s' * (tested != 1)} of "
            f"{count(len(work.evaluation), 'set')}{held_out}",
        ),
        ("outcomes", _outcomes(config)),
        ("memory", f"{sizes(plan.memory)}; {gigabytes(plan.available)} free"),
        ("time", _time(plan)),
    ]
    if jobs > 1:
        facts.append(("jobs", _jobs(min(jobs, runs), plan.device)))
    print_facts("Plan", [*facts, ("disk", sizes(plan.disk))])
    if plan.advice:
        say(f"* {plain(plan.advice)}")


def sizes(parts: Mapping[str, int]) -> str:
    """Lists what takes memory or disk, with the sum."""
    listed = ", ".join(f"{name} {gigabytes(size)}" for name, size in parts.items())
    return f"about {gigabytes(sum(parts.values()))}: {listed}"


def _arm(config: ExperimentConfig, name: str, why: str) -> str:
    """Says what an arm is: SAM's rho, ascent and m with what is not by default, and what else it changes."""
    sam, changed = config.of(name).sam, config.arms[name]
    parts = ["no SAM"]
    if sam.rho:
        ascent = f"{sam.ascent:g}" if sam.ascent_examples is None else f"{sam.ascent_examples} examples"
        shown = ("rho", "ascent", "ascent_examples", "m")
        others = {key: value for key, value in changes(sam).items() if key not in shown}
        more = f", {describe(others)}" if others else ""
        parts = [f"rho {sam.rho:g}, ascent {ascent}, m {sam.m}{more}{'' if 'sam.rho' in changed else why}"]
    if rest := {key: value for key, value in changed.items() if not key.startswith("sam.")}:
        parts.append(describe(rest))
    return "; ".join([*parts, *(["the reference"] if name == config.reference else [])])


def _outcomes(config: ExperimentConfig) -> str:
    wanted = config.outcomes
    also = f"; and the test sets {', '.join(wanted.also)}" if wanted.also else ""
    if not wanted.measure:
        return f"the score alone{also}"
    number = "20 to 1,000 examples of each set, by what a run costs"
    if wanted.examples:
        number = f"up to {wanted.examples:,} examples of each set"
    return f"{', '.join(wanted.measure)}; of the last and the chosen model, on {number}{also}"


def _time(plan: Plan) -> str:
    """Says what steps take; evaluation and all that comes with it are seen only when they happen."""
    from lowland.planning.remaining import sam_passes

    config, where = plan.config, f"on this machine ({plan.device}, {plan.precision})"
    passes = {arm: sam_passes(config.of(arm)) for arm in config.arms}
    if plan.step_seconds is None:
        shown = ", ".join(f"{arm} {number:.3g}" for arm, number in passes.items())
        return f"shown after the first steps {where}; cost of a step, in baseline steps: {shown}"
    steps = sum(passes[arm] * number for arm, number in plan.runs.items()) * config.train.steps
    shown = ", ".join(_step(arm, plan.step_seconds * number) for arm, number in passes.items())
    return f"about {span(plan.step_seconds * steps)} of steps {where}: {shown}; evaluation is not included"


def _step(arm: str, seconds: float) -> str:
    return f"{arm} {f'{1000 * seconds:,.0f} ms' if seconds < 1 else f'{seconds:,.1f} s'} a step"


def _jobs(runs: int, device: str) -> str:
    from lowland.comparison.jobs import cores

    text = f"{runs} runs at a time: as many times the memory"
    if device == "CPU" and runs > cores():
        text += f"; more than the {count(cores(), 'core')}, which is slower than fewer"
    return text
