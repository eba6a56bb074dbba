"""The tables of a report: scores, outcomes, test examples, training time, what SAM did, settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lowland.report.comparison import Comparison, Measured, Scored
from lowland.report.examples import AnsweredSet
from lowland.report.formats import Row, Table, Value, make_table
from lowland.report.outcomes import Outcomes
from lowland.report.points import flatten, settings_of
from lowland.report.runs import Experiment, read_log, title_of
from lowland.report.words import duration, signed, spread
from lowland.statistics import PairedComparison, summarize

NONE = "-"
DIFFERENCE = "Difference (95% interval)"


def score_table(comparison: Comparison, scored: Scored) -> Table:
    """Makes the table of scores under one selection: a row for every set, metric and arm, averages first."""
    way = scored.selection
    rows: list[Row] = []
    for one in scored.rows:
        about = {"selection": way.value, "evaluation_set": one.evaluation_set, "metric": one.metric}
        rows += _arm_rows(one, one.metric, about)
    return make_table(
        f"scores-{way.value}",
        f"Scores in percent: {way.label}",
        f"Evaluation set, Metric, Arm, >Score, >{DIFFERENCE}, >Seeds, Verdict",
        rows,
        _notes(scored.rows, comparison.experiment.reference),
    )


def outcome_table(outcomes: Outcomes, scored: Scored, name: str) -> Table:
    """Makes the table of outcomes: a row for each set, outcome and arm."""
    rows: list[Row] = []
    for one in outcomes.rows:
        unit, better = one.outcome.unit, one.outcome.better
        about: dict[str, Value] = {"evaluation_set": one.evaluation_set, "outcome": one.metric}
        about |= {"unit": unit, "better": better, "margin": one.outcome.margin}
        rows += _arm_rows(one, f"{one.metric} ({unit})" if unit else one.metric, about)
    return make_table(
        name,
        f"Outcomes beside the score: {scored.selection.label}",
        f"Evaluation set, Outcome, Arm, >Value, >{DIFFERENCE}, >Seeds, Verdict",
        rows,
        [
            "Lower is better for losses, Brier score, calibration error and forgetting. The verdicts are "
            "Holm's, among those after rounding and among all others: if the arms do not differ at all, one "
            "or more of either is better or worse in at most 5% of experiments."
        ],
    )


def _arm_rows(measured: Measured, head: str, about: Mapping[str, Value]) -> Iterator[Row]:
    """Writes what was measured: the reference first, then each arm compared with it."""
    # Points are told with one decimal; losses, Brier scores and the like move in hundredths.
    form = ".3f" if measured.outcome.margin < 0.1 else ".1f"
    for arm, summary in measured.arms.items():
        cells = [measured.evaluation_set, head, title_of(arm), spread(summary, form)]
        record = {**about, "arm": arm, "mean": summary.mean, "sd": summary.sd, "n": summary.n}
        verdict = measured.verdicts.get(arm)
        if verdict is None:
            cells += [NONE, str(summary.n), NONE]
        else:
            paired = verdict.comparison
            cells += [difference_cell(paired, form), str(paired.n), verdict.words]
            record |= paired_record(paired) | {"verdict": verdict.kind.value, "p_adjusted": verdict.p}
        yield tuple(cells), record


def difference_cell(paired: PairedComparison, form: str = ".1f") -> str:
    """Writes a difference with its interval; with one decimal, or more where that would show 0."""
    write = signed if form == ".1f" else f"{{:+{form}}}".format
    interval = f" ({write(paired.low)} to {write(paired.high)})" if math.isfinite(paired.low) else ""
    return write(paired.difference) + interval if paired.n else NONE


def paired_record(paired: PairedComparison) -> dict[str, Value]:
    """Returns a comparison's figures in full precision."""
    ends = {"interval_low": paired.low, "interval_high": paired.high}
    return {"difference": paired.difference, **ends, "seeds": paired.n}


def _notes(rows: Sequence[Measured], reference: str) -> list[str]:
    """Says how to read the columns, as far as they need it."""
    tested = [paired for row in rows for paired in row.paired.values() if paired.n > 1]
    added = any(paired.sequential for paired in tested)
    kind = "an interval for seeds that are added" if added else "Student's t interval"
    notes = {
        "Mean ± standard deviation over seeds.": any(one.n > 1 for row in rows for one in row.arms.values()),
        f"Difference: minus {title_of(reference)}, paired by seed, with {kind}. It covers the spread over "
        "seeds, not the choice of evaluation examples.": bool(tested),
        "The first score decides. The verdicts of the others are Holm's: if arms do not differ at all, one "
        "or more of them is better or worse in at most 5% of experiments. Each interval is that of its row "
        "alone.": len(tested) > 1,
        "Where every seed differs by the same amount the interval is a point and proves nothing; such a row "
        "counts as better or worse from 6 seeds on (sign test).": any(
            paired.equal_differences and paired.difference for paired in tested
        ),
    }
    return [note for note, needed in notes.items() if needed]


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
        time = duration(summary.mean, summary.sd)
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
    for examples, arm in ((one, arm) for one in sets for arm in one.others):
        if (interval := examples.interval(arm)) is None:
            continue
        ends = [signed(end) for end in (interval.difference, interval.low, interval.high)]
        gained, lost = (float(flipped.sum(1).mean()) for flipped in examples.flips(arm))
        record: dict[str, Value] = {
            "evaluation_set": examples.name,
            "metric": examples.metric,
            "arm": arm,
            "difference": interval.difference,
            "interval_low": interval.low,
            "interval_high": interval.high,
            "gained_per_seed": gained,
            "lost_per_seed": lost,
            "seeds": interval.seeds,
            "examples": interval.examples,
        }
        figures = (f"{ends[0]} ({ends[1]} to {ends[2]})", f"{gained:.1f}", f"{lost:.1f}")
        size = f"{interval.seeds} × {interval.examples}"
        rows.append(((examples.name, examples.metric, title_of(arm), *figures, size), record))
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
        for seed in experiment.seeds:
            folder = experiment.folder(arm, seed)
            lines = [line for name in ("sam", "train") for line in read_log(folder / f"{name}.jsonl")]
            found = {key: [v for line in lines if isinstance(v := line.get(key), float)] for key in figures}
            runs += bool(found["radius"])
            found["cosine_at_end"] = found["cosine"][-1:]
            figures = {key: values + found[key] for key, values in figures.items()}
        if runs:
            medians = {key: float(np.median(v)) if v else math.nan for key, v in figures.items()}
            forms = zip(medians.values(), ("{:.3g}", "{:.3g}", "{:.3g}", "{:.0%}"), strict=True)
            texts = [NONE if math.isnan(value) else form.format(value) for value, form in forms]
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
