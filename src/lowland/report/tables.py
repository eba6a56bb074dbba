"""The tables of a report: scores, outcomes, test examples, training time, what SAM did, settings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lowland.report.along import flatten, settings_of
from lowland.report.comparison import Comparison, Measured, Scored
from lowland.report.examples import AnsweredSet
from lowland.report.formats import Row, Table, Value, make_table
from lowland.report.runs import Experiment, read_log, title_of
from lowland.report.words import signed, spread
from lowland.statistics import CrossedInterval, PairedComparison, summarize
from lowland.statistics.interval import equal_seeds

NONE = "-"
DIFFERENCE = "Difference (95% interval)"


def score_table(comparison: Comparison, scored: Scored) -> Table:
    """Makes the table of scores under one selection, averages first."""
    way, notes = scored.selection, _notes(scored.rows, comparison.experiment.reference)
    title = f"Scores in percent: {way.label}"
    return _measured_table(f"scores-{way.value}", title, "Metric", "Score", scored.rows, notes)


def outcome_table(measured: Sequence[Measured], scored: Scored, name: str) -> Table:
    """Makes the table of outcomes."""
    note = (
        "Lower is better for losses, Brier score, calibration error and forgetting. The verdicts are "
        "corrected for their number (Holm), those after int8 and int4 apart from all others; intervals are "
        "not: one may leave out 0 where the verdict is undecided."
    )
    title = f"Outcomes beside the score: {scored.selection.label}"
    return _measured_table(name, title, "Outcome", "Value", measured, [note])


def _measured_table(
    name: str, title: str, what: str, value: str, measured: Sequence[Measured], notes: Sequence[str]
) -> Table:
    """Makes a row for every set, outcome and arm: the reference first, then each arm compared with it."""
    rows: list[Row] = []
    for one, arm in ((each, arm) for each in measured for arm in each.arms):
        # Points are told with one decimal; losses, Brier scores and the like move in hundredths.
        outcome, form = one.outcome, ".3f" if one.outcome.margin < 0.1 else ".1f"
        summary, verdict = one.arms[arm], one.verdicts.get(arm)
        head = f"{outcome.name} ({outcome.unit})" if outcome.unit and what == "Outcome" else outcome.name
        cells = [one.evaluation_set, head, title_of(arm), spread(summary, form)]
        record: dict[str, Value] = {"evaluation_set": one.evaluation_set, what.lower(): outcome.name}
        record |= {"unit": outcome.unit, "better": outcome.better, "margin": outcome.margin}
        record |= {"arm": arm, "mean": summary.mean, "sd": summary.sd, "n": summary.n}
        if verdict is None:
            cells += [NONE, str(summary.n), NONE]
        else:
            paired = verdict.comparison
            cells += [difference_cell(paired, form), str(paired.n), verdict.words]
            record |= interval_record(paired) | {"seeds": paired.n}
            record |= {"verdict": verdict.kind.value, "p_adjusted": verdict.p}
        rows.append((tuple(cells), record))
    heads = f"Evaluation set, {what}, Arm, >{value}, >{DIFFERENCE}, >Seeds, Verdict"
    return make_table(name, title, heads, rows, notes)


def difference_cell(found: PairedComparison | CrossedInterval, form: str = ".1f") -> str:
    """Writes a difference with its interval; with one decimal, or more where that would show 0."""
    write = signed if form == ".1f" else f"{{:+{form}}}".format
    interval = f" ({write(found.low)} to {write(found.high)})" if math.isfinite(found.low) else ""
    return NONE if math.isnan(found.difference) else write(found.difference) + interval


def interval_record(found: PairedComparison | CrossedInterval) -> dict[str, Value]:
    """Returns a difference and its interval in full precision."""
    return {"difference": found.difference, "interval_low": found.low, "interval_high": found.high}


def _notes(rows: Sequence[Measured], reference: str) -> list[str]:
    tested = [paired for row in rows for paired in row.paired.values()]
    added = any(paired.sequential for paired in tested)
    kind = "an interval for seeds that are added" if added else "Student's t interval"
    notes = [
        "Mean ± standard deviation over seeds.",
        f"Difference: minus {title_of(reference)}, paired by seed, with {kind}. It covers the spread over "
        "seeds, not the choice of evaluation examples.",
    ]
    if len(tested) > 1:
        notes.append(
            "The first score decides. The verdicts of the others are corrected for their number (Holm): if "
            "the arms do not differ, one or more of them is better or worse in at most 5% of experiments. "
            "Intervals are not corrected: one may leave out 0 where the verdict is undecided."
        )
    if any(paired.equal_differences and paired.difference for paired in tested):
        notes.append(
            "Where every seed differs by the same amount the interval is a point and proves nothing; such a "
            f"row counts as better or worse from {equal_seeds(added)} seeds on (sign test)."
        )
    return notes[: None if tested else 1]


def cost_table(comparison: Comparison) -> Table:
    """Makes the table of training time: a row for each arm, with its time by the reference's."""
    rows: list[Row] = []
    first, reference = next(iter(comparison.seconds.items()))
    for arm, seconds in comparison.seconds.items():
        summary = summarize(list(seconds.values()))
        ratios = [seconds[seed] / time for seed, time in reference.items() if seed in seconds and time > 0]
        record: dict[str, Value] = {"arm": arm}
        record |= {f"train_seconds_{key}": getattr(summary, key) for key in ("mean", "sd", "n")}
        times, reach = NONE, NONE
        if ratios and arm != first:
            median, low, high = float(np.median(ratios)), min(ratios), max(ratios)
            record |= {"ratio_median": median, "ratio_low": low, "ratio_high": high}
            times, reach = f"{median:.2f}", f"{low:.2f} to {high:.2f}"
        time = spread(summary, ",.0f" if summary.mean >= 100 else ".1f") + " s" * bool(summary.n)
        rows.append(((title_of(arm), time, times, reach, str(summary.n)), record))
    name = title_of(first)
    return make_table(
        "cost",
        "Training time, evaluation left out",
        f"Arm, >Time of a run, >Times {name}, >Range, >Runs",
        rows,
        [f"Times {name}: the median over seeds of an arm's time by that of {name}."] * (len(rows) > 1),
    )


