"""The presets of the paper: complete, small, and as the paper says."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

import pytest

from lowland.cli import main
from lowland.config.arms import flatten
from lowland.config.experiment import build_config
from lowland.config.layers import merge
from lowland.errors import UserError
from lowland.paper.printed import PrintedRow, printed_rows
from lowland.paper.recipes import Recipe, expand, preset_names, read_preset, read_recipe
from lowland.runs.examples import load_tasks

RECIPES = [recipe for name in preset_names() if (recipe := read_recipe(name)).complete and name != "demo"]
SIZES = ("small", "base", "large", "xl")

# Benchmark -> steps, interval of evaluations, dropout, tokens of input and target: the setup of the paper.
SETUP: dict[str, tuple[Any, ...]] = {
    "superglue": (250_000, 1000, 0.1, 512, 62),
    "glue": (250_000, 1000, 0.1, 512, 62),
    "cbqa": (20_000, 200, 0.05, 38, 18),
    "tydiqa": (20_000, 200, 0.1, 1024, 512),
}


def printed(recipe: Recipe) -> list[PrintedRow]:
    """The rows that the paper prints for a recipe, those without SAM among them."""
    return [
        row
        for row in printed_rows()
        if row.table in recipe.tables and row.model == recipe.model and row.swept == recipe.swept
    ]


def test_every_row_of_every_table_has_a_recipe() -> None:
    """Each figure of Tables 1 to 9 is reproduced by exactly one preset."""
    covered = [
        (row.table, row.row, task)
        for recipe in RECIPES
        for row in printed(recipe)
        for task in row.scores
        if not recipe.columns or task in recipe.columns
    ]
    everything = [(row.table, row.row, task) for row in printed_rows() for task in row.scores]
    assert sorted(covered) == sorted(everything)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_setup_is_the_papers(recipe: Recipe) -> None:
    """Every recipe trains as the paper says for its benchmark, by AdaFactor in batches of 128."""
    config = build_config(recipe.settings)
    (benchmark,) = {task.partition("/")[0] for task in config.data.tasks}
    steps, every, dropout, inputs, targets = SETUP[benchmark]
    train = config.train
    assert (train.steps, train.evaluate_every, train.dropout) == (steps, every, dropout)
    assert {(task.input_length, task.target_length) for task in load_tasks(config.data)} == {
        (inputs, targets)
    }
    assert (train.input_length, train.target_length) == (None, None)
    assert (train.optimizer, train.learning_rate, train.batch_size) == ("adafactor", 1e-3, 128)
    assert (config.sam.ascent, config.sam.m) == (0.25, 1)
    assert (config.data.held_out, config.data.cap, config.data.temperature) == (0, None, 1.0)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_rho_model_and_data_are_those_of_the_row(recipe: Recipe) -> None:
    """Rho, the model's name and the fraction of the data are those of the rows that a recipe reproduces."""
    config = build_config(recipe.settings)
    for row in printed(recipe):
        kind = "t5-v1_1" if row.model.startswith("T5.1.1") else "mt5"
        assert config.model == f"google/{kind}-{row.size.lower()}"
        assert config.data.fraction == (0.05 if row.table in (6, 7) else 1.0)
        if row.swept is None and row.sam_rho is not None:
            assert config.sam.rho == row.sam_rho


def test_table_9_grids_are_the_rows() -> None:
    """The grids of Table 9 hold the values of its rows; a is a fraction of the batch of 128."""
    for name, batch in (("rho", 1), ("ascent", 128), ("m", 1)):
        recipe = read_recipe(f"paper-superglue-base-{name}")
        (values,) = recipe.grid.values()
        assert [value * batch for value in values] == [row.swept_value for row in printed(recipe)]


def test_every_point_of_every_grid_is_valid() -> None:
    """Every value of every [grid] table makes a valid configuration, and ones that differ."""
    swept = [recipe for recipe in RECIPES if recipe.grid]
    assert len(swept) == 12
    for recipe in swept:
        for name, values in recipe.grid.items():
            section, key = name.split(".")
            prints = {build_config(recipe.settings, {section: {key: v}}).fingerprint() for v in values}
            assert len(prints) == len(values) > 1


