"""The model from which the runs of an experiment start."""

from __future__ import annotations

from lowland.config.experiment import RunConfig
from lowland.families.base import Family, Start, TaskExamples
from lowland.families.recognise import load_family
from lowland.runs.examples import ExperimentData, load_data


def start_model(config: RunConfig, data: ExperimentData | None, seed: int) -> Family:
    """Loads the model of an arm as a seed's run begins with it.

    Args:
        config: The arm's settings.
        data: All examples, which tell the labels of a classifier; `None` to read them where it is one.
        seed: The run's seed, from which new weights (a head, adapters) are drawn.

    Raises:
        UserError: If the model cannot be loaded, or cannot learn the tasks.
    """

    def tasks() -> TaskExamples:
        known = data or load_data(config.data)
        return {name: (known.tasks[name], examples) for name, examples in known.train.items()}

    return load_family(
        config.model,
        config.family,
        lora=config.lora,
        start=Start(tasks=tasks, seed=seed),
        dropout=config.train.dropout,
        hub=config.data.hub,
    )
