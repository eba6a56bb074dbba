"""The answer in four lines."""

from __future__ import annotations

import pytest

from lowland.outcomes.likelihood import CALIBRATION
from lowland.report.answer import Judged, answer, describe
from lowland.statistics import Spread, compare_pairs, decide, power

UNDECIDED = ([80.0, 81, 82, 80], [71.0, 60, 75, 78])
BETTER = ([80.0, 81, 82, 80], [83.0, 84.5, 85, 83.2])
EQUAL = ([80.0, 81, 82], [80.1, 81.2, 82.1])


def judged(reference: list[float], arm: list[float], name: str = "SAM") -> Judged:
    """A verdict on the accuracy."""
    verdict = decide(compare_pairs(reference, arm), floor=0.0, ceiling=100.0)
    return Judged(arm=name, outcome="accuracy on sst2", verdict=verdict)


def test_undecided_says_how_it_leans_and_what_would_decide() -> None:
    """An undecided answer has the interval, the signs, the seeds that would decide, and the baseline."""
    lines = answer("Standard", [judged(*UNDECIDED)])
    assert lines == (
        "Compared: SAM with Standard over 4 seeds, accuracy on sst2 at the last step.",
        "Score: SAM is undecided: -9.8 points (-22.6 to +3.1), worse in 4 of 4 seeds; "
        "about 11 seeds would decide.",
        "Other outcomes: none was measured.",
        "Advice: use Standard, since no gain is shown; a fresh comparison of 11 seeds would probably decide.",
    )


def test_hundreds_of_seeds_are_not_advised() -> None:
    """Where a decision would take more than 40 seeds, the advice is what these could have seen instead."""
    arm = judged([80.0, 81, 82, 80, 81], [81.4, 79.6, 83.8, 78.9, 81.7])
    needed = arm.verdict.seeds_needed
    assert needed is not None and needed > 40
    spread = Spread(value=arm.verdict.comparison.sd, freedom=4, source="these pairs")
    lines = answer("Standard", [arm])
    assert lines[1].endswith("better in 3 of 5 seeds; it would take more than 40 seeds.")
    sees = f"these 5 detect only {power(5, spread).sees:.1f} points or more with 80% power"
    assert lines[3].endswith(f"no gain is shown; more seeds are unlikely to decide: {sees}.")
    looked = decide(
        compare_pairs([80.0, 81, 82, 80, 81], [81.4, 79.6, 83.8, 78.9, 81.7], sequential=True),
        floor=0.0,
        ceiling=100.0,
    )
    (_, _, _, advice) = answer("Standard", [Judged(arm="SAM", outcome="x", verdict=looked)])
    assert advice.endswith("more seeds are unlikely to decide.")


@pytest.mark.parametrize(
    ("scores", "said", "advised"),
    [
        (([0.0, 0], [0.0, 0]), "learned nothing", "make Standard learn first"),
        (([100.0, 100], [100.0, 100]), "nothing left to gain", "more or harder examples"),
        (EQUAL, "equal within 0.5 points: +0.1 points", "use Standard, since no gain"),
        (BETTER, "is better: +3.2 points", "Advice: use SAM."),
        (BETTER[::-1], "is worse: -3.2 points", "use Standard, since no gain"),
        (([80.0], [90.0]), "cannot be judged by one seed: +10.0 points", "run 5 seeds or more"),
        (([], []), "no seed has finished in both arms", "run 5 seeds or more"),
        (
            ([80.0] * 3, [81.0] * 3),
            "is undecided: +1.0 points, better in 3 of 3 seeds; about 6",
            "a fresh comparison of 6 seeds",
        ),
    ],
)
def test_each_kind_has_its_own_words(
    scores: tuple[list[float], list[float]], said: str, advised: str
) -> None:
    """What used to be 'no difference detected' is four things, and each leads to another advice."""
    lines = answer("Standard", [judged(*scores)])
    assert said in lines[1]
    assert advised in lines[3]


def test_several_arms() -> None:
    """Every arm has its verdict; the best of those that are better is advised, with a word of caution."""
    more = (BETTER[0], [score + 1 for score in BETTER[1]])
    lines = answer("baseline", [judged(*BETTER, "late"), judged(*more, "early"), judged(*EQUAL, "ema")])
    assert lines[0].startswith("Compared: late, early, ema with baseline over 4 seeds")
    assert lines[1].count("is better") == 2
    assert lines[3].startswith("Advice: use early. It was chosen among several")


def test_strongest_other_verdict() -> None:
    """Of the other outcomes the one that chance explains worst is told, and used where the score is equal."""
    weak = CALIBRATION.judge(compare_pairs([8.0, 9, 8.5], [6.0, 5.5, 6.8]))
    strong = CALIBRATION.judge(compare_pairs([8.0, 9, 8.5], [4.0, 5.1, 4.4]))
    others = [
        Judged(arm="SAM", outcome="calibration error on sst2", verdict=weak),
        Judged(arm="SAM", outcome="calibration error on mrpc", verdict=strong),
    ]
    lines = answer("Standard", [judged(*EQUAL)], others)
    assert lines[2].startswith("Other outcomes: calibration error on mrpc, where SAM is better: -4.0 points")
    assert lines[3] == "Advice: use SAM where calibration error on mrpc counts, else Standard."
    undecided = [Judged(arm="SAM", outcome="x", verdict=decide(compare_pairs([1.0, 2], [2.0, 2])))]
    near = Judged(arm="SAM", outcome="y", verdict=decide(compare_pairs(*BETTER), adjusted_p=0.2))
    assert (
        "2 verdicts, none better or worse (undecided); the closest: y, where SAM is undecided: +3.2"
        in (answer("S", [judged(*EQUAL)], [*undecided, near])[2])
    )
    assert "1 verdict, none better or worse (undecided)" in answer("S", [judged(*EQUAL)], undecided)[2]


def test_seeds_added_after_looking_show_the_interval_that_holds() -> None:
    """The interval of the answer is the one that decided, wider than that of the pairs alone."""
    pairs = ([80.0, 81.0] * 4, [83.0, 83.5] * 4)
    many, looked = (compare_pairs(*pairs, sequential=looks) for looks in (False, True))
    assert f"{looked.high:+.1f}" in describe(decide(looked))
    assert looked.high > many.high
    assert "(" not in describe(
        decide(compare_pairs([80.0, 81, 82, 80], [83.0, 84.5, 85, 83.2], sequential=True))
    )
