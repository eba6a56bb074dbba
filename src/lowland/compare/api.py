"""`lowland.compare`: arms compared from Python, by what the command line calls, too."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lowland.config.arms import nest
from lowland.config.data import DataSettings
from lowland.config.experiment import MODEL_DEFAULTS, ExperimentConfig, build_config
from lowland.config.layers import Layer, merge
from lowland.config.scale import scale
from lowland.errors import UserError
from lowland.files import fingerprint, write_atomic
from lowland.runs.examples import ExperimentData, load_data, load_tasks, part
from lowland.runs.names import FOLDER, all_done, store_of
from lowland.tasks.sources import MissingFilesError
from lowland.train.settings import TrainSettings

if TYPE_CHECKING:  # a finished comparison is shown without torch
    from lowland.planning.plan import Plan
    from lowland.report.result import Report
    from lowland.runs.directory import RunDirectory

Rows: TypeAlias = "str | Path | Iterable[Mapping[str, Any]]"
"""A file of rows, or rows: dictionaries, a pandas frame, a data set of `datasets`."""

EPOCHS, LEAST_STEPS = 10, 100
"""The default length of training on a user's own rows; never more than the model's default."""

MANY_PASSES = 30
"""More passes than these over a user's own rows are worth a word."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment whose settings and data were checked, and which is ready to run.

    Attributes:
        config: Its settings.
        data: Its examples; `None` where they are not on this machine, and only a plan is wanted.
        reasons: Setting -> why it has its value, of those that depend on the model or the data.
        warnings: What the user should know.
    """

    config: ExperimentConfig
    data: ExperimentData | None
    reasons: Mapping[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came out of a comparison.

    Attributes:
        directory: Where everything is, the report in `report/`.
        report: The report.
        again: Whether it was finished before.
    """

    directory: Path
    report: Report
    again: bool = False

    @property
    def answer(self) -> tuple[str, ...]:
        """Four lines: what was compared, the score, the rest, what to do; none for a single arm."""
        return self.report.answer

    @property
    def verdicts(self) -> dict[str, str]:
        """Arm -> `better`, `worse` ... than the first arm, on the score that decides."""
        records = self.report.scores[0].records if self.report.scores else ()
        first = [record for record in records if _score_of(record) == _score_of(records[0])]
        return {str(record["arm"]): str(record["verdict"]) for record in first if "verdict" in record}

    @property
    def model(self) -> Path | None:
        """The directory of the best model, which `from_pretrained` loads."""
        path = self.directory / "model"
        return path if path.is_dir() else None

    def table(self) -> Any:
        """Gives the scores: a frame where pandas is installed, else a list of dictionaries."""
        records = [dict(record) for record in self.report.scores[0].records] if self.report.scores else []
        try:
            import pandas
        except ImportError:
            return records
        return pandas.DataFrame(records)

    def __str__(self) -> str:
        return "\n".join(self.answer or (self.report.headline,))

    def _repr_html_(self) -> str:
        """Shows the answer, the table and the picture in a notebook."""
        lines = "".join(f"<p>{html.escape(line)}</p>" for line in self.answer or (self.report.headline,))
        table = self.report.scores[0] if self.report.scores else None
        rows = [table.columns, *table.rows] if table else []
        cells = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
        )
        pictures = [path for path in self.report.figures if path.suffix == ".svg" and path.is_file()]
        picture = pictures[0].read_text(encoding="utf-8") if pictures else ""
        return f"{lines}<table>{cells}</table>{picture[picture.find('<svg') :] if picture else ''}"


def _score_of(record: Mapping[str, Any]) -> tuple[Any, Any]:
    return record["evaluation_set"], record["metric"]


