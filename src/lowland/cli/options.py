"""Options that several verbs share: what to train on, how, and where results go."""

from __future__ import annotations

import argparse

from lowland.cli.generated import add_settings, keys_of
from lowland.cli.parser import KeysAndValues, NamedFiles, number, seed_list
from lowland.config.data import CustomData, DataSettings
from lowland.config.experiment import MODEL_DEFAULTS, SEEDS, RunConfig
from lowland.config.outcomes import OutcomeSettings
from lowland.families.settings import FamilySettings, LoRASettings
from lowland.sam.config import SAMConfig
from lowland.settings import described
from lowland.train.settings import TrainSettings

TRAINING_ONLY = ("train", "split")
TRACKERS = ("tensorboard", "wandb", "trackio")


def add_tasks(parser: argparse.ArgumentParser) -> None:
    """Adds the names of tasks."""
    tasks = parser.add_argument_group("tasks")
    tasks.add_argument(
        "data.tasks", nargs="*", metavar="TASK", help="tasks and mixtures, by name; see `lowland tasks`"
    )


def add_own_data(parser: argparse.ArgumentParser, *, train: bool = True) -> None:
    """Adds a user's own files and how their rows become texts."""
    own = parser.add_argument_group(
        "your own data", "Files in JSONL, JSON, CSV, TSV or Parquet, by their suffix; .gz is unpacked."
    )
    add_settings(
        own, CustomData, "data.custom", without=() if train else TRAINING_ONLY, also={"evaluation": "--eval"}
    )


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Adds where the rows of registered tasks come from."""
    add_settings(parser.add_argument_group("data"), DataSettings, "data", only=("data_dir", "hub"))


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Adds what there is to train and to be scored on."""
    add_tasks(parser)
    add_own_data(parser)
    add_settings(parser.add_argument_group("data"), DataSettings, "data")


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Adds the model and how it is trained."""
    model = parser.add_argument_group("model")
    add_settings(model, RunConfig)
    add_family(model)
    keys = ", ".join(f"{name} ({said.help})" for name, said in described(LoRASettings).items())
    model.add_argument(
        "--lora",
        nargs="*",
        action=KeysAndValues,
        keys=keys_of(LoRASettings),
        metavar="KEY=VALUE",
        help=f"train adapters beside the weights, such as r=16 alpha=32; {keys}",
    )
    train = parser.add_argument_group(
        "training", "The same for all arms. In brackets: defaults of the embedded model."
    )
    train.add_argument(
        "--epochs",
        type=number,
        metavar="X",
        help="passes over the training examples, in place of --steps (default: 10 of own data)",
    )
    add_settings(train, TrainSettings, "train", others=MODEL_DEFAULTS["embedded"]["train"])
    add_settings(parser.add_argument_group("SAM"), SAMConfig, "sam")


def add_family(group: argparse._ArgumentGroup) -> None:
    """Adds how a model is used, which its family decides."""
    add_settings(group, FamilySettings, "family")


def add_seeds(group: argparse._ArgumentGroup, default: str = str(SEEDS)) -> None:
    """Adds seeds."""
    group.add_argument(
        "--seeds",
        type=seed_list,
        metavar="N",
        help="number of seeds, or which: 4,7 are two, 1000, is one; without a comma, "
        f"1000 is a thousand seeds, 0 to 999 (default: {default})",
    )


def add_places(group: argparse._ArgumentGroup) -> None:
    """Adds where curves and the model go besides the directory."""
    group.add_argument(
        "--push-to-hub",
        metavar="NAME",
        help="upload the model to this repository of the Hugging Face hub, such as me/reviews; private if "
        "it is new (default: nothing is uploaded)",
    )
    group.add_argument(
        "--tracker",
        choices=TRACKERS,
        help="also log the curves of every run with this tracker of Accelerate's, which must be installed "
        "(default: none)",
    )


def add_outcome_options(parser: argparse.ArgumentParser) -> None:
    """Adds what is measured of finished runs."""
    group = parser.add_argument_group("outcomes", "What is measured of finished runs beside the score.")
    group.add_argument(
        "--outcomes",
        dest="outcomes.measure",
        type=lambda text: [] if text in ("none", "score") else text.split(","),
        metavar="NAMES",
        help="likelihood (with calibration), quantized (both and the score after rounding to int8 and int4), "
        "forgetting (of general text, by models that write), with commas between; none for the score alone "
        "(default: all)",
    )
    group.add_argument(
        "--also",
        dest="outcomes.also",
        action=NamedFiles,
        metavar="NAME=FILE",
        help="a further test set, read as --test is, on which finished models are measured; may be repeated",
    )
    add_settings(group, OutcomeSettings, "outcomes")


def add_layer_options(parser: argparse.ArgumentParser) -> None:
    """Adds what is measured, where settings come from and where results go."""
    add_outcome_options(parser)
    group = parser.add_argument_group("settings and results")
    group.add_argument(
        "--preset",
        metavar="NAME",
        help="named settings of the package, such as demo; see `lowland tasks --recipes`; options given "
        "here override it",
    )
    group.add_argument(
        "--config", metavar="FILE", help="settings in TOML, such as the experiment.toml of an experiment"
    )
    group.add_argument(
        "--scale",
        type=number,
        metavar="X",
        help="a rehearsal; shrink steps, examples and the interval between evaluations to X times theirs; "
        "options given here are not scaled (default: 1)",
    )
    group.add_argument(
        "--plan",
        action="store_true",
        help="only print what would be done; examples, tokens, memory, time, disk, devices",
    )
    group.add_argument(
        "--anyway",
        action="store_true",
        help="start even if the plan needs more memory or disk than is free (default: off)",
    )
    group.add_argument(
        "--out",
        metavar="DIR",
        help="directory of the results (default: one under runs/ named after the settings)",
    )
    group.add_argument(
        "--runs",
        metavar="DIR",
        help="folder where runs lie, each once; runs that are there are used (default: the folder called "
        "runs that the results are in, or one beside them)",
    )
