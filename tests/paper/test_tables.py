"""Our results in the layout of the paper's tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.reports import write_experiment, write_run

from lowland.paper.printed import PrintedRow, layouts, printed_rows
from lowland.paper.results import DEFAULTS, VARIED, columns_of, paper_model
from lowland.paper.tables import paper_tables, write_paper
from lowland.report.along import find_points
from lowland.report.formats import Table
from lowland.report.runs import read_experiment
from lowland.sam import SAMConfig
from lowland.tasks.registry import get_task, task_names

AVERAGES = {layout.average for layout in layouts().values()}
PAPER = {(row.table, row.row): row for row in printed_rows()}


def scores_of(row: PrintedRow) -> dict[str, dict[str, float]]:
    """What our evaluation would have to give for a row of the paper: evaluation set -> metric -> percent."""
    scores: dict[str, dict[str, float]] = {}
    for column, metrics in layouts()[row.table].columns.items():
        for printed, (name, metric) in metrics.items():
            scores.setdefault(name, {})[metric] = row.scores[column][printed]
    return scores


def experiment(
    directory: Path,
    standard: Mapping[str, Mapping[str, float]],
    sam: Mapping[str, Mapping[str, float]],
    *,
    model: str = "google/t5-v1_1-base",
    tasks: Sequence[str] = ("superglue",),
    fraction: float = 1.0,
    seeds: Sequence[int] = (0,),
    **settings: Any,
) -> Path:
    """An experiment whose runs scored so at their best, each metric at a step of its own."""
    metrics = {name: list(values) for name, values in standard.items()}
    content = {
        "model": model,
        "data": {"tasks": list(tasks), "fraction": fraction},
        "train": {"batch_size": 128, "steps": 200},
        "sam": {"rho": 0.15, "ascent": 0.25, "m": 1, "descent": "share"} | settings,
    }
    write_experiment(directory, metrics=metrics, seeds=seeds, name=directory.name, settings=content)
    file = directory / "experiment.json"
    trained = sorted({name.removesuffix("/matched").removesuffix("/mismatched") for name in metrics})
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model": model, "tasks": trained}))
    for arm, scores in (("baseline", standard), ("sam", sam)):
        for seed in seeds:
            evaluation = {
                name: {
                    100 * (1 + step): {
                        metric: value - (0 if index % 2 == step else 5)
                        for index, (metric, value) in enumerate(values.items())
                    }
                    for step in (0, 1)
                }
                for name, values in scores.items()
            }
            write_run(directory, arm, seed, evaluation)
    return directory


def tables(*directories: Path) -> dict[str, Table]:
    """The paper's tables of some experiments, by name."""
    points = find_points([read_experiment(directory) for directory in directories])
    return {table.name: table for table in paper_tables(points)}


def test_every_column_is_a_task_of_ours() -> None:
    """Every column and metric of the paper's tables is an evaluation set and metric of a registered task."""
    metrics = {name: get_task(name).metrics for name in task_names()}
    for layout in layouts().values():
        for column in layout.columns.values():
            for name, metric in column.values():
                parts = name.split("/")
                task = next("/".join(parts[:n]) for n in (3, 2) if "/".join(parts[:n]) in metrics)
                assert metric in metrics[task]


def test_every_printed_column_has_a_place() -> None:
    """No column or metric that the paper prints is missing from the layouts."""
    for row in printed_rows():
        columns = layouts()[row.table].columns
        for column, metrics in row.scores.items():
            assert column in AVERAGES or set(metrics) == set(columns[column])


@pytest.mark.parametrize(("table", "row"), [(1, 2), (2, 2), (4, 2), (6, 2), (7, 2), (8, 2)])
def test_the_papers_scores_give_the_papers_rows(tmp_path: Path, table: int, row: int) -> None:
    """An experiment with the paper's scores and settings gives a line equal to the paper's, averages too."""
    standard, sam = PAPER[table, row], PAPER[table, row + 1]
    mixtures = {1: "superglue", 2: "glue", 4: "cbqa", 6: "superglue", 7: "cbqa", 8: "tydiqa"}
    directory = experiment(
        tmp_path / "ours",
        scores_of(standard),
        scores_of(sam),
        model="google/mt5-base" if table == 8 else "google/t5-v1_1-base",
        tasks=[mixtures[table]],
        fraction=0.05 if table in (6, 7) else 1.0,
        rho=sam.sam_rho,
    )
    made = tables(directory)[f"table-{table}"]
    assert [line[:2] for line in made.rows] == [
        (standard.model, "paper"),
        (standard.model, "ours, 1 seed"),
        (f"{standard.model} + SAM ({sam.sam_rho:g})", "paper"),
        (f"{standard.model} + SAM ({sam.sam_rho:g})", "ours, 1 seed"),
    ]
    for printed, ours in (made.rows[:2], made.rows[2:]):
        start = 2
        if layouts()[table].average is not None:
            # The printed average may be off in its last digit, because it was formed before rounding.
            for one, other in zip(printed[2].split(" / "), ours[2].split(" / "), strict=True):
                assert float(one) == pytest.approx(float(other), abs=0.1 + 1e-9)
            start = 3
        assert printed[start:] == ours[start:]