def compare(
    *tasks: str,
    train: Rows | None = None,
    test: Rows | None = None,
    split: float | None = None,
    input: str | None = None,
    target: str | None = None,
    metrics: Sequence[str] = (),
    name: str | None = None,
    model: str = "embedded",
    arms: Sequence[str] | Mapping[str, Mapping[str, Any]] = (),
    seeds: int | Sequence[int] = 3,
    epochs: float | None = None,
    settings: Mapping[str, Any] | None = None,
    directory: str | Path | None = None,
    runs: str | Path | None = None,
    jobs: int = 1,
    quiet: bool = False,
) -> Comparison:
    """Fine-tunes a model by every arm for every seed, and compares the arms with the first one.

    Finished runs are not repeated: the same call again shows the result, and goes on after an interruption.

        result = lowland.compare(train="reviews.csv", split=0.2, input="review: {text}", target="{label}")
        print(result)
        result.table()

    Args:
        *tasks: Names of tasks that the package knows, as `lowland tasks` lists them.
        train: Training rows of your own: a file, dictionaries, a pandas frame or a data set of `datasets`.
        test: Test rows likewise.
        split: Without `test`: the fraction of the training rows that is for testing.
        input: Template of the input text, such as `"review: {text}"`.
        target: Template of the target text, such as `"{label}"`.
        metrics: Names of metrics; accuracy by default.
        name: Name of your data in the results; by default that of the file.
        model: A directory, a name on the hub (with `settings={"data.hub": True}`), or `embedded`.
        arms: Names of arms, the reference first, or name -> the settings that it changes, such as
            `{"baseline": {}, "late": {"sam.rho": 0.15, "sam.start": 0.2}}`; baseline and sam by default.
        seeds: How many seeds, or which.
        epochs: Passes over the training rows, in place of `train.steps`.
        settings: Any others, by the names that they have in files, such as `{"train.learning_rate": 1e-3}`.
        directory: Where the results go; by default a folder under `runs/` that is named after the settings.
        runs: Where runs lie, each once; by default the folder `runs` that the directory is in.
        jobs: Runs at the same time, each in a process of its own.
        quiet: Whether to print nothing.

    Returns:
        The result.

    Raises:
        UserError: If something is wrong; the message says what to do.
    """
    from rich.console import Console

    from lowland.compare.progress import ExperimentProgress

    store = Path(runs) if runs is not None else store_of(Path(directory or Path(FOLDER) / "compare"))
    layer: dict[str, Any] = nest(settings or {})
    own = {"split": split, "input": input, "target": target, "metrics": list(metrics) or None, "name": name}
    if train is not None:
        own["train"], default = _file_of(train, store)
        own["name"] = name or default
    if test is not None:
        own["evaluation"], _ = _file_of(test, store)
    data: dict[str, Any] = {"tasks": list(tasks)} if tasks else {}
    if custom := {key: value for key, value in own.items() if value is not None}:
        data["custom"] = custom
    layer = merge(layer, {"model": model, "data": data, "seeds": _seeds(seeds)})
    if arms:
        layer["arms"] = (
            {arm: nest(changed) for arm, changed in arms.items()} if isinstance(arms, Mapping) else arms
        )
    experiment = build_experiment([layer], epochs=epochs)
    path = Path(directory) if directory is not None else default_directory(experiment.config, "compare")
    console = Console(quiet=quiet)
    with ExperimentProgress(console, experiment.config, path) as progress:
        result = run_comparison(
            experiment, path, command="lowland.compare(...)", progress=progress, store=store, jobs=jobs
        )
    if result is None:
        raise UserError("This is not the first of several processes, which alone has the result.")
    return result


