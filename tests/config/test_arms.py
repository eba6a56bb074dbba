"""Arms: how they are named, read, laid over settings and refused."""

from __future__ import annotations

from typing import Any

import pytest

from lowland.config.arms import KNOWN, parse_arm, read_arms
from lowland.config.experiment import ExperimentConfig, build_config
from lowland.config.layers import read_layer
from lowland.errors import UserError

BASE: dict[str, Any] = {"data": {"tasks": ["facts/continents"]}, "sam": {"rho": 0.1}}


def config_of(**more: Any) -> ExperimentConfig:
    """An experiment over a small base."""
    return build_config(BASE, more)


def test_baseline_and_sam_are_the_arms() -> None:
    """Without a word on arms there are two: one without SAM, and SAM as it is set."""
    config = config_of()
    assert list(config.arms) == ["baseline", "sam"] and config.reference == "baseline"
    assert (config.of("baseline").sam.rho, config.of("sam").sam.rho) == (0.0, 0.1)


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_arm_can_be_trained(name: str) -> None:
    """Each name that the package knows gives valid settings."""
    assert (config_of(arms=[name]).of(name).sam.rho == 0) == (KNOWN[name].get("sam.rho") == 0)


def test_an_arm_changes_what_it_says_and_nothing_else() -> None:
    """An arm's settings are the shared ones with its own laid over, at any depth, and another model."""
    config = config_of(arms=["sam"], more_arms={"mine": {"train.learning_rate": 0.5, "model": "/a/b"}})
    mine, sam = config.of("mine"), config.of("sam")
    assert (mine.train.learning_rate, mine.model) == (0.5, "/a/b")
    assert (mine.data, mine.sam) == (sam.data, sam.sam)
    assert mine.train.steps == sam.train.steps


def test_tables_and_words_read_alike() -> None:
    """A table in TOML, nested or dotted, and a word of the command line give the same arm."""
    name, changes = parse_arm("late: sam.rho=0.15 sam.start=0.2 train.optimizer=adamw")
    nested = {"late": {"sam": {"rho": 0.15, "start": 0.2}, "train": {"optimizer": "adamw"}}}
    assert read_arms([{"more_arms": {name: changes}}])["late"] == read_arms([{"arms": nested}])["late"]


def test_later_layers_choose_and_add() -> None:
    """A list chooses among all arms that layers define, in its order; one's own come after it."""
    layers = [
        {"arms": {"baseline": {}, "mine": {"sam.rho": 0.3}}},
        {"arms": ["mine", "sam"], "more_arms": {"late": {"sam.start": 0.5}}},
    ]
    assert list(read_arms(layers[:1])) == ["baseline", "mine"]
    assert list(read_arms(layers)) == ["mine", "sam", "late"]


def test_a_file_gives_the_same_experiment_back(tmp_path: Any) -> None:
    """What an experiment writes as TOML is read back as the same experiment."""
    config = config_of(arms=["baseline", "asam"], more_arms={"late": {"sam.rho": 0.15, "sam.start": 0.2}})
    file = tmp_path / "experiment.toml"
    file.write_text(config.to_toml())
    again = build_config(read_layer(file))
    assert again == config and again.fingerprint() == config.fingerprint()


def test_without_sam_its_other_settings_do_not_count() -> None:
    """Baselines are the same run whatever SAM is set to, and those of other training are not."""
    one, two = config_of(), build_config(BASE, {"sam": {"m": 2, "start": 0.5}})
    assert one.of("baseline") == two.of("baseline")
    assert one.of("sam") != two.of("sam")
    assert one.of("baseline") != build_config(BASE, {"train": {"dropout": 0.3}}).of("baseline")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"arms": ["baseline", "samm"]}, "Unknown arm 'samm'. Did you mean sam"),
        ({"arms": ["sam", "sam"]}, "Each arm must be named once"),
        ({"arms": "sam"}, "Must be names of arms"),
        ({"arms": {"a b": {}}}, "Invalid arm 'a b'"),
        ({"arms": {"../a": {}}}, "Invalid arm '../a'"),
        ({"arms": {"a": 3}}, "Write a table for each"),
        ({"arms": {"a": {"train.steps": 3}}}, "The arm 'a' changes train.steps, which all arms"),
        ({"arms": {"a": {"data": {"fraction": 0.5}}}}, "The arm 'a' changes data.fraction"),
        ({"arms": {"a": {"seeds": [1]}}}, "The arm 'a' changes seeds"),
        ({"arms": {"a": {"sam.rhoo": 0.1}}}, "Arm 'a': Unknown setting 'sam.rhoo'. Did you mean sam.rho"),
        ({"arms": {"a": {"sam.rho": "x"}}}, "Arm 'a': Invalid sam.rho='x'. Must be a finite number"),
        ({"arms": {"a": {"sam": 3}}}, "Arm 'a': Invalid sam=3"),
        ({"arms": {"sam": {}, "too": {"sam.rho": 0.1}}}, "'sam' and 'too' are the same"),
        ({"arms": ["baseline", "sam"], "sam": {"rho": 0.0}}, "At rho=0 SAM is the baseline"),
        ({"arms": {}, "more_arms": {}, "seeds": []}, "Invalid seeds"),
    ],
)
def test_mistakes_are_one_sentence(more: dict[str, Any], sentence: str) -> None:
    """What an arm cannot be is said in a sentence that names it."""
    with pytest.raises(UserError) as caught:
        config_of(**more)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["late", ": sam.rho=1", "late: sam.rho=1 sam.rho=2"])
def test_words_that_are_no_arm(text: str) -> None:
    """What cannot be read as an arm is refused."""
    with pytest.raises(ValueError, match=r"must be like|given twice"):
        parse_arm(text)
