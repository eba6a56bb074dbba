"""`lowland sharpness`, through the real command line, on a tiny model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cli.command import call, files, reviews, succeed, write_rows
from tests.fixtures.models import OTHER_KINDS, T5_KINDS, tiny_loaded, write_checkpoint

from lowland.comparison.sharpness import measure_all
from lowland.config.experiment import build_config
from lowland.config.layers import read_layer
from lowland.config.outcomes import SharpnessSettings
from lowland.data import collate, encode_texts
from lowland.data.encode import EncodedExample
from lowland.errors import UserError
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.files import SUMS, sha256
from lowland.report.sharpness import read_records
from lowland.runs.directory import RunDirectory
from lowland.sharpness import Objective, moved

pytestmark = pytest.mark.timeout(600)  # the first one waits for four runs and six measurements

QUICK = [
    *("--radii", "0.05,0.2", "--examples", "16", "--batch-size", "8", "--hessian-examples", "8"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison of two seeds on a user's rows, of a tiny random T5.1.1."""
    folder = tmp_path_factory.mktemp("sharpness")
    write_checkpoint(folder / "model", "t5.1.1")
    train, dev = (
        write_rows(folder / "train.jsonl", reviews(60)),
        write_rows(folder / "dev.jsonl", reviews(8, 100)),
    )
    succeed(
        "compare", "--train", train, "--eval", dev, "--input", "{text}", "--target", "{label}",
        "--model", folder / "model", "--seeds", "2", "--steps", "6", "--batch-size", "8",
        "--precision", "fp32", "--input-length", "48", "--target-length", "8", "--evaluate-every", "6",
        "--held-out", "6", "--outcomes", "none", "--out", folder / "run",
    )  # fmt: skip
    return folder / "run"


@pytest.fixture(scope="module")
def measured(finished: Path) -> Path:
    """The figures of its models."""
    succeed("sharpness", finished, *QUICK)
    return finished / "sharpness"


def record(folder: Path, name: str) -> dict[str, Any]:
    """The figures of one checkpoint."""
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return found


@pytest.mark.slow
def test_everything_is_measured_and_written(measured: Path) -> None:
    """Each arm and seed has its figures on both kinds of examples, and tables are there."""
    names = {f"{arm}-seed{seed}" for arm in ("baseline", "sam") for seed in (0, 1)}
    assert {path.stem for path in measured.glob("*-seed*.json")} == names
    for name in names:
        found = record(measured, name)
        assert found["splits"].keys() == {"train", "held_out"}
        assert found["splits"]["train"]["examples"] == 16
        assert found["splits"]["held_out"]["examples"] == 6
        for split in found["splits"].values():
            (narrow, rise), (wide, more) = split["rises"]
            assert (narrow, wide) == (0.05, 0.2) and 0 < rise < more
            assert split["eigenvalue"] > 0
    page = (measured / "sharpness.md").read_text()
    assert "minus Baseline" in page and "largest eigenvalue" in page
    assert "flatter" in page or "sharper" in page or "undecided" in page


@pytest.mark.slow
def test_the_arms_are_measured_on_the_same_examples(finished: Path, tmp_path: Path) -> None:
    """The same weights have the same figures as the checkpoint of any arm and seed."""
    config = build_config(read_layer(finished / "experiment.toml"))
    for name in ("baseline-seed0", "sam-seed1"):
        (tmp_path / name).symlink_to((finished / "baseline-seed0").resolve())
    alike = [RunDirectory(tmp_path, arm, seed) for arm, seed in (("baseline", 0), ("sam", 1))]
    settings = SharpnessSettings(examples=16, batch_size=8, hessian_examples=4)
    measure_all(config, alike, tmp_path / "out", settings, lambda run, done: None)
    one, other = (record(tmp_path / "out", run.path.name) for run in alike)
    assert one["splits"] == other["splits"]


@pytest.mark.slow
def test_the_same_command_measures_nothing_again(finished: Path, measured: Path) -> None:
    """A second call leaves every byte and time of the figures alone."""
    before = {name: found for name, found in files(measured).items() if "seed" in name}
    again = succeed("sharpness", finished, *QUICK)
    assert again.err.count("measured before") == 4
    assert {name: found for name, found in files(measured).items() if "seed" in name} == before


