"""Metrics on cases small enough to check by hand; T5's own numbers are compared in test_tasks_golden.py."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland import metrics
from lowland.errors import UserError
from lowland.metrics import Domain

CLASSES = st.lists(st.tuples(st.integers(0, 1), st.integers(-1, 1)), min_size=1, max_size=30)


def test_accuracy_is_the_share_of_equal_items() -> None:
    """Accuracy is the percentage of equal items, and nan without items."""
    assert metrics.accuracy([1, 0, 2, 1], [1, 1, 2, -1]) == 50.0
    assert math.isnan(metrics.accuracy([], []))


@given(CLASSES)
def test_f1_equals_its_definition(items: list[tuple[int, int]]) -> None:
    """F1 is 2 TP / (2 TP + FP + FN), where an invalid prediction is the opposite of its target; a set without
    positives has none.
    """
    targets = [target for target, _ in items]
    predictions = [prediction for _, prediction in items]
    valid = [1 - target if prediction == -1 else prediction for target, prediction in items]
    right = sum(target == prediction == 1 for target, prediction in zip(targets, valid, strict=True))
    wrong = sum(target != prediction for target, prediction in zip(targets, valid, strict=True))
    expected = 100 * 2 * right / (2 * right + wrong) if right else 0.0
    # The same double up to the order of a few operations.
    assert metrics.binary_f1(targets, predictions) == pytest.approx(expected, abs=1e-9)


def test_macro_f1_counts_absent_classes_as_zero() -> None:
    """A class that occurs on neither side still takes its share of T5's mean."""
    assert metrics.macro_f1([0, 1], [0, 1], classes=range(3)) == pytest.approx(200 / 3)


def test_matthews_of_a_constant_side_is_zero() -> None:
    """Constant predictions correlate 0 with anything, and the opposite of the targets correlates -100."""
    assert metrics.matthews([0, 1, 1], [1, 1, 1]) == 0.0
    assert metrics.matthews([1, 1], [1, 1]) == 0.0
    assert metrics.matthews([0, 1, 0, 1], [1, 0, 1, 0]) == -100.0


@pytest.mark.parametrize(
    ("text", "squad", "trivia_qa"),
    [
        ("The U.S.A.!", "usa", "u s"),
        ("Jean-Paul", "jeanpaul", "jean paul"),
        ("an apple a day", "apple day", "apple day"),
        ("rock_and_roll", "rockandroll", "rock and roll"),
        ("O\u2019Brien \u00b4", "o\u2019brien \u00b4", "o brien"),
        ("x\u00a0 y\n", "x y", "x y"),
        ("theatre", "theatre", "theatre"),
    ],
)
def test_normalisation(text: str, squad: str, trivia_qa: str) -> None:
    """SQuAD deletes punctuation and TriviaQA replaces it by spaces, both before articles are removed."""
    assert metrics.normalize_squad(text) == squad
    assert metrics.normalize_trivia_qa(text) == trivia_qa


@given(st.text(max_size=40))
def test_normalisation_settles(text: str) -> None:
    """Normalising removes outer spaces and never leaves two spaces in a row."""
    for normalize in (metrics.normalize_squad, metrics.normalize_trivia_qa):
        assert normalize(text) == " ".join(normalize(text).split())


def test_qa_takes_the_best_answer_for_each_number_apart() -> None:
    """Exact match and F1 each take the best of the right answers, and F1 counts repeated words once each."""
    assert metrics.squad([["x y", "z"]], ["the x"]) == {"em": 0.0, "f1": pytest.approx(200 / 3)}
    assert metrics.squad([["b b c"]], ["b c"]) == {"em": 0.0, "f1": pytest.approx(80.0)}
    assert metrics.squad([["the"]], ["a"]) == {"em": 100.0, "f1": 0.0}


def test_qa_without_questions_or_answers() -> None:
    """No questions give nan; a question without a right answer is an error, not a zero."""
    assert all(math.isnan(value) for value in metrics.squad([], []).values())
    with pytest.raises(ValueError, match="Question 1 has no right answer"):
        metrics.trivia_qa([["x"], []], ["x", "y"])


@pytest.mark.parametrize(
    ("text", "number"),
    [(" 3.0 ", 3.0), ("4.", 4.0), ("5e0", 5.0), ("1_0", 10.0), ("three", -1.0), ("", -1.0)],
)
def test_numbers_are_read_as_python_reads_them(text: str, number: float) -> None:
    """A number is what Python's float takes, anything else is -1."""
    assert metrics.parse_number(text) == number


