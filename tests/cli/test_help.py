"""Help texts: complete, within 80 columns, and true."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.command import call, succeed
from tools.settings_table import PAGE, placed

from lowland.cli import COMMANDS, command_parser
from lowland.cli.parser import seed_list
from lowland.cli.predict import Generation
from lowland.comparison.experiment import EPOCHS
from lowland.config.data import CustomData, DataSettings
from lowland.config.experiment import MODEL_DEFAULTS, SEEDS, ExperimentConfig
from lowland.sam import SAMConfig
from lowland.train.settings import TrainSettings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits(name: str) -> None:
    """Each command's help fits in 40 lines of 80 columns, shows an example, and all explain every option."""
    result = succeed(name, "--help")
    lines = result.out.splitlines()
    assert len(lines) <= 40
    whole = succeed(name, "--help-all").out.splitlines() if "--help-all" in result.out else lines
    assert max(map(len, [*lines, *whole])) <= 80
    assert f"  lowland {name}" in result.out
    for action in command_parser(name)._actions:
        assert action.help


def test_root_help() -> None:
    """`lowland` alone names every command with its purpose, in 80 columns, and succeeds."""
    result = succeed()
    assert max(map(len, result.out.splitlines())) <= 80
    for name in COMMANDS:
        assert re.search(rf"^  {name}\s+\w+", result.out, flags=re.MULTILINE)


def test_said_defaults_are_true() -> None:
    """Every default that the help of compare says is the dataclass's, in brackets the embedded model's."""
    sections = {"train": TrainSettings, "sam": SAMConfig, "data": DataSettings, "data.custom": CustomData}
    special = {
        "data.custom.metrics": "accuracy",
        "model": "embedded",
        "seeds": str(SEEDS),
    }
    embedded = MODEL_DEFAULTS["embedded"]["train"]
    checked = set()
    for action in command_parser("compare")._actions:
        found = re.search(r"\(default: (.+?)(?: \[(.+?)\])?(?:; own data .*)?\)$", action.help or "")
        section, _, name = action.dest.rpartition(".")
        if action.dest in special:
            assert special[action.dest] in (action.help or "")
            continue
        if found is None or section not in sections:
            assert action.dest not in embedded
            continue
        checked.add(name)
        default = sections[section].__dataclass_fields__[name].default  # type: ignore[attr-defined]
        said, said_of_embedded = found[1].partition(",")[0], found[2]
        if isinstance(default, bool):
            assert said in (("on",) if default else ("off", "they are an error"))
        elif default == "":
            assert said == "the file's"
        elif default is None:
            assert re.fullmatch("the task's|the whole batch|all count|all parameters|of two classes .*", said)
        else:
            assert said == (f"{default:g}" if isinstance(default, float | int) else default)
        assert said_of_embedded == (f"{embedded[name]:g}" if name in embedded else None)
    without = {"ascent_examples", "fisher", "perturb", "rise"}  # whose default is none
    settings = {**TrainSettings.__dataclass_fields__, **SAMConfig.__dataclass_fields__}
    said = {name for name, field in settings.items() if field.default is not False}  # no switches
    assert said - without <= checked
    config = ExperimentConfig(data=DataSettings(tasks=("facts",)))
    assert (config.model, len(config.seeds), CustomData.metrics) == ("embedded", SEEDS, ("accuracy",))


def test_said_defaults_of_generation_are_true() -> None:
    """The defaults in the help of eval and predict are those of the dataclass."""
    for name in ("eval", "predict"):
        text = " ".join(succeed(name, "--help-all").out.split())
        assert f"inputs at a time (default: {Generation.batch_size})" in text
        assert f"computes it well (default: {Generation.precision})" in text


def test_the_length_of_training_on_own_data_is_told() -> None:
    """The help of --steps says what own data get, and explains the brackets that it shows."""
    short = succeed("compare", "--help").out
    assert f"own data {EPOCHS} epochs)" in short and "[...]: for the embedded model" in short
    assert "In brackets: the default for the embedded model" in succeed("compare", "--help-all").out


def test_documented_commands_parse() -> None:
    """Every command in the page on the command line, and in the help texts parses."""
    texts = [(ROOT / "docs" / "command-line.md").read_text(), succeed().out]
    texts += [succeed(name, "--help").out for name in COMMANDS]
    lines = "\n".join(texts).replace("\\\n", " ").splitlines()
    commands = [line.strip() for line in lines if re.match(r" *lowland [a-z]+ +[^ ]", line)]
    known = [
        command for command in commands if command.split()[1] in COMMANDS and "   " not in command.strip()
    ]
    assert len(known) >= 20
    for command in known:
        name, *words = shlex.split(command.partition("|")[0])[1:]
        command_parser(name).parse_words(words)


def test_help_needs_no_torch() -> None:
    """Help and the list of tasks come without importing torch, transformers or scikit-learn."""
    code = (
        "import sys; from lowland.cli import main; main([]); main(['tasks']); main(['tasks', 'glue/sst2']);"
        "sys.exit(bool({'torch', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0
    )


def test_tasks_must_not_come_first() -> None:
    """Tasks may stand before, between and after options: the mistake that is left is the value's."""
    for words in (["glue/sst2", "--rho", "x"], ["--seeds", "1", "glue/sst2", "--rho", "x", "glue/rte"]):
        assert call("compare", *words).err.startswith("lowland: --rho: must be a number, not 'x'.")


def test_a_comma_makes_a_number_of_seeds_a_seed() -> None:
    """A number alone counts seeds; a list names them, also a list of one."""
    assert seed_list("3") == [0, 1, 2] and seed_list("4,7") == [4, 7] and seed_list("1000,") == [1000]


def test_the_page_has_the_settings_of_sam() -> None:
    """The list of SAM's settings in the documentation is the one that the settings make."""
    page = PAGE.read_text(encoding="utf-8")
    assert placed(page) == page, "run python tools/settings_table.py"
