"""Rehearsals: smaller in proportion, and otherwise the same."""

from __future__ import annotations

import pytest

from lowland.cli import build_verb_parser, settings
from lowland.config.experiment import ExperimentConfig, build_config
from lowland.config.layers import differences
from lowland.config.scale import scale
from lowland.errors import UserError
from lowland.paper.recipes import read_recipe

BASE = read_recipe("paper-superglue-base").config()


def _changed(config: ExperimentConfig, other: ExperimentConfig) -> set[str]:
    return {line.partition(":")[0] for line in differences(config.to_dict(), other.to_dict())}


def test_work_shrinks_in_proportion() -> None:
    """Steps, evaluation interval, training and evaluation examples shrink by the factor, held-out too."""
    small = scale(BASE, 0.01)
    assert (small.train.steps, small.train.evaluate_every) == (2500, 10)
    assert (small.data.fraction, small.data.evaluation_limit, small.data.held_out_limit) == (0.01, 0.01, 2)


def test_the_shape_stays() -> None:
    """Nothing but sizes changes: arms, seeds, batch, a/b, m, rho, lengths, rates and the rest are kept."""
    assert _changed(BASE, scale(BASE, 0.01)) == {
        "train.steps",
        "train.evaluate_every",
        "data.fraction",
        "data.evaluation_limit",
        "data.held_out_limit",
    }


def test_limits_cap_warmup_and_held_out_shrink_where_they_are_set() -> None:
    """Numbers of examples and of warm-up steps shrink, fractions of what is kept do not."""
    layer = {
        "data": {"cap": 1000, "evaluation_limit": 500, "held_out": 40, "fraction": 0.2},
        "train": {"warmup_steps": 100},
    }
    small = scale(build_config(read_recipe("paper-cbqa-base").settings, layer), 0.1)
    data = small.data
    assert (data.cap, data.evaluation_limit, data.held_out) == (100, 50, 4)
    assert data.fraction == pytest.approx(0.02)  # a product of floats
    assert small.train.warmup_steps == 10
    held = build_config(read_recipe("paper-cbqa-base").settings, {"data": {"held_out": 0.1}})
    assert scale(held, 0.1).data.held_out == 0.1
    half = build_config(read_recipe("paper-cbqa-base").settings, {"data": {"evaluation_limit": 0.5}})
    assert scale(half, 0.1).data.evaluation_limit == pytest.approx(0.05)  # a product of floats


def test_nothing_falls_below_one() -> None:
    """However small the scale, a step, an evaluation and a held-out example are left."""
    tiny = scale(BASE, 1e-9)
    assert (tiny.train.steps, tiny.data.held_out_limit) == (1, 1)


def test_evaluations_do_not_crowd() -> None:
    """Ten steps at least lie between a rehearsal's evaluations, or as few as the recipe itself has."""
    assert scale(BASE, 0.001).train.evaluate_every == 10
    often = build_config(read_recipe("paper-cbqa-base").settings, {"train": {"evaluate_every": 4}})
    assert scale(often, 0.1).train.evaluate_every == 4


def test_scale_one_changes_nothing() -> None:
    """A scale of 1 gives the same configuration."""
    assert scale(BASE, 1.0) == BASE


@pytest.mark.parametrize("factor", [0.0, -1.0, 1.5, float("nan")])
def test_other_factors_are_refused(factor: float) -> None:
    """A scale outside (0, 1] is refused."""
    with pytest.raises(UserError, match="Must be in"):
        scale(BASE, factor)


def test_options_hold_as_they_are() -> None:
    """What the command line sets beside --scale is not shrunk; the rest of the recipe is."""
    words = ["--preset", "paper-superglue-base", "--scale", "0.01", "--steps", "60", "--model", "embedded"]
    given = build_verb_parser("compare").parse_words(words)
    config = scale(build_config(*settings.layers(given)), given.scale, keep=vars(given))
    assert (config.train.steps, config.train.evaluate_every, config.model) == (60, 10, "embedded")
    # The embedded model's own defaults lie below every preset.
    assert (config.train.batch_size, config.train.learning_rate) == (32, 5e-3)
