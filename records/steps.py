"""Measures how long an optimizer's steps are, to set beside rho, and by how much SAM raises the loss.

    python -m records.steps records/plans/k-last-step.toml --data-dir DIR --learning-rate 0.02 0.002 --out OUT

Trains as the first cell of the plan does, on one seed of tuning: without SAM with each learning rate, and by
SAM with the first of them and each rho.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from records.plan import FIRST_TUNING_SEED, read_plan
from records.replicate import RATE, Study, answered
from records.results import write_json, write_lines

from lowland.experiment.compare import prepare
from lowland.experiment.configuration import ExperimentConfig
from lowland.experiment.environment import describe_environment
from lowland.experiment.examples import part
from lowland.experiment.run import processes
from lowland.models import load_model
from lowland.report.drawing import draw
from lowland.report.write import write_files
from lowland.train import StepReport, Training, resolve_precision, seed_dropout


def steps_of(config: ExperimentConfig) -> list[dict[str, float | None]]:
    """Trains one run; gives for each step its losses, its length, and how far it is from the start."""
    (seed,), settings = config.seeds, config.train
    prepared, _ = prepare(config)
    loaded = load_model(config.model, dropout=settings.dropout)
    table = loaded.model.get_input_embeddings().weight
    parameters = list(loaded.model.parameters())
    training = Training(
        loaded.model,
        prepared.encodings.batches(
            part(prepared.data, config.data, seed, settings.batch_size), settings.batch_size, seed
        ),
        arm=config.arms[0],
        settings=settings,
        sam=config.sam,
        accelerator=Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available()),
        bf16=resolve_precision(settings.precision, processes().device) == "bf16",
    )
    start = [parameter.detach().clone() for parameter in parameters]
    before = [weights.clone() for weights in start]
    lines: list[dict[str, float | None]] = []

    def on_log(report: StepReport) -> None:
        with torch.no_grad():
            moves = {p: p - old for p, old in zip(parameters, before, strict=True)}
            for parameter, old in zip(parameters, before, strict=True):
                old.copy_(parameter)
            away = [p - first for p, first in zip(parameters, start, strict=True)]
        lines.append(
            {
                "step": report.step,
                "loss": report.loss,  # by SAM, at w_adv
                "ascent_loss": report.ascent_loss,
                "ascent_norm": report.ascent_norm,
                "gradient_norm": report.gradient_norm,
                "length": _norm(list(moves.values())),
                "length_without_table": _norm([move for p, move in moves.items() if p is not table]),
                "from_start": _norm(away),
            }
        )

    seed_dropout(seed, 0)
    training.run(on_log, lambda step: None)
    return lines


def _norm(tensors: Sequence[torch.Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(tensors))


def _draw(rates: dict[str, list[dict[str, float | None]]], rhos: Sequence[float]) -> dict[str, bytes]:
    def on(figure: Any) -> None:
        figure.set_size_inches(5.0, 2.8)
        axes = figure.add_subplot()
        for (rate, lines), dashes in zip(rates.items(), ("-", "--", ":", "-.") * len(rates), strict=False):
            lengths = [line["length"] for line in lines]
            axes.plot([line["step"] for line in lines], lengths, dashes, label=f"learning rate {rate}")
        for rho in rhos:
            axes.axhline(rho, color="0.4", linewidth=0.8)
            axes.annotate(f"rho {rho:g}", (0, rho), xytext=(2, 2), textcoords="offset points", fontsize=7)
        axes.set(yscale="log", xlabel="step", ylabel="length of the step (L2)")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.legend()

    return draw("steps", on)


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", type=Path, metavar="PLAN")
    parser.add_argument("--data-dir", metavar="DIR", help="folder with the official files of tasks")
    parser.add_argument("--learning-rate", type=float, nargs="+", required=True, metavar="X")
    parser.add_argument(
        "--rho",
        type=float,
        nargs="+",
        default=[0.02, 0.2],
        metavar="X",
        help="radii of SAM (default: 0.02 0.2)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    arguments = parser.parse_args(words)

    def work() -> None:
        study = Study(read_plan(arguments.plan), arguments.out, arguments.data_dir)

        def run(arm: str, settings: dict[str, Any]) -> list[dict[str, float | None]]:
            return steps_of(study.config(0, arm, [FIRST_TUNING_SEED], {"train.log_every": 1, **settings}))

        rates = {f"{rate:g}": run("standard", {RATE: rate}) for rate in arguments.learning_rate}
        rhos = {rho: run("sam", {RATE: arguments.learning_rate[0], "sam.rho": rho}) for rho in arguments.rho}
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_json(arguments.out / "env.json", describe_environment())
        lines = [{"learning_rate": rate, **line} for rate, of_rate in rates.items() for line in of_rate]
        write_lines(arguments.out / "steps.jsonl", lines)
        lines = [{"rho": rho, **line} for rho, of_rho in rhos.items() for line in of_rho]
        write_lines(arguments.out / "sam.jsonl", lines)
        write_files(arguments.out, _draw(rates, arguments.rho))

    return answered("records.steps", work)


if __name__ == "__main__":
    sys.exit(main())
