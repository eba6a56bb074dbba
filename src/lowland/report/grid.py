"""Several experiments as points of a grid: in what they differ, and along which settings they line up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lowland.report.comparison import Comparison, Scored, ScoreRow
from lowland.report.formats import Value
from lowland.report.runs import Experiment
from lowland.report.selection import Selection


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Experiments that differ in one setting with numbers for values, and in nothing else.

    Attributes:
        setting: The setting, such as `sam.rho`.
        values: Its values, rising.
        comparisons: The experiment of each value.
        rest: The other settings in which the whole grid differs, with the values that they have here.
    """

    setting: str
    values: tuple[float, ...]
    comparisons: tuple[Comparison, ...]
    rest: Mapping[str, Value]

    @property
    def sam_only(self) -> bool:
        """Whether the baseline does not depend on the setting."""
        return self.setting.startswith("sam.")

    @property
    def one_reference(self) -> bool:
        """Whether all points are compared with the same runs."""
        return self.sam_only or len({c.experiment.directory for c in self.comparisons}) == 1


def flatten(settings: Any, prefix: str = "") -> dict[str, Value]:
    """Returns nested settings as one level: `{"sam": {"rho": 0.1}}` becomes `{"sam.rho": 0.1}`."""
    if isinstance(settings, (list, tuple)):
        return {prefix: ", ".join(map(str, settings))}
    if not isinstance(settings, dict):
        plain = settings if isinstance(settings, (str, int, float)) or settings is None else str(settings)
        return {prefix: plain}
    flat: dict[str, Value] = {}
    for key, value in settings.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def pairs_of(experiment: Experiment) -> list[Experiment]:
    """Takes an experiment apart: for each arm but the reference one of the two, with that arm's settings."""
    others = experiment.arms[1:] or experiment.arms
    return [
        replace(
            experiment,
            name=experiment.name if len(others) == 1 else f"{experiment.name} {arm}",
            model=str(experiment.changes.get(arm, {}).get("model", experiment.model)),
            arms=(experiment.reference, arm) if len(experiment.arms) > 1 else (arm,),
            settings=_laid(experiment.settings, experiment.changes.get(arm, {})),
            changes={name: experiment.changes.get(name, {}) for name in (experiment.reference, arm)},
            runs=tuple(run for run in experiment.runs if run.arm in (experiment.reference, arm)),
        )
        for arm in others
    ]


def _laid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lays what an arm changes, dotted, over nested settings."""
    settings = {key: dict(value) if isinstance(value, Mapping) else value for key, value in below.items()}
    for name, value in above.items():
        *sections, key = name.split(".")
        place = settings
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return settings


def radius_of(experiment: Experiment, arm: str) -> float:
    """Returns the radius of an arm; 0 is the baseline, nan stands where it is not known."""
    value = flatten(_laid(experiment.settings, experiment.changes.get(arm, {}))).get("sam.rho")
    return float(value) if isinstance(value, (int, float)) else math.nan


def settings_of(experiment: Experiment) -> dict[str, Value]:
    """Returns what decides an experiment's results, as one level, every setting once."""
    flat = {**flatten(experiment.settings), "model": experiment.model}
    return flat if "train.steps" in flat else {"model": flat.pop("model"), "steps": experiment.steps, **flat}


def differing(settings: Sequence[Mapping[str, Value]]) -> list[str]:
    """Lists the settings that are not the same everywhere."""
    keys = list(dict.fromkeys(key for of_one in settings for key in of_one))
    return [key for key in keys if len({repr(of_one.get(key)) for of_one in settings}) > 1]


def pool(experiments: Sequence[Experiment]) -> list[Experiment]:
    """Puts experiments together that have the same settings, so that their seeds count together.

    Of two runs of the same arm and seed the finished one counts, or else the first one.
    """
    groups: dict[str, list[list[Experiment]]] = {}
    for experiment in experiments:
        key = repr((sorted(settings_of(experiment).items(), key=str), sorted(experiment.metrics.items())))
        alike = groups.setdefault(key, [])
        group = next((group for group in alike if all(_agree(experiment, other) for other in group)), None)
        if group is None:
            alike.append([experiment])
        else:
            group.append(experiment)
    return [_merge(group) for alike in groups.values() for group in alike]


def _agree(one: Experiment, other: Experiment) -> bool:
    """Tells whether arms of the same name change the same."""
    return all(changed == other.changes.get(arm, changed) for arm, changed in one.changes.items())


