"""How fast standard training goes beside Hugging Face's Seq2SeqTrainer, at the same loss.

    python benchmarks/bench_throughput.py [--steps 30] [--shape t5-v1_1-small --rounds 1]

The trainer runs with its defaults (fp32), and with its best settings (batches of like length, and bf16 where
the machine computes it well).
All train the same model with AdaFactor at the same rate, dropout, batch size and number of examples; the
trainer is given AdaFactor, since its own setting of that name is another algorithm. The time of a step is the
median over the steps after the first five, the rounds are interleaved, and the shortest counts. The time that
the process computed, over all its threads, stands beside it: other programs hardly change it. The loss at the
end is that of examples that none was trained on.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from common import SHAPES, finish, loss_maker, model_of, parser_of, precision_of
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import PreTrainedModel, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback
from transformers.optimization import Adafactor

from lowland.data import EncodedExample, MixtureSampler, collate
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.models.load import load_model
from lowland.runs.encodings import SampledBatches
from lowland.sam import SAMConfig
from lowland.tasks.base import Source
from lowland.tasks.registry import get_task, task_names
from lowland.train.loop import Training
from lowland.train.machine import keep_freed_memory
from lowland.train.seeds import seed_dropout
from lowland.train.settings import TrainSettings

WARM_UP = 5
RATE = 1e-3


def examples_of(shape: str, count: int) -> list[EncodedExample]:
    """The package's own questions for the embedded model; for others, random tokens as long as in GLUE."""
    if shape == "embedded":
        family = EncoderDecoder(load_model("embedded", dropout=None))
        found: list[EncodedExample] = []
        for name in sorted(name for name in task_names() if name.startswith("facts/")):
            task = get_task(name)
            encoded = family.encode(task.load(Source()).train, task.input_length, task.target_length)
            found += [encoded[index] for index in range(len(encoded))]
        order = np.random.default_rng(0).permutation(len(found))
        return [found[index] for index in order]
    numbers = np.random.default_rng(0)
    lengths = np.clip(numbers.lognormal(3.6, 0.5, count), 8, 128).astype(int)  # median 37
    targets = numbers.integers(2, 6, count)
    return [
        EncodedExample(*(numbers.integers(2, 30000, n).astype(np.int32) for n in pair))
        for pair in zip(lengths, targets, strict=True)
    ]


class Clock(TrainerCallback):
    """Notes the seconds of each step, the loading of its batch included: on the wall, and of computing."""

    def __init__(self) -> None:
        self.seconds: list[tuple[float, float]] = []
        self._last = self._now()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._last = self._now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = self._now()
        self.seconds.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), time.process_time()


def lowland_run(
    model: PreTrainedModel, train: list[EncodedExample], options: argparse.Namespace
) -> list[tuple[float, float]]:
    """Trains as the command line does; gives the seconds of each step."""
    device = torch.device(options.device)
    settings = TrainSettings(
        steps=options.steps,
        batch_size=options.batch_size,
        learning_rate=RATE,
        evaluate_every=options.steps,
        log_every=1,
    )
    sampler = MixtureSampler({"all": len(train)}, {"all": 1.0}, options.batch_size, 0)
    batches = SampledBatches(sampler, lambda drawn: collate([train[index] for _, index in drawn], 0))
    training = Training(
        model,
        batches,
        loss_maker(model),
        settings=settings,
        sam=SAMConfig(rho=0.0),
        accelerator=Accelerator(cpu=device.type == "cpu"),
        bf16=precision_of(options) == "bf16",
    )
    seed_dropout(0)
    clock = Clock()
    training.run(lambda report: clock.on_step_end(), lambda step: None)
    return clock.seconds


