"""Which examples there are to train on and to be scored on."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path

from lowland.settings import check, setting
from lowland.tasks.custom import CustomTask
from lowland.tasks.rows import task_name


@dataclass(frozen=True, kw_only=True)
class CustomData:
    """A user's own files."""

    train: str | None = setting(None, "training rows", metavar="FILE", path=True)
    evaluation: str | None = setting(None, "test rows", option="test eval", metavar="FILE", path=True)
    split: float | None = setting(
        None,
        "fraction of the training rows to test on, such as 0.2; without --test; rows with the same input "
        "stay together, on one side",
    )
    input: str = setting(MISSING, 'the input text, such as "review: {text}"', metavar="TEMPLATE")
    target: str = setting(MISSING, 'the target text, such as "{label}"', metavar="TEMPLATE")
    metrics: tuple[str, ...] = setting(
        ("accuracy",),
        "what is scored: accuracy, f1, macro_f1, matthews, exact_match, for which case counts; qa, which "
        "ignores case, punctuation and articles; rouge, bleu, chrf; pearson, spearman; may be repeated",
        option="metric",
        metavar="NAME",
    )
    answers: str | None = setting(
        None,
        "field that holds all right answers of a question, with | between them or as a list",
        metavar="FIELD",
    )
    positive: str | None = setting(
        None, "the positive class of f1", metavar="LABEL", unset="of two classes the one that sorts last"
    )
    skip_empty: bool = setting(False, "leave out rows with an empty target, which are an error otherwise")
    name: str = setting("", "name of the task in the results", metavar="NAME", unset="the file's")

    def __post_init__(self) -> None:
        check(self)
        object.__setattr__(self, "name", self.name or (task_name(self.files[0]) if self.files else "own"))

    @property
    def files(self) -> list[str]:
        """The files, by the names that were given."""
        return [name for name in (self.train, self.evaluation) if name is not None]

    def task(self, classes: tuple[str, ...] = ()) -> CustomTask:
        """Gives the task that these data are; `classes` can occur beside those in the files."""
        train, evaluation = (None if file is None else Path(file) for file in (self.train, self.evaluation))
        scored = (self.metrics, self.answers, self.positive, classes)
        texts = (train, evaluation, self.input, self.target)
        return CustomTask(self.name, *texts, *scored, self.split, self.skip_empty)


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which examples there are; a number of them is whole, a fraction has a decimal point: 8 and 0.25."""

    tasks: tuple[str, ...] = ()
    custom: CustomData | None = None
    data_dir: str | None = setting(None, "folder with the official files of tasks", metavar="DIR", path=True)
    hub: bool = setting(False, "allow fetching data and models from the Hugging Face hub")
    fraction: float = setting(1.0, "fraction of the training examples of each task", above=0, most=1)
    label_noise: float = setting(
        0.0,
        "give this fraction of the training examples another of their task's labels, in tasks of facts "
        "another question's answer, the same in all arms",
        least=0,
        most=1,
    )
    held_out: float | int = setting(
        0.1,
        "training examples held out to choose checkpoints: a fraction, or a number for each task, the same "
        "for all seeds; 0 for none",
    )
    held_out_limit: int = setting(200, "maximum number of held-out examples of a task", least=0)
    evaluation_limit: float | int = setting(
        0,
        "score the first N examples of each test set, or a fraction; 0 for all",
        option="eval-limit",
    )
    cap: int | None = setting(
        None, "most examples of a task that count towards its mixing rate", least=1, unset="all count"
    )
    temperature: float = setting(
        1.0,
        "temperature of the mixing rates; 1 draws tasks in proportion to their sizes, more evens them out",
        above=0,
    )

    def __post_init__(self) -> None:
        if not self.tasks and self.custom is None:
            raise ValueError(
                "There is nothing to train on. Name a task (see `lowland tasks`), or give files of your own "
                "with --train, --test, --input and --target."
            )
        check(self)
        if not self.held_out >= 0 or (isinstance(self.held_out, float) and self.held_out >= 1):  # NaN too
            raise ValueError(
                f"Invalid held_out={self.held_out!r}. Must be a fraction in [0, 1) or a number of examples."
            )
        limit = self.evaluation_limit
        if not (0 < limit <= 1 if isinstance(limit, float) else limit >= 0):
            raise ValueError(
                f"Invalid evaluation_limit={limit!r}. Must be a fraction in (0, 1] or a number of examples."
            )
