"""Metrics: lists of targets and predictions in, percent out (correlations from -100 to 100).

`nan` stands for a number that is not defined. The values equal those of the T5 library (Raffel et al., 2020),
which the paper reports. `by_name` has the metrics for users' own data; these are `nan` for a set without
positives, where T5's F1 is 0, and their macro average leaves out a class that occurs nowhere.
"""

from lowland.metrics.named import Domain, Limit, Metric, by_name, find_limit, metric_names
from lowland.metrics.texts import normalize_squad, normalize_trivia_qa, squad, trivia_qa
from lowland.metrics.values import accuracy, binary_f1, macro_f1, matthews, parse_number, pearson, spearman

__all__ = [
    "Domain",
    "Limit",
    "Metric",
    "accuracy",
    "binary_f1",
    "by_name",
    "find_limit",
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
