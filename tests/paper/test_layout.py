"""The paper's figures: nothing is lost, and its averages come out of their parts."""

from __future__ import annotations

import pytest

from lowland.paper.printed import PrintedRow, average_columns, layouts, printed_rows

AVERAGES = {layout.average for layout in layouts().values()}
AVERAGED = [
    row for row in printed_rows() if set(row.scores) & AVERAGES and len(row.scores) > 1
]  # Table 3 prints nothing but averages


def _printed(row: PrintedRow) -> dict[str, float]:
    return dict(next(row.scores[name] for name in AVERAGES if name in row.scores))


def row_average(row: PrintedRow) -> dict[str, float]:
    """Averages the columns of a row as the paper does."""
    columns = {name: metrics for name, metrics in row.scores.items() if name not in AVERAGES}
    return average_columns(columns, by_metric="avg" in row.scores)


def test_no_figure_is_lost() -> None:
    """Tables 1 to 9 hold 796 figures in 79 rows."""
    rows = printed_rows()
    assert sum(len(metrics) for row in rows for metrics in row.scores.values()) == 796
    assert len({(row.table, row.row) for row in rows}) == len(rows) == 79


@pytest.mark.parametrize("row", AVERAGED, ids=lambda row: f"table{row.table}-row{row.row}")
def test_averages_recompute(row: PrintedRow) -> None:
    """Every average is that of its row's parts, as closely as parts that are rounded to 0.1 can tell."""
    # Each part is off by 0.05 at most, hence their mean too, and the printed average by 0.05 more.
    assert row_average(row) == pytest.approx(_printed(row), abs=0.1)


def test_most_averages_recompute_exactly() -> None:
    """All but six of the 55 averages are exact: the way of averaging is the one of the paper."""
    off = [
        (row.table, row.model, row.sam_rho, metric)
        for row in AVERAGED
        for metric, value in row_average(row).items()
        # Half-up rounding to one decimal; the parts' mean is exact up to 1e-9.
        if abs(int(value * 10 + 0.5 + 1e-9) / 10 - _printed(row)[metric]) > 1e-9
    ]
    assert len(off) == 6
    assert {table for table, *_ in off} == {1, 6, 8, 9}


def test_table_3_repeats_table_8() -> None:
    """Table 3 prints the averages of Table 8."""
    rows = {(row.table, row.row): row for row in printed_rows()}
    assert all(rows[3, number].scores["avg"] == rows[8, number].scores["avg"] for number in range(8))
