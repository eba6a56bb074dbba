"""Where runs lie: each once, named by what decides its results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.config.experiment import build_config
from lowland.errors import UserError
from lowland.files import remove
from lowland.runs.examples import load_data
from lowland.runs.prepared import prepare
from lowland.runs.store import link_runs, run_name, runs_of, store_of

CONTENT = {"train facts/continents": "1", "evaluation facts/continents": "2", "model embedded": "3"}
BASE: dict[str, Any] = {"data": {"tasks": ["facts/continents"]}}


def name_of(arm: str = "sam", content: dict[str, str] | None = None, seed: int = 0, **more: Any) -> str:
    """The name of a run."""
    return run_name(build_config(BASE, more).of(arm), content or CONTENT, seed)


def test_the_name_does_not_depend_on_the_experiment() -> None:
    """Other arms, seeds, and SAM's settings beside a baseline change no run's name."""
    assert name_of() == name_of(arms=["sam", "asam"], seeds=[3])
    assert name_of("baseline") == name_of("baseline", sam={"rho": 0.3, "m": 2})
    assert name_of(arms={"a": {"sam.rho": 0.3}}, arm="a") == name_of(sam={"rho": 0.3})


@given(
    st.sampled_from(sorted(CONTENT)), st.text(min_size=1).filter(lambda text: text not in CONTENT.values())
)
def test_any_other_content_is_another_run(key: str, value: str) -> None:
    """Other examples to train on or to be scored on, and other starting weights, make another run."""
    assert name_of(content={**CONTENT, key: value}) != name_of()


@pytest.mark.parametrize(
    "more",
    [
        {"sam": {"rho": 0.3}},
        {"train": {"steps": 3}},
        {"train": {"dropout": 0.3}},
        {"data": {"fraction": 0.5}},
        {"data": {"label_noise": 0.5}},
        {"seed": 1},
    ],
)
def test_any_other_setting_is_another_run(more: dict[str, Any]) -> None:
    """Every setting that decides a result, and the seed, are part of the name."""
    assert name_of(**more) != name_of()


def test_where_data_and_model_lie_does_not_matter(tmp_path: Path) -> None:
    """The same rows and weights from another place are the same run; another template is not."""
    rows = "".join(f'{{"text": "number {i}", "label": "{"yes" if i % 2 else "no"}"}}\n' for i in range(12))
    names = []
    for folder, template in (("a", "{text}"), ("b", "{text}"), ("b", "text: {text}")):
        (tmp_path / folder).mkdir(exist_ok=True)
        for file in ("train.jsonl", "dev.jsonl"):
            (tmp_path / folder / file).write_text(rows)
        own = {
            "train": str(tmp_path / folder / "train.jsonl"),
            "evaluation": str(tmp_path / folder / "dev.jsonl"),
            "input": template,
            "target": "{label}",
        }
        config = build_config({"data": {"custom": own}})
        names.append(run_name(config.of("sam"), prepare(config, load_data(config.data))[0].content, 0))
    assert names[0] == names[1] != names[2]
    (tmp_path / "b" / "dev.jsonl").write_text(rows.replace("yes", "sure", 1))
    assert run_name(config.of("sam"), prepare(config, load_data(config.data))[0].content, 0) != names[2]


def test_runs_lie_in_a_folder_of_this_name() -> None:
    """Runs lie in the folder `runs` that an experiment is in, however deep, or else in one beside it."""
    assert store_of(Path("/a/runs/x")) == store_of(Path("/a/runs/y/arms")) == Path("/a/runs")
    assert store_of(Path("/a/x")) == Path("/a/runs")


def test_an_experiment_links_to_its_runs(tmp_path: Path) -> None:
    """Links lead to the runs and move with both; those to other runs go, and nothing else is touched."""
    path = tmp_path / "x"
    path.mkdir()
    config = build_config(BASE, {"seeds": [0]})
    runs = runs_of(config, tmp_path / "runs", CONTENT)
    link_runs(path, runs)
    assert {link.name for link in path.iterdir()} == {"baseline-seed0", "sam-seed0"}
    assert all(not link.readlink().is_absolute() for link in path.iterdir())
    for run in runs:
        run.path.mkdir(parents=True)
        assert (path / f"{run.arm}-seed{run.seed}").resolve() == run.path.resolve()
    link_runs(path, runs_of(config, tmp_path / "runs", {**CONTENT, "model embedded": "4"}))
    assert not (path / "sam-seed0").exists() and (path / "sam-seed0").is_symlink()
    other = runs_of(build_config(BASE, {"seeds": [1], "arms": ["sam"]}), tmp_path / "runs", CONTENT)
    link_runs(path, other)
    assert [link.name for link in path.iterdir()] == ["sam-seed1"]
    remove(path / "sam-seed1")
    (path / "sam-seed1").mkdir()
    with pytest.raises(UserError, match="sam-seed1 is in the way"):
        link_runs(path, other)
