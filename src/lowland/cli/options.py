"""Options that several verbs share: what to train on, how, and where results go."""

from __future__ import annotations

import argparse

from lowland.cli.family_options import add_adapters, add_family
from lowland.cli.generated import add_settings
from lowland.cli.parser import number, one_of, whole, whole_or_fraction
from lowland.sam.config import SAMConfig

METRICS = (
    "accuracy (default), f1, macro_f1, matthews, exact_match, for which case counts; qa, which ignores case, "
    "punctuation and articles; rouge, bleu, chrf; pearson, spearman; may be repeated"
)
PRECISION = one_of("auto", "fp32", "bf16")
PRECISION_HELP = (
    "fp32; bf16 for fp32 weights under bf16 autocast; auto for bf16 where the machine computes it well "
    "(default: auto)"
)


def add_tasks(parser: argparse.ArgumentParser) -> None:
    """Adds the names of tasks."""
    tasks = parser.add_argument_group("tasks")
    tasks.add_argument(
        "data.tasks", nargs="*", metavar="TASK", help="tasks and mixtures, by name: see `lowland tasks`"
    )


def add_own_data(parser: argparse.ArgumentParser, *, train: bool = True) -> None:
    """Adds a user's own files and how their rows become texts."""
    own = parser.add_argument_group(
        "your own data", "Files in JSONL, JSON, CSV, TSV or Parquet, by their suffix; .gz is unpacked."
    )
    if train:
        own.add_argument("--train", dest="data.custom.train", metavar="FILE", help="training rows")
    own.add_argument("--eval", dest="data.custom.evaluation", metavar="FILE", help="evaluation rows")
    if train:
        own.add_argument(
            "--split",
            dest="data.custom.split",
            type=number,
            metavar="X",
            help="without --eval: the fraction of the training rows that is for evaluation, such as 0.2",
        )
    own.add_argument(
        "--input",
        dest="data.custom.input",
        metavar="TEMPLATE",
        help='the input text, such as "review: {text}"' + ("" if train else " (default: as it was trained)"),
    )
    own.add_argument(
        "--target", dest="data.custom.target", metavar="TEMPLATE", help='the target text, such as "{label}"'
    )
    own.add_argument("--metric", dest="data.custom.metrics", metavar="NAME", action="append", help=METRICS)
    own.add_argument(
        "--positive",
        dest="data.custom.positive",
        metavar="LABEL",
        help="the class that f1 is of, instead of the one of two that sorts last",
    )
    own.add_argument(
        "--answers",
        dest="data.custom.answers",
        metavar="FIELD",
        help="field that holds all right answers of a question, with | between them or as a list",
    )
    own.add_argument(
        "--skip-empty",
        dest="data.custom.skip_empty",
        action="store_true",
        help="leave out rows with an empty target, which are an error otherwise (default: off)",
    )
    own.add_argument(
        "--name", dest="data.custom.name", metavar="NAME", help="name in the results, instead of the file's"
    )


def add_sources(group: argparse._ArgumentGroup) -> None:
    """Adds where the rows of registered tasks come from."""
    group.add_argument(
        "--data-dir", dest="data.data_dir", metavar="DIR", help="folder with the official files of tasks"
    )
    add_hub(group)


