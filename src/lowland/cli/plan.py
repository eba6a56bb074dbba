"""How a plan looks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from lowland.cli.console import make_table
from lowland.config.outcomes import SHARE
from lowland.report.formats import plain
from lowland.report.words import count, gigabytes, span

if TYPE_CHECKING:
    from lowland.config.experiment import ExperimentConfig
    from lowland.planning.plan import Plan
    from lowland.sam.config import SAMConfig

MOST_TASKS = 4


def show_plan(plan: Plan, reasons: Mapping[str, str], console: Console, jobs: int, store: Path) -> None:
    """Prints what an experiment will do, `jobs` runs at a time, and why settings have their values.

    What its seeds can see is told from finished runs in the store.
    """
    from lowland.planning.power import spread_for
    from lowland.statistics import power

    table = make_table("Plan")
    table.show_header = False
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    lines = lines_of(plan, reasons, jobs)
    if len(plan.config.arms) > 1:
        spread = spread_for(plan.config, store, sum(plan.workload.evaluation.values()))
        sentence = power(len(plan.config.seeds), spread).sentence
        if "seeds" in reasons:
            sentence += f"; the default, where 3 detect only {power(3, spread).sees:.2g}"
        lines.insert(2, ("seeds", sentence))
    for name, text in lines:
        table.add_row(Text(name), Text(plain(text)))
    console.print(table)
    for sentence in plan.advice:
        console.print(Text(f"* {plain(sentence)}"), soft_wrap=True)


def lines_of(plan: Plan, reasons: Mapping[str, str], jobs: int = 1) -> list[tuple[str, str]]:
    """Writes a plan: topic and text of each line."""
    config, work = plan.config, plan.workload
    arms = count(len(config.arms), "arm")

    def why(setting: str) -> str:
        return f" ({reasons[setting]})" if setting in reasons else ""

    most = "" if work.counted else "at most "
    published = ""
    if not work.counted:
        published = (
            " (how long they are in this model's tokens is not known)"
            if work.read
            else ", as published: the data were not read"
        )
    length = f"{work.shape[0]} + {work.shape[1]} tokens an example"
    shown = sorted(work.rates, key=lambda name: -work.rates[name])
    tasks = ", ".join(f"{name} {work.rates[name]:.1%}" for name in shown[:MOST_TASKS])
    more = f", {len(shown) - MOST_TASKS} more" if len(shown) > MOST_TASKS else ""
    return [
        ("model", f"{config.model}: {plan.parameters / 1e6:,.1f}M weights"),
        (
            "runs",
            f"{sum(plan.runs.values())} ({arms}, {count(len(config.seeds), 'seed')}), each "
            f"{config.train.steps:,} steps of {config.train.batch_size} examples{why('train.steps')}",
        ),
        (
            "training",
            f"{config.train.optimizer} at {config.train.learning_rate:g}{why('train.learning_rate')}",
        ),
        *((f"arm {name}", _arm(config, name, why("sam.rho"))) for name in config.arms),
        (
            "examples",
            f"{sum(work.train.values()):,} for training{published}; "
            f"{plan.epochs:,.{0 if plan.epochs >= 10 else 2}f} epochs",
        ),
        *work.glance,
        *([("mixture", tasks + more)] if len(shown) > 1 else []),
        ("tokens", f"{most}{_number(plan.tokens)} a run ({most}{length}, padding included)"),
        (
            "evaluation",
            f"{count(plan.evaluations, 'time')} a run: {sum(work.evaluation.values()):,} "
            f"example{'s' * (sum(work.evaluation.values()) != 1)} of "
            f"{count(len(work.evaluation), 'set')}"
            + (f", and {work.held_out:,} held out" if work.held_out else ""),
        ),
        ("outcomes", _outcomes(plan)),
        (
            "memory",
            f"about {gigabytes(sum(plan.memory.values()))}: "
            + ", ".join(f"{name} {gigabytes(size)}" for name, size in plan.memory.items())
            + f"; {gigabytes(plan.available)} free",
        ),
        ("time", _time(plan)),
        *([("jobs", _jobs(min(jobs, sum(plan.runs.values())), plan.device))] if jobs > 1 else []),
        (
            "disk",
            f"about {gigabytes(sum(plan.disk.values()))}: "
            + ", ".join(f"{name} {gigabytes(size)}" for name, size in plan.disk.items()),
        ),
    ]


def _arm(config: ExperimentConfig, name: str, why: str) -> str:
    """Says what an arm is: the reference, or what it changes."""
    from lowland.config.arms import describe

    own, changes = config.of(name), config.arms[name]
    first = name == config.reference
    how = _sam(own.sam) + ("" if "sam.rho" in changes else why) if own.sam.rho else "no SAM"
    rest = {key: value for key, value in changes.items() if not key.startswith("sam.")}
    return "; ".join([how, *([describe(rest)] if rest else []), *(["the reference"] if first else [])])


def _outcomes(plan: Plan) -> str:
    wanted = plan.config.outcomes
    also = f"; and the test set{'s' * (len(wanted.also) > 1)} {', '.join(wanted.also)}" if wanted.also else ""
    if not wanted.measure:
        return f"the score alone{also}"
    number = (
        f"on {wanted.examples:,} examples of each set"
        if wanted.examples
        else f"on as many examples as take {SHARE:.0%} of a run's compute"
    )
    return f"{', '.join(wanted.measure)}; of the last and the chosen model, {number}{also}"


def _time(plan: Plan) -> str:
    """Says what steps take; evaluation and all that comes with it are seen only when they happen."""
    from lowland.planning.remaining import sam_passes

    config, where = plan.config, f"on this machine ({plan.device}, {plan.precision})"
    passes = {arm: sam_passes(config.of(arm)) for arm in config.arms}
    if plan.step_seconds is None:
        shown = ", ".join(f"{arm} {number:.3g}" for arm, number in passes.items())
        return f"shown after the first steps {where}; cost of a step, in baseline steps: {shown}"
    steps = sum(passes[arm] * number for arm, number in plan.runs.items()) * config.train.steps
    each = {arm: plan.step_seconds * number for arm, number in passes.items()}
    shown = ", ".join(
        f"{arm} {f'{1000 * seconds:,.0f} ms' if seconds < 1 else f'{seconds:,.1f} s'} a step"
        for arm, seconds in each.items()
    )
    return f"about {span(plan.step_seconds * steps)} of steps {where}: {shown}; evaluation is not included"


def _jobs(runs: int, device: str) -> str:
    from lowland.comparison.launch import cores

    text = f"{runs} runs at a time: as many times the memory"
    if device == "CPU" and runs > cores():
        text += f"; more than the {count(cores(), 'core')}, which is slower than fewer"
    return text


def _sam(sam: SAMConfig) -> str:
    """Says rho, ascent and m, and whatever else is not by default."""
    from lowland.config.arms import describe
    from lowland.settings import changes

    ascent = f"{sam.ascent:g}" if sam.ascent_examples is None else f"{sam.ascent_examples} examples"
    others = {
        name: value
        for name, value in changes(sam).items()
        if name not in ("rho", "ascent", "ascent_examples", "m")
    }
    return f"rho {sam.rho:g}, ascent {ascent}, m {sam.m}" + (f", {describe(others)}" if others else "")


def _number(value: int) -> str:
    return f"{value:,}" if value < 1e6 else f"{value / 1e6:,.0f} million"