def beyond_table(sets: Sequence[AnsweredSet]) -> Table:
    """Makes the table of differences on other test examples of the kind, and of examples that flip."""
    rows: list[Row] = []
    for one, arm in ((each, arm) for each in sets for arm in each.others):
        if (interval := one.interval(arm)) is not None:
            gained, lost = (float(flipped.sum(1).mean()) for flipped in one.flips(arm))
            seeds, examples = one.right[arm].shape
            record: dict[str, Value] = {"evaluation_set": one.name, "metric": one.metric, "arm": arm}
            record |= interval_record(interval)
            record |= {"gained_per_seed": gained, "lost_per_seed": lost, "seeds": seeds, "examples": examples}
            flips = (f"{gained:.1f}", f"{lost:.1f}", f"{seeds} × {examples}")
            rows.append(((one.name, one.metric, title_of(arm), difference_cell(interval), *flips), record))
    reference = title_of(sets[0].reference) if sets else ""
    return make_table(
        "beyond",
        "Difference on other examples of this kind, too",
        f"Evaluation set, Metric, Arm, >{DIFFERENCE}, >Gained, >Lost, >Seeds × examples",
        rows,
        [
            "The interval takes seeds and test examples as drawn at random, both; that of the scores "
            "takes the seeds only.",
            f"Gained and lost: examples that the arm has right and {reference} wrong, and the other way "
            "round, in the mean of the seeds.",
        ],
    )


