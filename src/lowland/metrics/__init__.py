"""Metrics: lists in, percent out.

Targets and predictions go in as lists of the same length; what comes out is a number from 0 to 100
(correlations from -100 to 100), `nan` where a metric is not defined. The values equal those of the
T5 library (Raffel et al., 2020), which the paper reports. `by_name` is the table from which a user
chooses metrics for data of his own; these are `nan` for a set without positives, where T5's F1 is 0, and
a macro average leaves out a class that occurs nowhere.
"""

from lowland.metrics.classification import accuracy, binary_f1, macro_f1, matthews
from lowland.metrics.domain import Domain, Limit
from lowland.metrics.named import Metric, by_name, metric_names
from lowland.metrics.qa import normalize_squad, normalize_trivia_qa, squad, trivia_qa
from lowland.metrics.regression import parse_number, pearson, spearman

__all__ = [
    "Domain",
    "Limit",
    "Metric",
    "accuracy",
    "binary_f1",
    "by_name",
    "macro_f1",
    "matthews",
    "metric_names",
    "normalize_squad",
    "normalize_trivia_qa",
    "parse_number",
    "pearson",
    "spearman",
    "squad",
    "trivia_qa",
]
