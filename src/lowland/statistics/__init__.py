"""Statistics of paired runs: intervals, verdicts, power and sequential looks. Numbers in, numbers out."""

from lowland.statistics.interval import CONFIDENCE, EQUAL_POINTS, CrossedInterval, critical, crossed_interval
from lowland.statistics.paired import PairedComparison, Summary, compare_pairs, summarize
from lowland.statistics.power import Power, Spread, power, seeds_for, spread_of_runs
from lowland.statistics.verdict import MARGIN, Kind, Verdict, decide, holm

__all__ = [
    "CONFIDENCE",
    "EQUAL_POINTS",
    "MARGIN",
    "CrossedInterval",
    "Kind",
    "PairedComparison",
    "Power",
    "Spread",
    "Summary",
    "Verdict",
    "compare_pairs",
    "critical",
    "crossed_interval",
    "decide",
    "holm",
    "power",
    "seeds_for",
    "spread_of_runs",
    "summarize",
]
