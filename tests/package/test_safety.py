"""Hostile files: no code that comes along runs, no secret is kept, no network is asked."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import SMALL
from tests.fixtures.models import word_tokenizer, write_checkpoint
from transformers import ByT5Tokenizer

from lowland.cli import main
from lowland.cli.trouble import redact
from lowland.data import encode_texts
from lowland.errors import UserError
from lowland.families.recognise import load_family
from lowland.models.load import load_model
from lowland.tasks.fields import Template

ROOT = Path(__file__).resolve().parents[2]
EVIL = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\nclass Config: pass\n"


def change(path: Path, **values: Any) -> None:
    """Changes fields of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"auto_map": {"AutoConfig": "evil.Config", "AutoModelForSeq2SeqLM": "evil.Config"}}),
        ("config.json", {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}),
        ("config.json", {"trust_remote_code": True, "auto_map": {"AutoModelForSeq2SeqLM": "evil.Config"}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Config", "evil.Config"]}}),
        ("tokenizer_config.json", {"trust_remote_code": True, "tokenizer_class": "Config"}),
    ],
)
def test_code_of_a_checkpoint_never_runs(tmp_path: Path, file: str, values: dict[str, Any]) -> None:
    """Whatever a checkpoint's files say, code that lies beside them is not run."""
    write_checkpoint(tmp_path, "t5.1.1")
    (tmp_path / "evil.py").write_text(EVIL)
    change(tmp_path / file, **values)
    with contextlib.suppress(UserError):
        load_model(str(tmp_path), dropout=None)
    assert not (tmp_path / "ran").exists()


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.path}'",)


@pytest.mark.parametrize("kept", [True, False])
def test_pickles_are_never_read(tmp_path: Path, kept: bool) -> None:
    """A pickled checkpoint is refused where it is alone, and passed over where safetensors lie beside it."""
    import pickle

    write_checkpoint(tmp_path, "t5.1.1")
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    if not kept:
        (tmp_path / "model.safetensors").unlink()
        with pytest.raises(UserError, match="can run code and are not read"):
            load_model(str(tmp_path), dropout=None)
    else:
        change(tmp_path / "config.json", use_safetensors=False, weights_only=False)
        load_model(str(tmp_path), dropout=None)
    assert not (tmp_path / "ran").exists()


def test_files_that_name_other_code_are_refused(tmp_path: Path) -> None:
    """Adapters that name another model, and an attention to be fetched from the hub, are refused."""
    write_checkpoint(tmp_path, "t5.1.1")
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/model"}')
    (tmp_path / "adapter_model.safetensors").touch()
    with pytest.raises(UserError, match="'evil/model', which is not here"):
        load_family(str(tmp_path))
    (tmp_path / "adapter_config.json").unlink()
    for field in ("_attn_implementation", "attn_implementation"):
        write_checkpoint(tmp_path, "t5.1.1", **{field: "evil/kernels"})
        with contextlib.suppress(UserError):  # or transformers does not take it from the file
            model = load_model(str(tmp_path), dropout=None).model
            assert "/" not in str(model.config._attn_implementation)