def test_single_tasks_share_a_row(tmp_path: Path) -> None:
    """Three experiments on one data set each make one line of Table 5."""
    standard, sam = scores_of(PAPER[5, 2]), scores_of(PAPER[5, 3])
    directories = [
        experiment(tmp_path / name[5:8], {name: standard[name]}, {name: sam[name]}, tasks=[name])
        for name in standard
    ]
    made = tables(*directories)["table-5"]
    assert made.rows[0][2:] == made.rows[1][2:]
    assert made.rows[1][1] == "nat + web + tri, 1 seed"
    assert len(made.rows) == 4


def test_table_3_is_the_averages(tmp_path: Path) -> None:
    """TyDiQA's average over nine languages, F1 and EM apart, is Table 3."""
    directory = experiment(
        tmp_path / "ours",
        scores_of(PAPER[8, 2]),
        scores_of(PAPER[8, 3]),
        model="google/mt5-base",
        tasks=["tydiqa"],
        rho=0.02,
    )
    made = tables(directory)["table-3"]
    assert made.columns[2:] == ("avg F1 / EM",)
    assert [line[2] for line in made.rows] == ["81.6 / 71.0", "81.6 / 71.0", "82.0 / 71.3", "82.1 / 71.3"]


def test_table_9_has_three_blocks(tmp_path: Path) -> None:
    """Cells along rho, a and m make the three blocks, each with the paper's row of the same setting."""
    standard, sam, model = scores_of(PAPER[1, 2]), scores_of(PAPER[1, 3]), PAPER[1, 2].model
    variants: dict[str, dict[str, Any]] = {
        "usual": {},
        "rho": {"rho": 0.05},
        "a": {"ascent": 8},
        "m": {"m": 2},
    }
    directories = [
        experiment(tmp_path / name, standard, sam, **settings) for name, settings in variants.items()
    ]
    made = tables(*directories)["table-9"]
    assert [(line[0], line[2].partition(",")[0]) for line in made.rows] == [
        *(("rho = 0.05", "paper"), ("rho = 0.05", "rho"), ("rho = 0.15", "paper"), ("rho = 0.15", "usual")),
        *(("a = 8", "paper"), ("a = 8", "a"), ("a = 32", "paper"), ("a = 32", "usual")),
        *(("m = 1", "paper"), ("m = 1", "usual"), ("m = 2", "paper"), ("m = 2", "m")),
    ]
    # Table 1 has the paper's ascent only, at every radius, and the shared baseline once.
    assert [line[:2] for line in tables(*directories)["table-1"].rows] == [
        *((model, "paper"), (model, "usual, 1 seed")),
        *((f"{model} + SAM (0.15)", source) for source in ("paper", "usual, 1 seed")),
        (f"{model} + SAM (0.05)", "rho, 1 seed"),
    ]


@pytest.mark.parametrize(
    "other",
    [
        *({"direction": "previous"}, {"adaptive": True}, {"warmup": 0.1}, {"ranks": "own"}),
        *({"every": 5}, {"start": 0.7}, {"perturb": ["*layer_norm*"]}),
    ],
)
def test_other_kinds_of_sam_are_not_the_papers(tmp_path: Path, other: dict[str, Any]) -> None:
    """Another kind of SAM has no line in the paper's tables, beside the paper's, alone, or along a."""
    standard, sam = scores_of(PAPER[1, 2]), scores_of(PAPER[1, 3])
    usual = experiment(tmp_path / "usual", standard, sam)
    others = [experiment(tmp_path / f"other-{a}", standard, standard, ascent=a, **other) for a in (0.25, 0.5)]
    lines = [line[1] for line in tables(usual, *others)["table-1"].rows]
    assert lines == ["paper", "usual, 1 seed", "paper", "usual, 1 seed"]
    made = tables(*others)
    assert [line[0] for line in made["table-1"].rows if line[1] != "paper"] == ["T5.1.1 Base"]
    assert "table-9" not in made


def test_what_varies_are_settings_of_sam() -> None:
    """What the paper varies are settings of SAM; each other one makes another kind of it."""
    assert set(VARIED) < {f"sam.{field.name}" for field in fields(SAMConfig)} == set(DEFAULTS)