@pytest.mark.parametrize("name", [name for name in preset_names() if name.startswith("paper")])
def test_a_preset_holds_only_what_differs(name: str) -> None:
    """No preset repeats a setting that already holds below it."""
    text = (resources.files("lowland.paper") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    own = tomllib.loads(text)
    # With the embedded model, whose own defaults a rehearsal must not fall back to.
    defaults = build_config({"data": {"tasks": ["facts"]}}).to_dict()
    for benchmark, settings in {"none": own, **own.get("benchmark", {})}.items():
        below = flatten(merge(defaults, read_preset(own["extends"], [benchmark]) if "extends" in own else {}))
        assert [key for key, value in flatten(settings).items() if below.get(key) == value] == []


@pytest.mark.parametrize("size", SIZES)
def test_sizes_take_the_settings_of_the_task(size: str) -> None:
    """`paper-<size>` with a benchmark on the command line equals that benchmark's own recipe."""
    for benchmark in SETUP:
        given = {"data": {"tasks": [benchmark]}}
        config = build_config(read_preset(f"paper-{size}", [benchmark]), given)
        assert config == build_config(read_recipe(f"paper-{benchmark}-{size}").settings)


def test_the_defaults_of_a_benchmark_do_not_leak() -> None:
    """Without a preset of the paper, a task keeps the defaults of every other experiment."""
    config = build_config({"data": {"tasks": ["cbqa/web_questions"]}, "model": "directory"})
    assert (config.train.steps, config.train.dropout) == (1000, 0.1)


def test_a_users_file_extends_a_preset() -> None:
    """A file may extend a preset, and what it sets goes before that."""
    settings = expand({"extends": "paper-cbqa-small", "train": {"steps": 7}, "grid": {"sam.rho": [0.1]}})
    config = build_config(settings)
    assert (config.train.steps, config.train.dropout, config.sam.rho) == (7, 0.05, 0.05)


def test_tasks_of_two_benchmarks_are_refused() -> None:
    """Tasks of benchmarks with different settings are refused in a sentence that names them."""
    with pytest.raises(UserError, match="settings for cbqa and for glue"):
        read_preset("paper-base", ["glue/rte", "cbqa/web_questions"])


def test_an_unknown_preset_is_told() -> None:
    """A preset that does not exist, and a file that extends one, get the nearest names."""
    with pytest.raises(UserError, match="Did you mean paper-base"):
        read_preset("paper-bas")
    with pytest.raises(UserError, match="Did you mean demo"):
        expand({"extends": "dmo"})
    with pytest.raises(UserError, match="extends=3"):
        expand({"extends": 3})


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    """`lowland tasks --recipes` names every preset and its table."""
    assert main(["tasks", "--recipes"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in preset_names())
    assert "Tables 3 and 8" in text


def test_the_command_shows_one_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """`lowland tasks NAME` shows the settings of a recipe and the command that runs it."""
    assert main(["tasks", "paper-nq-base"]) == 0
    text = capsys.readouterr().out
    for expected in ("google/t5-v1_1-base", "20000", "natural_questions"):
        assert expected in text
    assert "lowland compare --preset paper-nq-base --hub" in text


def test_the_demo_is_offered_offline(capsys: pytest.CaptureFixture[str]) -> None:
    """The recipe of the demo says what it is, and its command does without the hub."""
    assert main(["tasks", "demo"]) == 0
    text = capsys.readouterr().out
    assert "Facts, on the small model of the package" in text
    assert text.endswith("Run it: lowland compare --preset demo\n")


@pytest.mark.parametrize("name", preset_names())
def test_every_recipe_can_be_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`lowland tasks NAME` works for every preset, and says the command that runs it."""
    assert main(["tasks", name]) == 0
    assert "Run it: lowland compare " in capsys.readouterr().out