def build_experiment(
    layers: Sequence[Layer],
    *,
    epochs: float | None = None,
    factor: float = 1.0,
    keep: Collection[str] = (),
    arms: Callable[[ExperimentConfig], ExperimentConfig] = lambda config: config,
    only_plan: bool = False,
) -> Experiment:
    """Checks settings and data, before torch is loaded where that is possible.

    Args:
        layers: Layers of settings, from the least to the most particular.
        epochs: Passes over the training examples, in place of steps.
        factor: See `lowland.config.scale.scale`.
        keep: Settings that are not scaled.
        arms: Makes the arms of a grid.
        only_plan: Whether data may be missing.

    Raises:
        UserError: If something is wrong.
    """
    if epochs is not None and not (epochs > 0 and math.isfinite(epochs)):
        raise UserError(f"Invalid epochs={epochs!r}. Must be a finite number > 0.")
    given: dict[str, Any] = {}
    for layer in layers:
        given = merge(given, layer)
    steps_given = "steps" in _section(given, "train")
    if epochs is not None and steps_given:
        raise UserError("Steps and epochs both say how long to train. Give one of them.")
    # What is wrong with options is said first, then what is wrong with data; both without the model.
    config = arms(scale(build_config(*layers, of_family=False), factor, keep))
    data = _load(config.data, only_plan)
    config = arms(scale(build_config(*layers), factor, keep))
    warnings: list[str] = []
    reasons = _reasons(given, config)
    if data is not None and (epochs is not None or (config.data.custom is not None and not steps_given)):
        rows = sum(map(len, part(data, config.data, config.seeds[0]).train.values()))
        least = 1 if epochs is not None else LEAST_STEPS
        steps = max(least, math.ceil((epochs or EPOCHS) * rows / config.train.batch_size))
        steps = steps if epochs is not None else min(steps, config.train.steps)
        layer = {"train": {"steps": steps}}
        if "evaluate_every" not in _section(given, "train"):
            layer["train"]["evaluate_every"] = min(config.train.evaluate_every, math.ceil(steps / 4))
        config = arms(
            scale(build_config(*layers, layer), factor, (*keep, "train.steps", "train.evaluate_every"))
        )
        passes = steps * config.train.batch_size / rows
        reasons["train.steps"] = f"{passes:.3g} epochs" + (
            "" if epochs is not None else ", the default for own data"
        )
    if data is not None and config.data.custom is not None:
        warnings += _many_passes(config, data)
    return Experiment(config=config, data=data, reasons=reasons, warnings=tuple(warnings))


def default_directory(config: ExperimentConfig, verb: str, what: str | None = None) -> Path:
    """Names the directory of an experiment after what it is, so that the same command finds it again."""
    names = [*config.data.tasks, *([config.data.custom.name] if config.data.custom else [])]
    what = what or "-".join(names).replace("/", "-")
    return Path(FOLDER) / f"{verb}-{what[:60]}-{config.fingerprint()}"


def run_comparison(
    experiment: Experiment,
    path: Path,
    *,
    command: str,
    progress: Any,
    store: Path | None = None,
    jobs: int = 1,
    launcher: str = "processes",
    launcher_options: Mapping[str, Any] | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    most_seeds: int = 0,
) -> Comparison | None:
    """Runs an experiment, or what is left of it; a finished one is read again.

    Args:
        experiment: The experiment, whose data were read.
        path: Its directory.
        command: The command that redoes it, for the record.
        progress: Is told how it goes.
        store: Where runs lie.
        jobs: Runs at the same time, each in a process of its own; 1 for this process.
        launcher: See `lowland.compare.launch.make_launcher`.
        launcher_options: What the launcher is told.
        on_plan: Is told what will be done before anything is.
        most_seeds: Seeds up to which one after another is added until the score is decided; 0 for none.

    Returns:
        The result; `None` on all processes but the first of those that train together.

    Raises:
        UserError: If something the user gave is wrong, or every run failed.
        KeyboardInterrupt: If the user asked to stop.
    """
    config = experiment.config
    store = store or store_of(path)
    if experiment.data is not None and is_finished(config, path, store, experiment.data):
        from lowland.report.write import read_report

        for seed in config.seeds:
            for arm in config.arms:
                progress.on_run(arm, seed, done=True)
        return Comparison(directory=path, report=read_report(path), again=True)
    from lowland.compare.compare import run_experiment
    from lowland.compare.jobs import run_side_by_side
    from lowland.runs.run import processes
    from lowland.train import TrainingError

    apart = jobs > 1 or launcher != "processes"
    if apart and processes().num_processes > 1:
        raise UserError(
            "--jobs: several processes train each run together already. Leave it out, or start only one."
        )

    def elsewhere(left: Sequence[RunDirectory]) -> None:
        run_side_by_side(config, path, left, jobs, launcher, launcher_options or {}, progress)

    try:
        report = run_experiment(
            config,
            path,
            command,
            progress,
            on_plan,
            data=experiment.data,
            warnings=experiment.warnings,
            most_seeds=most_seeds,
            store=store,
            elsewhere=elsewhere if apart else None,
        )
    except TrainingError as error:
        raise UserError(str(error)) from None
    return None if report is None else Comparison(directory=path, report=report)


