"""Makes a result.json of finished experiments, as PROTOCOL.md wants it.

    python -m records.collect RECORD.json EXPERIMENT... > result.json

RECORD.json says what no run knows: the question, the claims, which pairs of arms are judged in what; `names`
gives arms other names, `take` names arms of another record whose runs count, too.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from records.judge import HERE

from lowland.config.arms import flatten
from lowland.report.runs import read_log, read_run
from lowland.runs.directory import read_json


def outcomes(folder: Path, alike: str, last: int) -> dict[str, float]:
    """Reads what was measured of a run at the last and the chosen step, and what int4 took from the score."""
    found: dict[str, float] = {}
    for file in (folder / "outcomes" / alike).glob("step-*.json"):
        step = int(file.stem.removeprefix("step-"))
        at = "" if step == last else " at the chosen step"
        sets = json.loads(file.read_bytes())["sets"]
        task = next((name for name in sets if (folder / "eval" / f"{name}.jsonl").exists()), "")
        for name, of in sets.items():
            measured = {key: value for key, value in of["outcomes"].items() if value is not None}
            on = f" on {name}" if "accuracy" in measured else ""  # a further test set's
            found |= {f"{key}{on}{at}": value for key, value in measured.items()}
            for what, key in (("by int4", "accuracy after int4"), (f"on {name}", "accuracy")):
                if key in measured:
                    rows = read_log(folder / "predictions" / f"{task}-{step}.jsonl")[: of["examples"]]
                    before = 100 * fmean(row["prediction"] == row["targets"] for row in rows)
                    found[f"accuracy kept {what}{at}"] = measured[key] - before
    return {key: round(value, 6) for key, value in sorted(found.items())}


def run_of(folder: Path, alike: str) -> dict[str, Any]:
    """Reads a run: its scores in percent by step, its times, and its outcomes."""
    arm, _, seed = folder.name.rpartition("-seed")
    run, status = read_run(folder.parent, arm, int(seed), {}), read_json(folder / "status.json")
    scores: dict[str, dict[str, dict[str, list[float]]]] = {"test": {}, "validation": {}}
    for split, evaluated in zip(scores, ("evaluation", "held_out"), strict=True):
        for sets in run.evaluated(evaluated).values():
            for name, metrics in sets.items():
                of = scores[split].setdefault(name, {})
                for metric, value in metrics.items():
                    of.setdefault(metric, []).append(round(value, 5))
    return {
        **{key: status[key] for key in ("arm", "seed", "started")},
        "seconds": round(status["train_seconds"], 2),
        "steps": sorted({step for of in run.evaluations.values() for step in of}),
        **scores,
        "outcomes": outcomes(folder, alike, status["steps"]),
    }


def collect(record: Mapping[str, Any], experiments: Sequence[Path]) -> dict[str, Any]:
    """Gives the record of experiments that share their settings; only finished runs count."""
    read = [tomllib.loads((of / "experiment.toml").read_text(encoding="utf-8")) for of in experiments]
    arms = {name: flatten(arm) for of in read for name, arm in of.pop("arms").items()}
    shared = {key: value for key, value in flatten(read[0]).items() if key not in ("seeds", "model")}
    for key in shared:
        if key in ("data.custom.train", "data.custom.evaluation") or key.startswith("outcomes.also."):
            shared[key] = Path(shared[key]).name
    found: dict[Path, dict[str, Any]] = {}  # a run that several experiments share counts once
    environment: dict[str, Any] = {}
    for experiment in experiments:
        alike = read_json(experiment / "outcomes.json").get("folder", "")
        for run in sorted(experiment.glob("*-seed*")):
            if read_json(run / "status.json").get("state") == "done":
                found.setdefault(run.resolve(), run_of(run, alike))
                environment = read_json(run / "env.json")
    names = record.get("names", {})
    arms = {names.get(name, name): of for name, of in arms.items()}
    runs = [run | {"arm": names.get(run["arm"], run["arm"])} for run in found.values()]
    for other, taken in record.get("take", {}).items():
        of = json.loads((HERE / other / "result.json").read_bytes())
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
    told = json.loads(Path(sys.argv[1]).read_bytes())
    sys.stdout.write(written(collect(told, [Path(name) for name in sys.argv[2:]])))