@pytest.mark.slow
def test_figures_are_the_same_for_the_same_seed(finished: Path, measured: Path, tmp_path: Path) -> None:
    """Measuring anew gives the same numbers bit for bit, and another seed draws other examples."""
    succeed("sharpness", finished, "--seeds", "1", *QUICK, "--out", tmp_path / "again")
    for name in ("baseline-seed0", "sam-seed0"):
        assert (tmp_path / "again" / f"{name}.json").read_bytes() == (measured / f"{name}.json").read_bytes()
    succeed(
        "sharpness", finished, "--seeds", "1", *QUICK, "--hessian-examples", "0",
        "--random-seed", "1", "--out", tmp_path / "other",
    )  # fmt: skip
    other = record(tmp_path / "other", "sam-seed0")
    assert other["splits"]["train"]["loss"] != record(measured, "sam-seed0")["splits"]["train"]["loss"]
    assert other["splits"]["train"]["eigenvalue"] is None
    assert "Hessian" not in (tmp_path / "other" / "sharpness.md").read_text()


@pytest.mark.parametrize("kind", [*T5_KINDS, *OTHER_KINDS])
def test_every_kind_of_model_can_be_differentiated_twice(kind: str) -> None:
    """The Hessian times a random vector is the difference of the gradients along it."""
    loaded = tiny_loaded(kind)
    model = loaded.model.double().eval()  # type: ignore[no-untyped-call]
    model.set_attn_implementation("eager")
    ids, _ = encode_texts(["the cat sat on the mat", "a big dog"], loaded.tokenizer, 24)
    batch = collate([EncodedExample(ids[0], ids[1]), EncodedExample(ids[1], ids[0])], 0)
    weights = [p for p in model.parameters() if p.requires_grad]
    objective = Objective(EncoderDecoder(loaded).loss(torch.device("cpu")), weights, [batch])
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(objective.size, generator=generator, dtype=torch.float64)
    step = 1e-4
    slopes = []
    for sign in (1, -1):
        with moved(weights, sign * step * vector):
            slopes.append(objective.gradient()[1])
    sizes = [weight.numel() for weight in weights]
    product = objective.hessian_times(vector).split(sizes)
    for exact, up, down in zip(product, *(slope.split(sizes) for slope in slopes), strict=True):
        # Token loss is taken in fp32, which limits the differences; a wrong product is off by its own size.
        assert torch.allclose(exact, (up - down) / (2 * step), atol=3e-2 * float(exact.abs().max() + 1e-3))


@pytest.mark.slow
def test_figures_by_other_settings_are_not_mixed(measured: Path, tmp_path: Path) -> None:
    """A directory with figures that were measured unlike is refused in one sentence."""
    for name, radius in (("sam-seed0", 0.1), ("baseline-seed0", 0.2)):
        found = record(measured, name)
        found["settings"]["radii"] = [radius]
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    with pytest.raises(UserError, match="different settings"):
        read_records(tmp_path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["missing"], "no directory of an experiment"),
        ([], "DIR"),
        (["a", "b"], "b"),
        (["missing", "--random-seed", "x"], "must be a whole number"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], sentence: str) -> None:
    """A mistake in the command ends it with exit code 2 and one sentence."""
    result = call("sharpness", *words)
    assert result.code == 2 and sentence in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("change", [{"radii": ()}, {"radii": (0.0,)}, {"examples": 0}])
def test_impossible_settings_are_refused(change: dict[str, Any]) -> None:
    """Settings that measure nothing are an error."""
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(SharpnessSettings(), **change)


@pytest.mark.slow
def test_what_is_measured_is_the_checkpoint(finished: Path, measured: Path) -> None:
    """The figures name the checkpoint of the run by the checksums of its files."""
    (checkpoint,) = (finished / "sam-seed0" / "checkpoints").glob("step-6")
    assert record(measured, "sam-seed0")["checkpoint"] == sha256(checkpoint / SUMS)