def dangerous(source: str) -> list[str]:
    """Calls in Python source that could run what a file holds, or read a pickle."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [name for name in names if name.split(".")[0] in ("pickle", "dill", "marshal", "shelve")]
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("eval", "exec", "torch.load", "os.system", "__import__", "yaml.load"):
                found.append(name)
            for word in node.keywords:
                value = word.value.value if isinstance(word.value, ast.Constant) else "?"
                if word.arg in ("trust_remote_code", "allow_pickle", "shell") and value is not False:
                    found.append(f"{name}({word.arg})")
    return found


@pytest.mark.parametrize(
    "line", ["eval(x)", "import pickle", "torch.load(p)", "f(trust_remote_code=flag)", "run(c, shell=True)"]
)
def test_dangerous_calls_are_recognized(line: str) -> None:
    """The check below knows what it looks for."""
    assert dangerous(line)


def test_nothing_can_run_what_a_file_holds() -> None:
    """No module evaluates text, reads pickles, or leaves to a variable whether remote code is trusted."""
    modules = sorted((ROOT / "src").rglob("*.py"))
    assert {str(path): found for path in modules if (found := dangerous(path.read_text()))} == {}


@pytest.mark.parametrize(
    "value", ["{label}", "{text.__class__}", "{0}", "%s", "{{", "${PATH}", "{text!r:>99999}"]
)
def test_templates_are_filled_once(value: str) -> None:
    """What a row holds is text, whatever it looks like: it is not filled in again."""
    assert Template("a {text} b").fill({"text": value, "label": "secret"}) == f"a {value} b"


@pytest.mark.parametrize("kind", ["embedded", "bytes", "bart", "bert2bert"])
def test_control_strings_in_a_text_are_text(kind: str) -> None:
    """A text that spells a control token gets no control token, except EOS at its end."""
    if kind == "embedded":
        tokenizer: Any = load_model("embedded", dropout=None).tokenizer
    else:
        tokenizer = ByT5Tokenizer() if kind == "bytes" else word_tokenizer(kind)
    controls = {"</s>", "<pad>", tokenizer.eos_token or "[SEP]", tokenizer.pad_token}
    ids = set(tokenizer.convert_tokens_to_ids(sorted(controls))) - {tokenizer.unk_token_id}
    plain_row, spelled = encode_texts(["the cat", " the ".join(sorted(controls)) + " cat"], tokenizer, 64)[0]
    assert sum(token in ids for token in spelled) == sum(token in ids for token in plain_row)


def test_texts_without_control_strings_are_untouched() -> None:
    """Signs alone, and T5's sentinels, are tokenised as they always were."""
    tokenizer = load_model("embedded", dropout=None).tokenizer
    for text in ("a < b > c", "see <extra_id_0> here", "< / s >", "x</S>"):
        (row,), _ = encode_texts([text], tokenizer, 64)
        assert row.tolist() == tokenizer(text)["input_ids"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--model https://ann:pa55word@host/model", "--model https://***@host/model"),
        ("--model https://host/m?token=abc123&x=1", "--model https://host/m?token=***&x=1"),
        ("--name hf_AbCdEfGhIjKlMnOp", "--name hf_***"),
        ("AWS_SECRET=abc lowland", "AWS_SECRET=*** lowland"),
        ("--input 'token={text}'", "--input 'token={text}'"),
        ("lowland compare glue/sst2 --rho 0.15", "lowland compare glue/sst2 --rho 0.15"),
    ],
)
def test_secrets_are_redacted(text: str, expected: str) -> None:
    """Passwords in addresses, tokens and keys are replaced; everything else stays."""
    assert redact(text) == expected


def test_recorded_command_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line goes into records with its secrets replaced."""
    seen: list[str] = []
    monkeypatch.setattr("lowland.cli.tasks.run", lambda arguments: seen.append(arguments.command) or 0)
    assert main(["tasks", "https://ann:pa55word@host/tasks"]) == 0
    assert len(seen) == 1 and "://***@host/tasks" in seen[0] and "pa55" not in seen[0]


ALONE = """
import socket, sys
def refuse(*arguments, **options):
    raise AssertionError(f"the network was asked: {arguments}")
for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.create_connection = refuse
from lowland.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_no_network_and_no_secrets(tmp_path: Path) -> None:
    """A run asks no network, and no file that it leaves holds a secret of its environment."""
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    names = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "MY_PASSWORD")
    environment |= {name: f"sesame-{name}" for name in names}
    words = ["train", "facts/continents", *SMALL, "--out", "out"]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "sesame" not in done.stdout + done.stderr
    holding = [
        str(path.relative_to(tmp_path))
        for path in tmp_path.rglob("*")
        if path.is_file() and b"sesame" in path.read_bytes()
    ]
    assert holding == []
    assert (tmp_path / "out" / "sam-seed0" / "env.json").exists()
