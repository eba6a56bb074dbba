"""The statistics of `lowland.statistics`, under the names by which records and older reports import them."""

from lowland.statistics import CONFIDENCE, EQUAL_POINTS, PairedComparison, Summary, compare_pairs, summarize
from lowland.statistics import Finding as Verdict

__all__ = [
    "CONFIDENCE",
    "EQUAL_POINTS",
    "PairedComparison",
    "Summary",
    "Verdict",
    "compare_pairs",
    "summarize",
]