def add_hub(group: argparse._ArgumentGroup) -> None:
    """Adds the leave to ask the hub."""
    group.add_argument(
        "--hub",
        dest="data.hub",
        action="store_true",
        help="allow fetching data and models from the Hugging Face hub",
    )


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Adds what there is to train and to be scored on."""
    add_tasks(parser)
    add_own_data(parser)
    data = parser.add_argument_group("data")
    add_sources(data)
    data.add_argument(
        "--fraction",
        dest="data.fraction",
        type=number,
        metavar="X",
        help="fraction of the training examples (default: 1)",
    )
    data.add_argument(
        "--label-noise",
        dest="data.label_noise",
        type=number,
        metavar="X",
        help="give this fraction of the training examples another of their task's labels, in tasks of facts "
        "another question's answer, the same in both arms (default: 0)",
    )
    data.add_argument(
        "--held-out",
        dest="data.held_out",
        type=whole_or_fraction,
        metavar="X",
        help="training examples that are kept to choose checkpoints by: a fraction, or a number for each "
        "task; 0 for none (default: 0.1)",
    )
    data.add_argument(
        "--held-out-limit",
        dest="data.held_out_limit",
        type=whole,
        metavar="N",
        help="but at most N for each task (default: 200)",
    )
    data.add_argument(
        "--eval-limit",
        dest="data.evaluation_limit",
        type=whole_or_fraction,
        metavar="N",
        help="score the first N examples of each evaluation set, or a fraction; 0 for all (default: 0)",
    )
    data.add_argument(
        "--cap",
        dest="data.cap",
        type=whole,
        metavar="N",
        help="in a mixture, examples of a task beyond N do not raise its rate (default: all count)",
    )
    data.add_argument(
        "--temperature",
        dest="data.temperature",
        type=number,
        metavar="X",
        help="in a mixture, more than 1 makes the rates of tasks more alike (default: 1, in proportion to "
        "their numbers of examples)",
    )


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Adds the model and how it is trained."""
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        dest="model",
        metavar="NAME",
        help="directory of a checkpoint, or its name on the hub with --hub (default: embedded, the small "
        "one that comes along)",
    )
    model.add_argument(
        "--dropout", dest="train.dropout", type=number, metavar="X", help="dropout rate (default: 0.1)"
    )
    model.add_argument(
        "--input-length",
        dest="train.input_length",
        type=whole,
        metavar="N",
        help="most tokens of an input (default: the task's)",
    )
    model.add_argument(
        "--target-length",
        dest="train.target_length",
        type=whole,
        metavar="N",
        help="most tokens of a target (default: the task's)",
    )
    add_family(model)
    add_adapters(model)
    train = parser.add_argument_group(
        "training", "The same with and without SAM. In brackets: defaults of the embedded model."
    )
    for option, kind, text in (
        ("steps", whole, "optimizer steps (default: 1000 [400])"),
        ("batch-size", whole, "examples of a step (default: 128 [32])"),
        ("micro-batch-size", whole, "examples of a forward pass; less memory (default: the whole batch)"),
        ("learning-rate", number, "largest learning rate (default: 0.001 [0.005])"),
        ("warmup-steps", whole, "steps in which the learning rate rises (default: 0)"),
        ("weight-decay", number, "weight decay of AdamW (default: 0)"),
        ("gradient-clip", number, "largest norm of the gradient; 0 for none (default: 0)"),
        ("z-loss", number, "weight of log(Z)^2 in the loss (default: 0.0001)"),
        ("evaluate-every", whole, "steps between evaluations (default: 200 [100])"),
        ("log-every", whole, "steps between lines of the log (default: 10)"),
    ):
        train.add_argument(
            f"--{option}",
            dest=f"train.{option.replace('-', '_')}",
            type=kind,
            metavar="N" if kind is whole else "X",
            help=text,
        )
    train.add_argument(
        "--gradient-checkpointing",
        dest="train.gradient_checkpointing",
        action="store_true",
        help="keep only the inputs of each layer and compute the rest again: less memory, more time "
        "(default: off)",
    )
    train.add_argument(
        "--optimizer",
        dest="train.optimizer",
        type=one_of("adafactor", "adamw"),
        metavar="NAME",
        help="adafactor, with T5's settings, or adamw (default: adafactor)",
    )
    train.add_argument(
        "--schedule",
        dest="train.schedule",
        type=one_of("constant", "linear", "cosine"),
        metavar="NAME",
        help="learning rate after the warm-up: constant, linear or cosine (default: constant)",
    )
    train.add_argument(
        "--on-non-finite",
        dest="train.on_non_finite",
        type=one_of("stop", "skip"),
        metavar="NAME",
        help="where loss or gradient is not finite: stop, with the batch kept for `lowland replay`, or skip "
        "the update (default: stop)",
    )
    train.add_argument(
        "--precision", dest="train.precision", type=PRECISION, metavar="NAME", help=PRECISION_HELP
    )
    train.add_argument(
        "--operations",
        dest="train.operations",
        type=one_of("auto", "fast", "library"),
        metavar="NAME",
        help="library computes as transformers does, bit for bit; fast differs by rounding and draws other "
        "dropout masks; auto is fast (default: auto)",
    )
    train.add_argument(
        "--deterministic",
        dest="train.deterministic",
        action="store_true",
        help="refuse operations that may give other bits each time, and keep an interrupted run's number of "
        "threads",
    )
    add_settings(parser.add_argument_group("SAM"), SAMConfig, "sam")


def add_layer_options(parser: argparse.ArgumentParser) -> None:
    """Adds where settings come from and where results go."""
    group = parser.add_argument_group("settings and results")
    group.add_argument(
        "--preset",
        metavar="NAME",
        help="settings that the package carries, such as demo (see `lowland recipes`); options given here go "
        "before",
    )
    group.add_argument(
        "--config", metavar="FILE", help="settings in TOML, such as the experiment.toml of an experiment"
    )
    group.add_argument(
        "--scale",
        type=number,
        metavar="X",
        help="a rehearsal: shrink steps, examples and the interval between evaluations to X times theirs; "
        "options given here hold as they are (default: 1)",
    )
    group.add_argument(
        "--plan",
        action="store_true",
        help="only print what would be done: examples, tokens, memory, time, disk, devices",
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


def add_runs_folder(parser: argparse.ArgumentParser) -> None:
    """Adds where runs lie."""
    parser.add_argument_group("where runs lie").add_argument(
        "--runs",
        metavar="DIR",
        help="folder whose runs are used and added to, each named by what it is made from (default: the "
        "folder called runs that the results are in, or one beside them)",
    )
