"""How fast answers are written, beside `model.generate` in fixed batches.

    python benchmarks/bench_evaluation.py [--examples 256] [--target-length 32]

The embedded model, trained for some steps so that it ends its answers as a model in the middle of a
fine-tuning does, answers the package's own questions. Beside the times stands the share of answers that are
the same: a batch of another size may round two nearly equal logits the other way.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from common import finish, parser_of, precision_of
from rich.console import Console
from rich.table import Table

from lowland.data import EncodedExample, MixtureSampler, collate, encode
from lowland.evaluate import generate
from lowland.models import LoadedModel, load_model
from lowland.runs.encodings import SampledBatches
from lowland.sam import SAMConfig
from lowland.tasks import Source, get_task, task_names
from lowland.tasks.base import Example
from lowland.train import Training, TrainSettings, keep_freed_memory


def questions() -> list[Example]:
    """The package's own questions, in an order that has nothing to do with their lengths."""
    found = [
        example
        for name in sorted(task_names())
        if name.startswith("facts/")
        for example in get_task(name).load(Source()).train
    ]
    return [found[index] for index in np.random.default_rng(0).permutation(len(found))]


def fine_tune(
    loaded: LoadedModel, examples: list[Example], steps: int, device: torch.device, bf16: bool
) -> None:
    """Trains the model in place, as the command line does."""
    encoded = encode(examples, loaded.tokenizer, 64, 32)
    rows: list[EncodedExample] = [encoded[index] for index in range(len(encoded))]
    sampler = MixtureSampler({"all": len(rows)}, {"all": 1.0}, 32, 0)
    Training(
        loaded.model,
        SampledBatches(sampler, lambda drawn: collate([rows[index] for _, index in drawn], 0)),
        settings=TrainSettings(steps=steps, learning_rate=5e-3, evaluate_every=steps),
        sam=SAMConfig(rho=0.0),
        accelerator=Accelerator(cpu=device.type == "cpu"),
        bf16=bf16,
    ).run(lambda report: None, lambda step: None)


def stock(loaded: LoadedModel, texts: list[str], length: int, batch_size: int, bf16: bool) -> list[str]:
    """Answers by `model.generate`, batch after batch as the texts come."""
    model: Any = loaded.model.eval()
    tokenizer, answers = loaded.tokenizer, []
    for start in range(0, len(texts), batch_size):
        inputs = tokenizer(texts[start : start + batch_size], return_tensors="pt", padding=True)
        with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
            written = model.generate(
                input_ids=inputs["input_ids"].to(model.device),
                attention_mask=inputs["attention_mask"].to(model.device),
                max_new_tokens=length,
            )
        answers += tokenizer.batch_decode(written, skip_special_tokens=True)
    return answers


def main() -> None:
    """Measures and prints."""
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--target-length", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30, help="of training before")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    keep_freed_memory()
    device = torch.device(options.device)
    bf16 = precision_of(options) == "bf16"

    examples = questions()
    asked = [example.inputs for example in examples[: options.examples]]
    loaded = load_model("embedded", dropout=0.1)
    loaded.model.to(device)
    torch.manual_seed(0)
    fine_tune(loaded, examples[options.examples :], options.steps, device, bf16)

    length, size = options.target_length, options.batch_size
    ways: dict[str, Any] = {
        "model.generate": lambda: stock(loaded, asked, length, size, bf16),
        "lowland": lambda: generate(
            loaded, asked, input_length=64, target_length=length, batch_size=size, bf16=bf16
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, list[str]] = {}
    for _ in range(options.rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            answers[name] = way()
            seconds[name].append(time.perf_counter() - start)

    first = min(seconds["model.generate"][1:])
    table = Table(
        title=f"{options.examples} answers of up to {length} tokens, batch {size}, {options.device}"
    )
    for column in ("", "seconds", "examples/s", "times", "same answers"):
        table.add_column(column, justify="right" if column else "left")
    rows = []
    for name, values in seconds.items():
        best = min(values[1:])  # the first round warms up
        same = float(np.mean([a == b for a, b in zip(answers[name], answers["model.generate"], strict=True)]))
        row = {"name": name, "seconds": values[1:], "examples_per_second": len(asked) / best}
        row |= {"times": first / best, "same_answers": same}
        rows.append(row | {"options": {key: str(value) for key, value in vars(options).items()}})
        table.add_row(
            name, f"{best:.2f}", f"{len(asked) / best:.0f}", f"{first / best:.2f}", f"{100 * same:.1f}%"
        )
    Console().print(table)
    finish("evaluation", rows, options.json)


if __name__ == "__main__":
    main()
