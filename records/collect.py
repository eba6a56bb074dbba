"""Makes a result.json of finished experiments, as PROTOCOL.md wants it.

    python -m records.collect RECORD.json EXPERIMENT... > result.json

RECORD.json says what no run knows: the question, the claims, which pairs of arms are judged in what. Under
`names` it may give arms other names, and under `take` name arms of another record whose runs count, too.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from lowland.config.arms import flatten

HERE = Path(__file__).parent
SPLITS = {"evaluation": "test", "held_out": "validation"}


def lines(file: Path) -> list[dict[str, Any]]:
    """Reads a file with one object a line."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def right(file: Path, examples: int) -> float:
    """Gives the share of right answers among the first rows of a file of predictions, in percent."""
    rows = lines(file)[:examples]
    return 100 * fmean(row["prediction"] == row["targets"] for row in rows)


def outcomes(folder: Path, alike: str, last: int) -> dict[str, float]:
    """Reads what was measured of a run at the last and the chosen step, and what int4 took from the score."""
    found: dict[str, float] = {}
    for file in (folder / "outcomes" / alike).glob("step-*.json"):
        step = int(file.stem.removeprefix("step-"))
        at = "" if step == last else " at the chosen step"
        sets = json.loads(file.read_text(encoding="utf-8"))["sets"]
        task = next(name for name in sets if (folder / "eval" / f"{name}.jsonl").exists())
        for name, of in sets.items():
            measured = {key: value for key, value in of["outcomes"].items() if value is not None}
            on = f" on {name}" if "accuracy" in measured else ""  # a further test set's
            found |= {f"{key}{on}{at}": value for key, value in measured.items()}
            for what, key in (("by int4", "accuracy after int4"), (f"on {name}", "accuracy")):
                if key in measured:
                    before = right(folder / "predictions" / f"{task}-{step}.jsonl", of["examples"])
                    found[f"accuracy kept {what}{at}"] = measured[key] - before
    return {key: round(value, 6) for key, value in sorted(found.items())}


def run_of(folder: Path, alike: str) -> dict[str, Any]:
    """Reads a run: its scores in percent by step, its times, and its outcomes."""
    status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    scores: dict[str, dict[str, dict[str, list[float]]]] = {name: {} for name in SPLITS.values()}
    steps: list[int] = []
    for file in sorted((folder / "eval").glob("*.jsonl")):
        for line in lines(file):
            if line["step"] not in steps:
                steps.append(line["step"])
            of = scores[SPLITS[line["split"]]].setdefault(file.stem, {})
            for metric, value in line["metrics"].items():
                of.setdefault(metric, []).append(round(value, 5))
    return {
        "arm": status["arm"],
        "seed": status["seed"],
        "started": status["started"],
        "seconds": round(status["train_seconds"], 2),
        "steps": steps,
        **scores,
        "outcomes": outcomes(folder, alike, status["steps"]),
    }


def collect(record: Mapping[str, Any], experiments: Sequence[Path]) -> dict[str, Any]:
    """Gives the record of experiments that share their settings; only finished runs count."""
    read = [tomllib.loads((of / "experiment.toml").read_text(encoding="utf-8")) for of in experiments]
    arms = {name: flatten(arm) for of in read for name, arm in of.pop("arms").items()}
    settings = read[0]
    shared = {key: value for key, value in flatten(settings).items() if key not in ("seeds", "model")}
    for key in shared:
        if key in ("data.custom.train", "data.custom.evaluation") or key.startswith("outcomes.also."):
            shared[key] = Path(shared[key]).name
    found, environment = {}, {}  # a run that several experiments share counts once
    for experiment in experiments:
        named = experiment / "outcomes.json"
        alike = json.loads(named.read_text(encoding="utf-8"))["folder"] if named.exists() else ""
        for status in sorted(experiment.glob("*-seed*/status.json")):
            if json.loads(status.read_text(encoding="utf-8"))["state"] == "done":
                found.setdefault(status.parent.resolve(), run_of(status.parent, alike))
                environment = json.loads((status.parent / "env.json").read_text(encoding="utf-8"))
    names = record.get("names", {})
    arms = {names.get(name, name): of for name, of in arms.items()}
    runs = [run | {"arm": names.get(run["arm"], run["arm"])} for run in found.values()]
    for other, taken in record.get("take", {}).items():
        of = json.loads((HERE / other / "result.json").read_text(encoding="utf-8"))
        rate = {"train.learning_rate": of["settings"]["train.learning_rate"]}
        arms |= {name: rate | of["arms"][name] for name in taken}
        runs += [run for run in of["runs"] if run["arm"] in taken]
    runs.sort(key=lambda run: (list(arms).index(run["arm"]), run["seed"]))
    return {**record, "settings": shared, "environment": environment, "arms": arms, "runs": runs}


def written(record: Mapping[str, Any]) -> str:
    """Writes a record with one run a line."""
    body = {key: value for key, value in record.items() if key != "runs"}
    runs = ",\n".join("  " + json.dumps(run, separators=(",", ":")) for run in record["runs"])
    return json.dumps(body, indent=1).removesuffix("\n}") + f',\n "runs": [\n{runs}\n ]\n}}\n'


if __name__ == "__main__":
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.stdout.write(written(collect(told, [Path(name) for name in sys.argv[2:]])))