def is_finished(config: ExperimentConfig, path: Path, store: Path, data: ExperimentData) -> bool:
    """Says whether a directory holds this very experiment, reported on after its last run."""
    if config.outcomes.also or config.outcomes.general:
        return False  # whose files may have changed
    try:
        description = json.loads((path / "experiment.json").read_text(encoding="utf-8"))
        same = (path / "experiment.toml").read_text(encoding="utf-8") == config.to_toml()
    except (OSError, ValueError):
        return False
    done = same and description.get("finished") is not None and (path / "report" / "report.json").is_file()
    return done and all_done(config, store, data)


def _load(settings: DataSettings, only_plan: bool) -> ExperimentData | None:
    try:
        load_tasks(settings)  # a name that is not known is better said before files are read
        # A plan may be for another machine, and published numbers are enough for it.
        return None if only_plan and settings.custom is None else load_data(settings)
    except MissingFilesError:
        if only_plan:
            return None
        raise


def _section(settings: Layer, name: str) -> Layer:
    found = settings.get(name)
    return found if isinstance(found, Mapping) else {}


def _reasons(given: Layer, config: ExperimentConfig) -> dict[str, str]:
    """Says why settings that depend on the model have their values."""
    reasons = {}
    embedded = MODEL_DEFAULTS.get(config.model, {}).get("train", {})
    for name in ("learning_rate", "optimizer", "batch_size", "steps"):
        value = getattr(config.train, name)
        if name in _section(given, "train"):
            continue
        if name in embedded:
            reasons[f"train.{name}"] = f"the default of the {config.model} model"
        elif value != getattr(TrainSettings(), name):
            reasons[f"train.{name}"] = "the default of its kind of model"
        else:
            reasons[f"train.{name}"] = "the paper's"
    if "rho" not in _section(given, "sam"):
        reasons["sam.rho"] = "the paper's; small models often want less, see --grid"
    return reasons


def _many_passes(config: ExperimentConfig, data: ExperimentData) -> list[str]:
    rows = sum(map(len, part(data, config.data, config.seeds[0]).train.values()))
    passes = config.train.steps * config.train.batch_size / rows
    if passes <= MANY_PASSES:
        return []
    return [
        f"A run passes {passes:,.0f} times over the {rows:,} training examples. "
        f"Give --epochs {EPOCHS}, or fewer --steps, unless that is meant."
    ]


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


def _file_of(rows: Rows, store: Path) -> tuple[str, str | None]:
    """Gives the file of some rows, which is written for rows in memory, and what their task is called."""
    if isinstance(rows, (str, Path)):
        return str(rows), None
    records = rows.to_dict("records") if hasattr(rows, "to_dict") and hasattr(rows, "columns") else list(rows)
    if not records or not all(isinstance(record, Mapping) for record in records):
        raise UserError("Rows must be a file, dictionaries, a pandas frame or a data set of `datasets`.")
    try:
        lines = [json.dumps(_plain(record), ensure_ascii=False, allow_nan=False) for record in records]
    except (TypeError, ValueError) as error:
        raise UserError(f"Rows must hold texts, numbers and lists of them ({error}).") from None
    path = store / ".data" / f"rows-{fingerprint(lines)}.jsonl"
    if not path.exists():
        write_atomic(path, ("\n".join(lines) + "\n").encode())
    return str(path), "rows"


def _plain(value: Any) -> Any:
    """Writes the numbers of numpy and pandas as Python's, and what is missing as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