def test_correlations() -> None:
    """Correlations are in percent; ties take average ranks; a constant, short or infinite side gives nan."""
    assert metrics.pearson([1, 2, 3], [2, 4, 6]) == pytest.approx(100)
    assert metrics.spearman([1, 2, 3], [1, 8, 27]) == pytest.approx(100)
    assert metrics.spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(100 * 4.5 / math.sqrt(4.5 * 5))
    for side in ([1.0, 1.0, 1.0], [1.0, math.inf, 2.0], [1.0, math.nan, 2.0]):
        assert math.isnan(metrics.pearson([1.0, 2.0, 3.0], side))
    assert math.isnan(metrics.spearman([1.0], [1.0]))
    with pytest.raises(ValueError, match="same length"):
        metrics.pearson([1.0, 2.0], [1.0])


TARGETS = ["ham", "spam", "ham", "spam"]
PREDICTIONS = ["ham", "spam", "spam", "eggs"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", {"accuracy": 50.0}),
        # spam, which sorts last: one true positive, one false positive, one false negative.
        ("f1", {"f1": 50.0}),
        ("macro_f1", {"macro_f1": pytest.approx((200 / 3 + 50) / 2)}),
        ("exact_match", {"exact_match": 50.0}),
        ("qa", {"em": 50.0, "f1": 50.0}),
        ("qa_f1", {"f1": 50.0}),
        ("trivia_qa", {"em": 50.0, "f1": 50.0}),
    ],
)
def test_metrics_by_name(name: str, expected: dict[str, float]) -> None:
    """Each name gives the numbers that its keys announce, computed by hand."""
    metric = metrics.by_name(name)
    scores = metric.score(TARGETS, PREDICTIONS, [[target] for target in TARGETS], Domain.of(TARGETS))
    assert scores == expected
    assert tuple(scores) == metric.keys


@pytest.mark.parametrize("name", ["matthews", "pearson", "spearman"])
def test_perfect_predictions_correlate(name: str) -> None:
    """Perfect predictions give 100 with every correlation."""
    texts = ["1", "2.5", "1"]
    scores = metrics.by_name(name).score(texts, texts, [], Domain.of(texts))
    assert list(scores.values()) == [pytest.approx(100)]


def test_f1_refuses_three_classes() -> None:
    """F1 without a named class needs two classes, and the message says what to take instead."""
    with pytest.raises(UserError, match=r"two classes.*3; take 'macro_f1'"):
        metrics.by_name("f1").check(["a", "b", "c"], Domain.of(["a", "b", "c"]))


def test_an_unknown_metric_names_the_nearest() -> None:
    """A misspelt metric is answered with the names that are nearest."""
    with pytest.raises(UserError, match="accuracy"):
        metrics.by_name("acuracy")


WORDS = st.sampled_from(["ham", "spam", "eggs", "?"])


@given(
    st.lists(st.tuples(st.sampled_from(["ham", "spam"]), WORDS), min_size=1, max_size=8), st.integers(0, 8)
)
def test_a_part_is_scored_as_part_of_its_task(rows: list[tuple[str, str]], size: int) -> None:
    """What a metric of classes says of a part does not depend on which classes the part shows: adding rows of
    the other class never turns what was right wrong, and a set without positives has no F1.
    """
    whole = [*rows, ("ham", "ham"), ("spam", "spam")]
    task, part = Domain.of([target for target, _ in whole], "spam"), whole[:size]
    targets, texts = [target for target, _ in part], [text for _, text in part]
    f1 = metrics.by_name("f1").score(targets, texts, [], task)["f1"]
    assert math.isnan(f1) == ("spam" not in targets)
    if not math.isnan(f1):
        assert (f1 > 0) == (("spam", "spam") in part)
        assert (f1 == 100) == all(target == text for target, text in part)


def test_the_positive_class_belongs_to_the_task() -> None:
    """F1 is of the class that sorts last in the whole data, or the named one, whatever rows are scored."""
    data = Domain.of(["ham", "spam"])
    f1 = metrics.by_name("f1")
    assert math.isnan(f1.score(["ham"] * 3, ["ham"] * 3, [], data)["f1"])
    assert f1.score(["ham", "spam"], ["ham", "ham"], [], data) == {"f1": 0.0}
    assert f1.score(["ham"] * 3, ["ham"] * 3, [], Domain.of(["ham", "spam"], "ham")) == {"f1": 100.0}
    # ham: one true positive, one false negative, and "eggs" is a false positive for it.
    assert f1.score(TARGETS, PREDICTIONS, [], Domain.of(TARGETS, "ham")) == {"f1": 50.0}
    news = Domain.of(["ham", "news", "spam"], "spam")
    # "news" is a class of the task, though no row at hand has it: no false positive.
    assert f1.score(["ham", "spam"], ["news", "spam"], [], news) == {"f1": 100.0}


