"""Several experiments as points of a grid: in what they differ, and along which settings they line up."""

from __future__ import annotations

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
        """Whether standard training does not depend on the setting."""
        return self.setting.startswith("sam.")


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


def settings_of(experiment: Experiment) -> dict[str, Value]:
    """Returns what decides an experiment's results, as one level, every setting once."""
    flat = {"model": experiment.model, **flatten(experiment.settings)}
    return flat if "train.steps" in flat else {"model": flat.pop("model"), "steps": experiment.steps, **flat}


def differing(settings: Sequence[Mapping[str, Value]]) -> list[str]:
    """Lists the settings that are not the same everywhere."""
    keys = list(dict.fromkeys(key for of_one in settings for key in of_one))
    return [key for key in keys if len({repr(of_one.get(key)) for of_one in settings}) > 1]


def pool(experiments: Sequence[Experiment]) -> list[Experiment]:
    """Puts experiments together that have the same settings, so that their seeds count together.

    Of two runs of the same arm and seed the finished one counts, or else the first one.
    """
    groups: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        key = repr((sorted(settings_of(experiment).items(), key=str), sorted(experiment.metrics.items())))
        groups.setdefault(key, []).append(experiment)
    return [_merge(group) for group in groups.values()]


def _merge(group: Sequence[Experiment]) -> Experiment:
    first = group[0]
    if len(group) == 1:
        return first
    runs = {(run.arm, run.seed): run for e in reversed(group) for run in e.runs}
    runs |= {(run.arm, run.seed): run for e in reversed(group) for run in e.runs if run.state == "done"}
    return replace(
        first,
        arms=tuple(dict.fromkeys(arm for e in group for arm in e.arms)),
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