def class_table(sets: Sequence[AnsweredSet]) -> Table:
    """Makes the table of precision, recall and F1 of each class, and of the predictions for it."""
    rows: list[Row] = []
    for examples, arm in ((one, arm) for one in sets for arm in one.predictions):
        if (found := examples.confusion(arm)) is None:
            continue
        columns, counts = found
        for place, row in enumerate(counts):
            right, answers, given = int(row[place]), int(row.sum()), int(counts[:, place].sum())
            shares = {
                "precision": 100 * right / max(1, given),
                "recall": 100 * right / answers,
                "f1": 200 * right / (answers + given),
            }
            predicted = dict(zip(columns, row.tolist(), strict=True))
            order = sorted(columns, key=lambda name: -predicted[name])
            taken = ", ".join(f"{name} {predicted[name]}" for name in order if predicted[name])
            cells = (examples.name, title_of(arm), columns[place], *(f"{v:.1f}" for v in shares.values()))
            about = {"evaluation_set": examples.name, "arm": arm, "class": columns[place]}
            counted = {"examples": answers, **{f"as {name}": n for name, n in predicted.items()}}
            rows.append(((*cells, str(answers), taken), {**about, **shares, **counted}))
    heads = "Evaluation set, Arm, Class, >Precision, >Recall, >F1, >Answers, Predicted as"
    return make_table("classes", "Classes, over all seeds", heads, rows)


def sam_table(experiment: Experiment) -> Table:
    """Makes the table of what SAM did in its runs."""
    rows: list[Row] = []
    for arm in experiment.arms:
        rho = settings_of(experiment, arm).get("sam.rho")
        figures: dict[str, list[float]] = {"radius": [], "cosine": [], "cosine_at_end": [], "moved": []}
        runs = 0
        for folder in (experiment.folder(arm, seed) for seed in experiment.seeds):
            lines = [line for name in ("sam", "train") for line in read_log(folder / f"{name}.jsonl")]
            found = {key: [v for line in lines if isinstance(v := line.get(key), float)] for key in figures}
            found["cosine_at_end"] = found["cosine"][-1:]
            runs += bool(found["radius"])
            figures = {key: values + found[key] for key, values in figures.items()}
        if runs:
            medians = {key: float(np.median(values or [math.nan])) for key, values in figures.items()}
            forms = {"moved": ".0%"}
            texts = (NONE if math.isnan(v) else f"{v:{forms.get(key, '.3g')}}" for key, v in medians.items())
            record: dict[str, Value] = {"arm": arm, "rho": rho, **medians, "runs": runs}
            rows.append(((title_of(arm), str(rho), *texts, str(runs)), record))
    return make_table(
        "sam",
        "What SAM did",
        "Arm, >Radius ρ, >Measured radius, >Cosine, >Cosine at the end, >Weights moved, >Runs",
        rows,
        [
            "Medians over the lines of the logs. Measured radius: the length of the perturbation that the "
            "weights took. Cosine: between the perturbation and the gradient at the perturbed weights. "
            "Weights moved: the share of perturbed weights that the perturbation changed at all.",
        ],
    )


def arms_table(experiment: Experiment) -> Table:
    """Makes the table of what each arm changes of the settings."""
    rows: list[Row] = []
    for arm, changed in experiment.changes.items():
        changes = [f"{key} = {value}" for key, value in flatten(changed).items()]
        rows.append(((title_of(arm), ", ".join(changes) or "nothing"), {"arm": arm}))
    return make_table("arms", "", "Arm, Changes", rows)


def settings_table(experiment: Experiment) -> Table:
    """Makes the table of all settings."""
    settings: dict[str, Value] = {
        "model": experiment.model,
        "tasks": ", ".join(experiment.tasks),
        "steps": experiment.steps,
        "seeds": ", ".join(map(str, experiment.seeds)),
        **flatten(experiment.settings),
    }
    rows = [((key, str(value)), {"setting": key, "value": value}) for key, value in settings.items()]
    return make_table("settings", "", "Setting, Value", rows)