def trainer_run(
    model: PreTrainedModel, train: list[EncodedExample], options: argparse.Namespace, best: bool
) -> list[tuple[float, float]]:
    """Trains by Seq2SeqTrainer; gives the seconds of each step."""
    settings: dict[str, Any] = {}
    if best:
        settings = {"bf16": precision_of(options) == "bf16", "train_sampling_strategy": "group_by_length"}
    rows = [
        {
            "input_ids": example.inputs.tolist(),
            "labels": example.targets.tolist(),
            "length": len(example.inputs),
        }
        for example in train
    ]

    def pad(batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        examples = [EncodedExample(np.array(row["input_ids"]), np.array(row["labels"])) for row in batch]
        return collate(examples, 0, multiple=8 if best else 1)

    optimizer = Adafactor(model.parameters(), lr=RATE, relative_step=False, scale_parameter=True)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = Seq2SeqTrainingArguments(
            output_dir=folder,
            max_steps=options.steps,
            per_device_train_batch_size=options.batch_size,
            use_cpu=options.device == "cpu",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            max_grad_norm=0.0,  # T5 does not clip
            remove_unused_columns=False,
            dataloader_pin_memory=options.device != "cpu",
            logging_strategy="no",
            **settings,
        )
        trainer = Seq2SeqTrainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=pad,
            optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)),
            callbacks=[clock],
        )
        trainer.train()
    return clock.seconds


def loss_on(model: PreTrainedModel, examples: list[EncodedExample]) -> float:
    """The mean loss a target token in fp32, without dropout."""
    model.eval()
    with torch.inference_mode():
        return float(loss_maker(model)(model.device)(collate(examples, 0)))


def main() -> None:
    """Measures and prints."""
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="embedded")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    keep_freed_memory()  # as the command line does; the trainer gains from it, too

    examples = examples_of(options.shape, 2000)
    held_out, train = examples[:100], examples[100:]
    tokens = statistics.mean(len(example.inputs) + len(example.targets) for example in train)
    fresh = model_of(options.shape, torch.device(options.device))
    before = loss_on(fresh, held_out)
    fresh.train()
    ways: dict[str, Any] = {
        "Trainer, defaults": lambda model: trainer_run(model, train, options, best=False),
        f"Trainer, {precision_of(options)}, by length": lambda model: trainer_run(
            model, train, options, best=True
        ),
        "lowland": lambda model: lowland_run(model, train, options),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    computing: dict[str, list[float]] = {name: [] for name in ways}
    losses: dict[str, float] = {}
    for _ in range(options.rounds):
        for name, way in ways.items():
            model = copy.deepcopy(fresh)
            torch.manual_seed(0)
            walls, computed = zip(*way(model)[WARM_UP:], strict=True)
            seconds[name].append(statistics.median(walls))
            computing[name].append(statistics.median(computed))
            losses[name] = loss_on(model, held_out)

    table = Table(
        title=f"{options.shape}, batch {options.batch_size}, {options.steps} steps, {options.device}; "
        f"loss before {before:.3f}"
    )
    for column in ("", "ms a step", "examples/s", "real tokens/s", "times", "ms computed", "times", "loss"):
        table.add_column(column, justify="left" if not column else "right")
    rows = []
    defaults = next(iter(ways))
    for name, values in seconds.items():
        step = min(values)
        row = {
            "name": name,
            "step_seconds": values,
            "examples_per_second": options.batch_size / step,
            "tokens_per_second": options.batch_size * tokens / step,
            "times_the_defaults": min(seconds[defaults]) / step,
            "computing_seconds": computing[name],
            "times_the_defaults_computing": min(computing[defaults]) / min(computing[name]),
            "loss_before": before,
            "loss": losses[name],
        }
        rows.append(row | {"options": {key: str(value) for key, value in vars(options).items()}})
        table.add_row(
            name,
            f"{1000 * step:.0f}",
            f"{row['examples_per_second']:.0f}",
            f"{row['tokens_per_second']:.0f}",
            f"{row['times_the_defaults']:.2f}",
            f"{1000 * min(computing[name]):.0f}",
            f"{row['times_the_defaults_computing']:.2f}",
            f"{losses[name]:.3f}",
        )
    Console().print(table)
    finish("throughput", rows, options.json)


if __name__ == "__main__":
    main()