@pytest.mark.parametrize(
    ("name", "targets", "said", "undefined"),
    [
        ("f1", ["ham"] * 20, "none of its 20 targets is 'spam'", True),
        ("f1", ["spam"] * 20, "a constant answer scores 100", False),
        ("accuracy", ["ham"] * 20, "a constant answer scores 100", False),
        ("macro_f1", ["ham"] * 20, "lacks examples of 1 of 2 classes ('spam')", False),
        ("matthews", ["ham"] * 20, "not defined", True),
        ("pearson", ["1", "1.0", "1"], "not defined", True),
        ("spearman", ["1", "1.0", "1"], "not defined", True),
    ],
)
def test_a_set_that_cannot_tell_is_told(name: str, targets: list[str], said: str, undefined: bool) -> None:
    """A set that lacks what a metric needs is told, and where the score is nan whatever a model writes."""
    task = Domain.of(
        [*targets, "ham", "spam"] if name not in ("pearson", "spearman") else [*targets, "1", "3"]
    )
    limit = metrics.by_name(name).limit(targets, task)
    assert limit is not None and said in limit.text and limit.undefined == undefined
    (score,) = metrics.by_name(name).score(targets, targets, [[text] for text in targets], task).values()
    assert math.isnan(score) == undefined


def test_a_set_of_cb_that_lacks_a_class_is_told_what_t5_does() -> None:
    """T5's mean F1 of CB counts a class that never occurs as 0, and does not leave it out."""
    limit = metrics.find_limit("mean_3class_f1", ["a", "b"], Domain.of(["a", "b", "c"]))
    assert limit is not None and limit.text.endswith("classes ('c'): macro F1 counts them as 0")
    assert metrics.macro_f1([0, 1], [0, 1], range(3)) == pytest.approx(200 / 3)  # exact but for rounding


@pytest.mark.parametrize("name", metrics.metric_names())
def test_a_good_set_has_no_limits(name: str) -> None:
    """A set with all classes, or many different numbers, is not complained of."""
    targets = ["1", "2"] * 10
    assert metrics.by_name(name).limit(targets, Domain.of(targets)) is None


def test_what_is_no_number_counts_as_less_than_all() -> None:
    """A text that is no finite number counts as below the task's range, as T5's -1 is below 0 to 5."""
    assert Domain.of(["0", "2.5", "5"]).outside == -1.0
    task = Domain.of(["-4", "-3", "-2", "-1"])
    pearson = metrics.by_name("pearson")
    wrong = pearson.score(["-4", "-3", "-2", "-1"], ["-4", "-3", "-2", "none"], [], task)
    assert wrong["pearson_corrcoef"] < 50  # -1 would have been right
    for text in ("nan", "inf", "1e999"):
        assert pearson.score(["-4", "-3", "-2", "-1"], ["-4", "-3", "-2", text], [], task) == wrong
    assert Domain.of(["7"]).outside < 7


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_the_same_number_for_every_row_is_a_score(name: str) -> None:
    """Constant predictions correlate with nothing and score 0, so that a run that ends so stays in the means;
    a set whose targets are all the same has no score.
    """
    task, metric = Domain.of(["1", "2", "3"]), metrics.by_name(name)
    assert list(metric.score(["1", "2", "3"], ["2"] * 3, [], task).values()) == [0.0]
    assert list(metric.score(["1", "2", "3"], ["none"] * 3, [], task).values()) == [0.0]
    assert math.isnan(*metric.score(["2", "2", "2"], ["1", "2", "3"], [], task).values())
    assert math.isnan(*metric.score(["2", "2", "2"], ["1", "1", "1"], [], task).values())


def test_a_macro_average_of_own_data_leaves_out_what_does_not_occur() -> None:
    """A class on neither side has no F1; one that is predicted and never right counts as 0."""
    task, macro = Domain.of(["a", "b", "c"]), metrics.by_name("macro_f1")
    assert macro.score(["a", "b"], ["a", "b"], [], task) == {"macro_f1": 100.0}
    assert macro.score(["a", "b"], ["a", "c"], [], task) == {"macro_f1": pytest.approx(100 / 3)}
    assert macro.score(["a", "b"], ["a", "?"], [], task) == {"macro_f1": 50.0}  # no class of the task
