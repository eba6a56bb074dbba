"""Grids: which arms and experiments they make, and what the command line does with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.command import call, succeed, trajectory

from lowland.cli import command_parser
from lowland.cli.options import grid_of
from lowland.comparison.grid import experiments_of, parse_grid, with_grid
from lowland.config.experiment import build_config
from lowland.errors import UserError

BASE = {"data": {"tasks": ["facts/capitals"]}, "train": {"steps": 10}, "seeds": [0, 1]}
SMALL = [
    *("facts/capitals", "--steps", "2", "--batch-size", "8", "--eval-limit", "4", "--held-out", "4"),
    *("--seeds", "1", "--log-every", "1", "--precision", "fp32", "--outcomes", "none"),
]


def test_settings_of_sam_make_arms_and_shared_ones_experiments() -> None:
    """Radii are arms beside one baseline; what all arms share makes an experiment for each value."""
    one, two = experiments_of(parse_grid(["rho=0.02,0.05", "data.fraction=0.1,0.2", "learning-rate=0.001"]))
    assert (one.name, two.name) == ("fraction-0.1", "fraction-0.2")
    assert two.shared == {"data.fraction": 0.2}
    assert two.arms == {f"rho={rho}": {"sam.rho": rho, "train.learning_rate": 0.001} for rho in (0.02, 0.05)}
    config = with_grid(build_config(BASE), one.arms)
    assert list(config.arms) == ["baseline", "rho=0.02", "rho=0.05"]
    assert config.of("rho=0.05").sam.rho == 0.05
    (alone,) = experiments_of(parse_grid(["rho=0.02,0.05"]))
    assert (alone.name, alone.shared) == ("", {})


def test_every_other_arm_is_varied() -> None:
    """With more arms than two, each but the reference is combined with each point of the grid."""
    config = build_config(BASE, {"arms": ["baseline", "sam", "asam"]})
    (one,) = experiments_of(parse_grid(["train.learning_rate=0.1,0.2"]))
    varied = with_grid(config, one.arms)
    names = [f"{arm}_learning-rate={rate}" for arm in ("sam", "asam") for rate in (0.1, 0.2)]
    assert list(varied.arms) == ["baseline", *names]
    assert varied.of("asam_learning-rate=0.2").train.learning_rate == 0.2
    assert varied.of("baseline") == config.of("baseline")


def test_values_and_names() -> None:
    """Values become what their settings want, tasks are joined by +, equal values count once."""
    axes = parse_grid(["ascent-examples=8", "descent=full", "task=glue/rte+glue/sst2", "rho=0.1,0.1"])
    (one,) = experiments_of(axes)
    assert one.arms == {
        "ascent-examples=8_descent=full_rho=0.1": {
            "sam.ascent_examples": 8, "sam.descent": "full", "sam.rho": 0.1,
        }
    }  # fmt: skip
    assert one.shared == {"data.tasks": ["glue/rte", "glue/sst2"]}
    (models,) = experiments_of(parse_grid(["model=/a/base,/b/base"]))
    assert len(models.arms) == 2 and not any("/" in name for name in models.arms)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["rhoo=1"], "Unknown setting of a grid 'rhoo'. Did you mean rho"),
        (["arms=sam"], "Unknown setting of a grid 'arms'"),
        (["rho="], "rho: there is no value"),
        (["rho=1", "sam.rho=2"], "sam.rho is given twice"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], sentence: str) -> None:
    """A mistake in a grid is answered in one sentence."""
    with pytest.raises(UserError, match=sentence):
        parse_grid(words)


def test_a_preset_brings_its_grid(tmp_path: Path) -> None:
    """The grid of a preset, or of a file of settings, is taken where the command line has none."""
    parser = command_parser("compare")
    arguments = parser.parse_words(["--preset", "paper-superglue-base-rho"])
    assert grid_of(arguments) == {"sam.rho": (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)}
    file = tmp_path / "own.toml"
    file.write_text('extends = "demo"\n[grid]\n"sam.m" = [1, 2]\n')
    assert grid_of(parser.parse_words(["--config", str(file)])) == {"sam.m": (1, 2)}
    words = ["--grid", "rho=0.3", "--config", str(file)]
    assert grid_of(parser.parse_words(words)) == {"sam.rho": (0.3,)}
    file.write_text("[grid]\nrho = 0.1\n")
    with pytest.raises(UserError, match="must hold a list of values"):
        grid_of(parser.parse_words(["--config", str(file)]))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["rho=0.1", "--rho", "0.2", "facts/capitals"], "sam.rho is in the grid and given as an option too"),
        (["rho=0.1,x", "facts/capitals"], "Arm 'rho=x': Invalid sam.rho='x'. Must be a finite number"),
        (["fraction=0.5,7", "facts/capitals"], "fraction-7: Invalid data.fraction=7.0"),
        (["rho=0.1", "factz"], "Unknown task or mixture 'factz'"),
        (["preset=demo,dema"], "preset-dema: Unknown preset 'dema'. Did you mean demo"),
        (["rho=0.1", "facts/capitals", "--launcher", "ray"], "--launcher: must be processes, slurm or"),
        (["rho=0.1", "facts/capitals", "--launcher", "slurm,600"], "'600' is no KEY=VALUE"),
    ],
)
def test_mistakes_of_a_command(words: list[str], sentence: str, tmp_path: Path) -> None:
    """A mistake is answered in one sentence, with exit code 2, before anything is run."""
    result = call("compare", "--grid", *words, "--out", tmp_path / "out")
    assert result.code == 2
    assert sentence in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_grid_trains_the_baseline_once_and_shares_its_runs(tmp_path: Path) -> None:
    """The baseline is trained once for all radii, and neither the grid nor another command trains again."""
    out, runs = tmp_path / "grid", ["--runs", tmp_path / "all"]
    succeed("compare", "--grid", "rho=0.05,0.15", *SMALL, "--out", out, *runs)
    assert len(list((tmp_path / "all").glob("*-seed0"))) == 3
    assert (out / "report" / "figures" / "rho.png").exists()
    result = succeed("compare", *SMALL, "--rho", "0.15", "--out", tmp_path / "compare", *runs)
    assert result.out.count("done before") == 2
    for run, other in (("baseline-seed0", "baseline-seed0"), ("rho=0.15-seed0", "sam-seed0")):
        assert trajectory(out / run) == trajectory(tmp_path / "compare" / other)
    again = succeed("compare", "--grid", "rho=0.05,0.15", *SMALL, "--out", out, *runs)
    assert again.out.count("done before") == 3


def test_a_plan_of_a_grid_tells_which_experiments_fail(tmp_path: Path) -> None:
    """The plan shows what can be run, names what cannot at its end, and its exit code is 1."""
    words = ["fraction=1.0,0.0001", *SMALL, "--out", tmp_path / "out", "--plan"]
    result = call("compare", "--grid", *words)
    assert result.code == 1
    assert result.out.count("\nPlan") == 1 and "Failed: fraction-0.0001. " in result.out
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["processes", "submitit-local"])
def test_experiments_of_a_grid_side_by_side(tmp_path: Path, launcher: str) -> None:
    """An experiment of a grid that fails is told with exit code 1, and the others are run and reported."""
    if launcher != "processes":
        pytest.importorskip("submitit", reason="clusters need submitit: pip install 'lowland[cluster]'")
    out = tmp_path / "out"
    words = ["fraction=1.0,0.0001", *SMALL, "--out", out, "--jobs", "2", "--launcher", launcher]
    result = call("compare", "--grid", *words)
    assert result.code == 1
    assert "fraction-0.0001: failed. " in result.out and "Failed: fraction-0.0001. " in result.out
    assert (out / "fraction-1" / "report" / "report.json").exists()
    assert (out / "report" / "report.md").exists()
