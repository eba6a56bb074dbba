"""The shape that most tasks share: a few fields in, the word of a class out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lowland import metrics
from lowland.metrics import domain
from lowland.tasks import fields, sources
from lowland.tasks.base import Example, Row, Source, Task, TaskData

Features = Mapping[str, tuple[str, ...]]
"""Name of a field in the text -> columns in which it is found."""


class ClassificationTask(Task):
    """Writes `<prefix> <field>: <text> <field>: <text>` and expects a class word, character for character.

    The pieces are joined by single spaces; the fields' own spaces stay as they are.

    Attributes:
        prefix: The first word of the input.
        features: The fields in the order of the text.
        classes: The class words in the order of the class numbers.
        label_columns: Columns in which the label is found.

    Source:
        The preprocessor `glue` and the postprocessor `string_label_to_class_id` of the T5 library.
    """

    def __init__(
        self,
        *,
        name: str,
        description: str,
        prefix: str,
        features: Features,
        classes: tuple[str, ...],
        data: sources.DataSet,
        sample_row: Row,
        label_columns: tuple[str, ...] = ("label",),
        metrics: tuple[str, ...] = ("accuracy",),
    ) -> None:
        self.name = name
        self.description = description
        self.prefix = prefix
        self.features = features
        self.classes = classes
        self.data = data
        self.sample_row = sample_row
        self.label_columns = label_columns
        self.metrics = metrics

    def examples(self, row: Row, split: str = "train") -> list[Example]:
        """Writes one row as text; a row whose label or text is empty is dropped, as T5 does."""
        columns = [column for names in self.features.values() for column in names]
        if fields.has_none(row, *columns, *self.label_columns) or self._no_gold_label(row):
            return []
        pieces = [self.prefix]
        for name, names in self.features.items():
            pieces += [f"{name}:", fields.text(row, *names)]
        # True means class 1 only where class 1 is the affirmative one: entailment is class 0.
        booleans = len(self.classes) == 2 and "entailment" not in self.classes
        label = fields.class_id(row, self.classes, self.label_columns, booleans=booleans)
        target = fields.UNLABELLED if label is None else self.classes[label]
        return [Example(inputs=" ".join(pieces), targets=target)]

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Lists the class words."""
        return self.classes

    def limits(self, examples: Sequence[Example]) -> list[metrics.Limit]:
        """Says for which metrics the examples lack a class."""
        targets = [example.targets for example in examples]
        found = [_LIMITS[key](targets, self.classes) for key in self.metrics]
        return [limit for limit in found if limit is not None]

    def score(
        self,
        targets: Sequence[str] | Sequence[Sequence[str]],
        predictions: Sequence[str],
        ids: Sequence[Mapping[str, int]] | None = None,
        answers: Sequence[Sequence[str]] | None = None,
        labels: Sequence[int] | None = None,
    ) -> dict[str, float]:
        """Scores class words; a prediction that is no class word is wrong."""
        numbers = {word: number for number, word in enumerate(self.classes)}
        check_lengths(targets, predictions)
        strange = next((target for target in targets if target not in numbers), None)
        if strange is not None:
            raise ValueError(f"The target {strange!r} is none of the classes {', '.join(self.classes)}.")
        right = [numbers[str(target)] for target in targets]
        written = [numbers.get(prediction, -1) for prediction in predictions]
        return {key: _METRICS[key](right, written) for key in self.metrics}

    def load(self, source: Source) -> TaskData:
        """Reads the examples."""
        return sources.load(self, self.data, source)

    def _no_gold_label(self, row: Row) -> bool:
        # MultiNLI writes "-" where the annotators did not agree; such rows are left out of the benchmark.
        return any(row.get(column) in ("", "-") for column in self.label_columns)


def check_lengths(targets: Sequence[object], predictions: Sequence[object]) -> None:
    """Raises a `ValueError` where the numbers of targets and predictions differ."""
    if len(targets) != len(predictions):
        raise ValueError(f"Got {len(targets)} targets and {len(predictions)} predictions.")


_METRICS: dict[str, Callable[[Sequence[int], Sequence[int]], float]] = {
    "accuracy": metrics.accuracy,
    "f1": metrics.binary_f1,
    "matthews_corrcoef": metrics.matthews,
    "mean_3class_f1": lambda targets, predictions: metrics.macro_f1(targets, predictions, range(3)),
}

_LIMITS: dict[str, Callable[[Sequence[str], tuple[str, ...]], metrics.Limit | None]] = {
    "accuracy": lambda targets, classes: domain.one_class(targets),
    "f1": lambda targets, classes: domain.positives(targets, classes[1]),
    "matthews_corrcoef": lambda targets, classes: domain.several_classes(targets),
    "mean_3class_f1": lambda targets, classes: domain.all_classes(targets, classes),
}