def pool_pairs(pairs: Sequence[Experiment]) -> list[Experiment]:
    """Puts pairs of arms together that have the same settings, whatever their arms are called."""
    groups: dict[str, list[Experiment]] = {}
    for pair in pairs:
        first = pair.changes.get(pair.reference, {})
        key = repr((sorted(settings_of(pair).items(), key=str), sorted(pair.metrics.items()), first))
        groups.setdefault(f"{key}{len(pair.arms)}", []).append(pair)
    return [_merge([_named_like(pair, group[0]) for pair in group]) for group in groups.values()]


def _named_like(pair: Experiment, other: Experiment) -> Experiment:
    names = dict(zip(pair.arms, other.arms, strict=True))
    return replace(
        pair,
        arms=other.arms,
        changes={name: other.changes.get(name, {}) for name in other.arms},
        runs=tuple(replace(run, arm=names[run.arm]) for run in pair.runs),
    )


def _merge(group: Sequence[Experiment]) -> Experiment:
    first = group[0]
    if len(group) == 1:
        return first
    runs = {(run.arm, run.seed): run for e in reversed(group) for run in e.runs}
    runs |= {(run.arm, run.seed): run for e in reversed(group) for run in e.runs if run.state == "done"}
    changes = {arm: changed for e in group for arm, changed in e.changes.items()}
    merged = replace(first, changes=changes)
    return replace(
        merged,
        # Arms that were trained apart are compared with the one without SAM.
        arms=tuple(sorted(changes, key=lambda arm: radius_of(merged, arm) != 0)),
        seeds=tuple(sorted({seed for e in group for seed in e.seeds})),
        runs=tuple(runs.values()),
        notes=tuple(dict.fromkeys(note for e in group for note in e.notes)),
    )


def find_axes(comparisons: Sequence[Comparison]) -> list[Axis]:
    """Finds all lines through a grid: two or more experiments that differ in one numeric setting only.

    Args:
        comparisons: The experiments, no two with the same settings.

    Returns:
        The lines, in the order of the settings; each experiment may be on several.
    """
    settings = [_numbers(settings_of(comparison.experiment)) for comparison in comparisons]
    names = differing(settings)
    axes = []
    for name in names:
        lines: dict[str, list[tuple[float, Comparison, dict[str, Value]]]] = {}
        for comparison, of_one in zip(comparisons, settings, strict=True):
            value = of_one.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                rest = {key: of_one.get(key) for key in names if key != name}
                # What is scored on other sets is no point of the same line.
                line_of = repr((rest, sorted(comparison.experiment.metrics)))
                lines.setdefault(line_of, []).append((float(value), comparison, rest))
        for line in lines.values():
            line.sort(key=lambda point: point[0])
            values = tuple(point[0] for point in line)
            if len(values) > 1:
                axes.append(
                    Axis(
                        setting=name,
                        values=values,
                        comparisons=tuple(point[1] for point in line),
                        rest=line[0][2],
                    )
                )
    return axes


def ascent_examples(settings: Mapping[str, Value]) -> Value:
    """Returns the number of examples that the ascent uses, or its share where the batch is not known."""
    number, share = settings.get("sam.ascent_examples"), settings.get("sam.ascent")
    batch = settings.get("train.batch_size")
    if number is None and isinstance(share, float) and isinstance(batch, int):
        return max(1, round(share * batch))
    return share if number is None else number


def ascent_share(settings: Mapping[str, Value]) -> float | None:
    """Returns the share of the batch that the ascent uses; `None` where it is not known."""
    number, share = settings.get("sam.ascent_examples"), settings.get("sam.ascent")
    batch = settings.get("train.batch_size")
    if isinstance(number, int) and isinstance(batch, int):
        return number / batch
    return share if isinstance(share, float) else None


def _numbers(settings: dict[str, Value]) -> dict[str, Value]:
    """Puts the number of ascent examples in the place of their share, so that both make one axis."""
    if "sam.ascent" not in settings:
        return settings
    numbers = settings | {"sam.ascent": ascent_examples(settings)}
    numbers.pop("sam.ascent_examples", None)
    return numbers


def common_selection(comparisons: Sequence[Comparison]) -> Selection | None:
    """Returns the first way of selecting that all experiments with a score have."""
    scored = [{way.selection for way in c.scored} for c in comparisons if c.scored]
    return next((way for way in Selection if scored and all(way in found for found in scored)), None)


def scored_by(comparison: Comparison, selection: Selection) -> Scored | None:
    """Returns an experiment's scores under one way of selecting."""
    return next((way for way in comparison.scored if way.selection is selection), None)


def find_row(comparison: Comparison, selection: Selection, name: str, metric: str) -> ScoreRow | None:
    """Returns an experiment's score of a set and metric."""
    scored = scored_by(comparison, selection)
    rows = scored.rows if scored else ()
    return next((row for row in rows if (row.evaluation_set, row.metric) == (name, metric)), None)
