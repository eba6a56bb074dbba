"""What all outcomes add to the time of a finished comparison.

    python benchmarks/bench_outcomes.py [WORDS OF `lowland compare` ...]

The same comparison three times in one process and directory: with the score alone, which trains; with all
outcomes, which measures finished runs and reports; with the score alone again, which reports. Processor time,
so that other work on the machine counts little: (first + second - third) / first. The default words are those
of the demo with one seed.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch
from common import finish, parser_of
from rich.console import Console

from lowland.cli import main as lowland

DEMO = ["--preset", "demo", "--seeds", "1"]


def main() -> None:
    """Measures and prints."""
    options, words = parser_of(__doc__.splitlines()[0]).parse_known_args()
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, more in (("score", ["none"]), ("outcomes", None), ("report", ["none"])):
            begin = time.process_time()
            command = ["compare", *(words or DEMO), "--out", f"{folder}/out"]
            if lowland([*command, *(["--outcomes", *more] if more else [])]) != 0:
                raise SystemExit(1)
            seconds[name] = time.process_time() - begin
    ratio = (seconds["score"] + seconds["outcomes"] - seconds["report"]) / seconds["score"]
    row: dict[str, Any] = {**seconds, "ratio": ratio, "threads": torch.get_num_threads()}
    Console().print(
        f"with all outcomes {ratio:.3f} times the processor time "
        f"({', '.join(f'{name} {value:.1f} s' for name, value in seconds.items())})"
    )
    finish("outcomes", [row], options.json)


if __name__ == "__main__":
    main()
