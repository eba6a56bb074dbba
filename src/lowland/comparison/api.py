"""`lowland.compare`: arms compared from Python, by what the command line calls, too."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from lowland.comparison.experiment import build_experiment, default_directory
from lowland.comparison.session import Comparison, Way, run_comparison, seeds_that_see
from lowland.config.arms import flatten, nest
from lowland.config.experiment import MOST_SEEDS, SEEDS, ExperimentConfig
from lowland.config.layers import merge
from lowland.config.options import settings_by_option, unknown_option
from lowland.errors import UserError
from lowland.files import fingerprint, write_atomic
from lowland.runs.store import FOLDER, store_of
from lowland.settings import at_home

__all__ = ["Comparison", "Rows", "compare"]

Rows: TypeAlias = "str | Path | Iterable[Mapping[str, Any]]"
"""A file of rows, or rows: dictionaries, lists by column, a pandas frame, a data set of `datasets`."""


def compare(
    *tasks: str,
    train: Rows | None = None,
    test: Rows | None = None,
    split: float | None = None,
    input: str | None = None,
    target: str | None = None,
    metrics: str | Sequence[str] = (),
    name: str | None = None,
    model: str | Path = "embedded",
    arms: Sequence[str] | Mapping[str, Mapping[str, Any]] = (),
    seeds: int | Sequence[int] = SEEDS,
    epochs: float | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    runs: str | Path | None = None,
    until_decided: bool = False,
    detect: float | None = None,
    tune: int = 0,
    jobs: int = 1,
    quiet: bool = False,
    **options: Any,
) -> Comparison:
    """Fine-tunes a model by every arm for every seed, and compares the arms with the first one.

    Finished runs are reused: the same call shows the result again, or resumes after an interruption.

        own = {"input": "review: {text}", "target": "{label}"}
        result = lowland.compare(train="reviews.csv", split=0.2, **own, steps=400, rho=0.05, seeds=3)
        print(result)
        result.table()

    Args:
        *tasks: Names of tasks that the package knows, as `lowland tasks` lists them.
        train: Training rows of your own: a file, dictionaries, a pandas frame or a data set of `datasets`.
        test: Test rows likewise.
        split: Without `test`: the fraction of the training rows to test on.
        input: Template of the input text, such as `"review: {text}"`.
        target: Template of the target text, such as `"{label}"`.
        metrics: Names of metrics; accuracy by default.
        name: Name of your data in the results; by default that of the file.
        model: A directory, a name on the hub (with `hub=True`), or `embedded`.
        arms: Names of arms, the reference first, or name -> the settings that it changes, such as
            `{"baseline": {}, "late": {"sam.rho": 0.15, "sam.start": 0.2}}`; baseline and sam by default.
        seeds: How many seeds, or which.
        epochs: Passes over the training rows, in place of `steps`.
        settings: Settings by the names that they have in files, such as `{"train.learning_rate": 1e-3}`.
        out: Where the results go; by default a folder under `runs/` that is named after the settings.
        runs: Where runs lie, each once; by default the folder `runs` beside `out`.
        until_decided: Whether seeds are added until the score is decided for every arm, 40 at most.
        detect: Instead of `seeds`: the difference in points to detect with 80% power.
        tune: Seeds by which learning rate, rho and start of every arm are chosen first; 0 to leave them.
        jobs: Runs at the same time, each in a process of its own.
        quiet: Whether to print nothing.
        **options: The same settings by the options of `lowland compare`, with `_` for `-`: `steps=400`,
            `learning_rate=1e-3`, `batch_size=16`, `lora={"r": 16}`.

    Raises:
        UserError: If something is wrong; the message says what to do.
    """
    from rich.console import Console

    out, runs = (None if path is None else at_home(str(path)) for path in (out, runs))
    store = Path(runs) if runs is not None else store_of(Path(out or Path(FOLDER) / "compare"))
    layer: dict[str, Any] = nest(_settings_of(options, settings or {}))
    own = {"split": split, "input": input, "target": target, "metrics": metrics or None, "name": name}
    if train is not None:
        own["train"], default = _file_of(train, store)
        own["name"] = name or default
    if test is not None:
        own["evaluation"], _ = _file_of(test, store)
    custom = {key: value for key, value in own.items() if value is not None}
    data: dict[str, Any] = {"tasks": list(tasks)} if tasks else {}
    data |= {"custom": custom} if custom else {}
    for what, value, least in (("jobs", jobs, 1), ("tune", tune, 0)):
        if not isinstance(value, int) or value < least:
            raise UserError(f"Invalid {what}={value!r}. Must be a whole number >= {least}.")
    numbers: Any = range(seeds) if isinstance(seeds, int) else seeds
    numbers = list(numbers) if isinstance(numbers, Iterable) else numbers
    named = str(model) if isinstance(model, Path) else model
    layer = merge(layer, {"model": named, "data": data, "seeds": numbers})
    if isinstance(arms, Mapping):
        arms = {arm: nest(own) if isinstance(own, Mapping) else own for arm, own in arms.items()}
    if arms:
        layer["arms"] = arms
    experiment = build_experiment([layer], epochs=epochs)
    if detect is not None:
        experiment = seeds_that_see(experiment, detect, store)
    path = Path(out) if out is not None else default_directory(experiment.config, "compare")
    way = Way(
        command="lowland.compare(...)",
        console=Console(quiet=quiet),
        store=store,
        jobs=jobs,
        most_seeds=MOST_SEEDS if until_decided else 0,
        tune_seeds=tune,
    )
    result = run_comparison(experiment, path, way)
    if result is None:
        raise UserError("This is not the first of several processes, which alone has the result.")
    return result


def _settings_of(given: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the settings that options stand for to others."""
    known = {
        option.replace("-", "_"): setting for option, setting in settings_by_option(ExperimentConfig).items()
    }
    for name in given:
        if name not in known:
            keywords = (*known, *inspect.signature(compare).parameters)
            raise unknown_option("keyword of lowland.compare", name, keywords)
        if known[name] in flatten(settings):
            raise UserError(f"{name} is given in settings, too, as {known[name]}. Leave one of them out.")
    return {**settings, **{known[name]: value for name, value in given.items()}}


def _file_of(rows: Rows, store: Path) -> tuple[str, str | None]:
    """Gives the file of some rows, which is written for rows in memory, and what their task is called."""
    if isinstance(rows, (str, Path)):
        return str(rows), None
    try:
        if hasattr(rows, "convert_dtypes") and hasattr(rows, "to_json"):  # a frame: what is missing is null
            how: dict[str, Any] = {"orient": "records", "lines": True, "date_format": "iso"}
            text = rows.to_json(**how, force_ascii=False, double_precision=15)
        else:
            if isinstance(rows, Mapping):  # columns
                rows = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
            how = {"ensure_ascii": False, "allow_nan": False, "default": lambda value: value.tolist()}
            text = "".join(json.dumps(dict(row), **how) + "\n" for row in rows)
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(
            "Rows must be a file, dictionaries, a pandas frame or a data set of `datasets`, of texts, "
            f"numbers and lists of them ({error})."
        ) from None
    if not text.strip():
        raise UserError("There are no rows.")
    path = store / ".data" / f"rows-{fingerprint(text)}.jsonl"
    if not path.exists():
        write_atomic(path, text.encode())
    return str(path), "rows"
