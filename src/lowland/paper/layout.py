"""How the paper's tables are laid out, and which of our evaluation sets and metrics stand in which column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Key = tuple[str, str]
"""Our evaluation set and metric."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A table's layout.

    Attributes:
        number: The table's number.
        title: What it shows.
        average: The column of the average; `None` where the table has none.
        columns: Column -> printed metric -> ours. The column of the average is not among them.
        shown: Whether the columns are printed; Table 3 prints the averages only.
    """

    number: int
    title: str
    average: str | None
    columns: Mapping[str, Mapping[str, Key]]
    shown: bool = True

    @property
    def average_metrics(self) -> tuple[str, ...]:
        """The metrics of the average."""
        return ("f1", "em") if self.average == "avg" else ("average",)


def _same(name: str, *metrics: str) -> dict[str, Key]:
    return {metric: (name, metric) for metric in metrics}


_SUPERGLUE: Mapping[str, Mapping[str, Key]] = {
    "BoolQ": _same("superglue/boolq", "accuracy"),
    "CB": {"f1": ("superglue/cb", "mean_3class_f1"), "accuracy": ("superglue/cb", "accuracy")},
    "CoPA": _same("superglue/copa", "accuracy"),
    "MultiRC": _same("superglue/multirc", "f1", "exact_match"),
    "ReCoRD": _same("superglue/record", "f1", "em"),
    "RTE": _same("superglue/rte", "accuracy"),
    "WiC": _same("superglue/wic", "accuracy"),
    "WSC": _same("superglue/wsc", "accuracy"),
}
_GLUE: Mapping[str, Mapping[str, Key]] = {
    "CoLA": {"matthews": ("glue/cola", "matthews_corrcoef")},
    "SST": _same("glue/sst2", "accuracy"),
    "MRPC": _same("glue/mrpc", "f1", "accuracy"),
    "STSB": {"pearson": ("glue/stsb", "pearson_corrcoef"), "spearman": ("glue/stsb", "spearman_corrcoef")},
    "QQP": _same("glue/qqp", "f1", "accuracy"),
    "MNLI": {
        "matched_accuracy": ("glue/mnli/matched", "accuracy"),
        "mismatched_accuracy": ("glue/mnli/mismatched", "accuracy"),
    },
    "QNLI": _same("glue/qnli", "accuracy"),
    "RTE": _same("glue/rte", "accuracy"),
}
_CLOSED_BOOK: Mapping[str, Mapping[str, Key]] = {
    "NaturalQuestions": _same("cbqa/natural_questions", "f1", "em"),
    "WebQuestions": _same("cbqa/web_questions", "f1", "em"),
    "TriviaQA": _same("cbqa/trivia_qa", "f1", "em"),
}
_LANGUAGES = {
    "en": "english",
    "ar": "arabic",
    "bn": "bengali",
    "fi": "finnish",
    "id": "indonesian",
    "ko": "korean",
    "ru": "russian",
    "sw": "swahili",
    "te": "telugu",
}
_TYDIQA = {code: _same(f"tydiqa/goldp/{name}", "f1", "em") for code, name in _LANGUAGES.items()}

LAYOUTS: Mapping[int, Layout] = {
    layout.number: layout
    for layout in (
        Layout(number=1, title="SuperGLUE, development sets", average="SGlue", columns=_SUPERGLUE),
        Layout(number=2, title="GLUE, development sets", average="Glue", columns=_GLUE),
        Layout(
            number=3, title="TyDiQA, averages over languages", average="avg", columns=_TYDIQA, shown=False
        ),
        Layout(
            number=4,
            title="Closed-book questions, all data sets together",
            average=None,
            columns=_CLOSED_BOOK,
        ),
        Layout(
            number=5, title="Closed-book questions, each data set alone", average=None, columns=_CLOSED_BOOK
        ),
        Layout(number=6, title="SuperGLUE, 5% of the training data", average="SGlue", columns=_SUPERGLUE),
        Layout(
            number=7,
            title="Closed-book questions, 5% of the training data",
            average=None,
            columns=_CLOSED_BOOK,
        ),
        Layout(number=8, title="TyDiQA by language", average="avg", columns=_TYDIQA),
        Layout(number=9, title="SuperGLUE: sensitivity to rho, a and m", average="SGlue", columns=_SUPERGLUE),
    )
}
"""Number -> layout."""