def test_part_of_a_benchmark_is_marked(tmp_path: Path) -> None:
    """With some columns missing the average is marked as not the paper's, and the columns stay empty."""
    scores = scores_of(PAPER[1, 2])
    part = {name: scores[name] for name in ("superglue/cb", "superglue/rte")}
    made = tables(experiment(tmp_path / "ours", part, part))["table-1"]
    ours = made.rows[1]
    # CB (91.7 + 94.6) / 2 and RTE 80.9.
    assert ours[2] == "87.0*"
    assert ours[3] == "-"
    assert any("not the paper's" in note for note in made.notes)


def test_other_models_have_lines_of_their_own(tmp_path: Path) -> None:
    """A model that the paper does not have gives tables without lines of the paper."""
    scores = scores_of(PAPER[1, 2])
    directory = experiment(tmp_path / "ours", scores, scores, model="embedded")
    made = tables(directory)["table-1"]
    assert [line[:2] for line in made.rows] == [
        ("embedded", "ours, 1 seed"),
        ("embedded + SAM (0.15)", "ours, 1 seed"),
    ]


def test_another_fraction_is_in_no_table(tmp_path: Path) -> None:
    """The paper's tables are of all data and of 5%; 20% belongs in Figure 1 only."""
    scores = scores_of(PAPER[1, 2])
    assert tables(experiment(tmp_path / "ours", scores, scores, fraction=0.2)) == {}


def test_seeds_are_averaged(tmp_path: Path) -> None:
    """With several seeds a line holds their means, and its table says so, but no other."""
    scores = scores_of(PAPER[4, 2])
    directory = experiment(tmp_path / "ours", scores, scores, tasks=["cbqa"], seeds=(0, 1, 2))
    made = tables(directory)
    assert made["table-4"].rows[1][1] == "ours, 3 seeds"
    assert made["table-4"].rows[0][2:] == made["table-4"].rows[1][2:]
    assert any("Means over seeds" in note for note in made["table-4"].notes)
    glue = scores_of(PAPER[2, 2])
    both = tables(directory, experiment(tmp_path / "glue", glue, glue, tasks=["glue"]))
    assert any("Means over seeds" in note for note in both["table-4"].notes)
    assert not any("Means over seeds" in note for note in both["table-2"].notes)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("google/t5-v1_1-small", "T5.1.1 Small"),
        ("google/t5-v1_1-xl", "T5.1.1 XL"),
        ("/models/t5.1.1.large", "T5.1.1 Large"),
        ("t5_1_1_base", "T5.1.1 Base"),
        ("google/mt5-base", "mT5 Base"),
        ("google/mt5-xxl", None),
        ("google-t5/t5-base", None),
        ("embedded", None),
    ],
)
def test_models_are_recognised(name: str, model: str | None) -> None:
    """The paper's models are recognised by their names, and no other."""
    assert paper_model(name) == model


def test_half_a_column_is_left_out() -> None:
    """A task with one of its two metrics has no place in the average, and an undefined score none either."""
    layout = layouts()[1]
    columns = columns_of(
        {
            ("superglue/cb", "accuracy"): 90.0,
            ("superglue/rte", "accuracy"): 80.0,
            ("superglue/wic", "accuracy"): math.nan,
        },
        layout,
    )
    assert columns == {"RTE": {"accuracy": 80.0}, "SGlue": {"average": 80.0}}


def test_tables_and_figures_are_written(tmp_path: Path) -> None:
    """Tables are written as Markdown, CSV and LaTeX, and Figure 2 has a panel along each setting."""
    scores = scores_of(PAPER[1, 2])
    cells = [
        experiment(tmp_path / "ours", scores, scores),
        experiment(tmp_path / "less", scores, scores, rho=0.05),
        experiment(tmp_path / "two", scores, scores, m=2),
    ]
    report = write_paper([read_experiment(cell) for cell in cells], tmp_path / "out")
    assert [table.name for table in report.tables] == ["table-1", "table-9"]
    for kind in ("md", "csv", "tex"):
        text = (tmp_path / "out" / "tables" / f"table-1.{kind}").read_text()
        assert "T5.1.1 Base" in text
    page = (tmp_path / "out" / "paper.md").read_text()
    assert "Table 1: SuperGLUE" in page and "(figures/figure-2.png)" in page
    assert (tmp_path / "out" / "figures" / "figure-2.png").read_bytes().startswith(b"\x89PNG")


def test_figure_1_is_along_the_fraction_of_the_data(tmp_path: Path) -> None:
    """Closed-book questions at two fractions give Figure 1 and no Figure 2."""
    scores = scores_of(PAPER[4, 2])
    cells = [
        experiment(tmp_path / f"{part}", scores, scores, tasks=["cbqa"], fraction=part)
        for part in (0.05, 0.2)
    ]
    write_paper([read_experiment(cell) for cell in cells], tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out" / "figures").iterdir()) == [
        "figure-1.png",
        "figure-1.svg",
    ]
