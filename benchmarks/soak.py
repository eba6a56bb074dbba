"""A long training of a tiny model: memory that does not grow, logs of a sane size, steps as quick at the end.

    python benchmarks/soak.py --steps 20000

runs `lowland train` in this process and prints a line every two thousand steps: the memory that the process
holds, and what a step takes. It fails where memory grows by more than 2% from a tenth of the steps on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import psutil
from transformers import ByT5Tokenizer, T5Config

from lowland.models.head import build_model
from lowland.models.load import quiet_transformers
from lowland.runs import resumable

MOST_GROWTH = 1.02
"""What memory may grow by: pages that the allocator rounds up differ by less."""


def write_task(folder: Path) -> list[str]:
    """Writes a model of a few thousand weights and rows of many lengths; returns the options."""
    config = T5Config(
        vocab_size=384, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    with quiet_transformers():
        build_model(config).save_pretrained(folder / "model")
        ByT5Tokenizer().save_pretrained(folder / "model")
    for name, start, count in (("train", 0, 400), ("dev", 1000, 20)):
        rows = [
            {"text": f"{index} " + "word " * (index % 17), "label": "ny"[index % 2]}
            for index in range(start, start + count)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return [
        *("--train", str(folder / "train.jsonl"), "--eval", str(folder / "dev.jsonl")),
        *("--input", "{text}", "--target", "{label}", "--model", str(folder / "model")),
        *("--batch-size", "4", "--precision", "fp32", "--held-out", "8", "--target-length", "4"),
    ]


def main() -> int:
    from lowland.cli import main as lowland
    from lowland.comparison.progress import ExperimentProgress
    from lowland.train.log import StepReport

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--arm", default="sam", choices=["sam", "baseline"])
    arguments = parser.parse_args()
    steps, every = arguments.steps, max(10, arguments.steps // 10)
    resumable.SECONDS_BETWEEN_STATES = 10.0  # many states, which are part of the test
    process, seen = psutil.Process(), []
    began = time.perf_counter()
    on_log = ExperimentProgress.on_log

    def measure(self: ExperimentProgress, report: StepReport) -> None:
        nonlocal began
        on_log(self, report)
        if report.step % every == 0:
            now = time.perf_counter()
            memory = process.memory_info().rss / 2**20
            seen.append(memory)
            print(f"soak: step {report.step}: {memory:.1f} MB, {1000 * (now - began) / every:.2f} ms a step")
            began = now

    ExperimentProgress.on_log = measure  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = folder / "out"
        words = ["--steps", str(steps), "--evaluate-every", str(every // 2), "--arm", arguments.arm]
        code = lowland(["train", *write_task(folder), *words, "--out", str(out)])
        if code:
            return code
        logs = sum(path.stat().st_size for path in out.glob(f"{arguments.arm}-seed0/*.jsonl"))
        print(f"soak: logs {logs / 2**20:.2f} MB, {250_000 * logs / steps / 2**20:.0f} MB in 250,000 steps")
    growth = max(seen[1:]) / seen[0] if len(seen) > 1 else 1.0
    print(f"soak: memory grew by {100 * (growth - 1):.2f}% from step {every} on")
    return 0 if growth <= MOST_GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
