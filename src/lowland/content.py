"""What an experiment is made from, by its content: hashes of examples, of files, and of a model's folder.

No hash goes by names, times or sizes: data that were edited are other data, and a file that was copied or
touched is the same one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lowland.files import sha256

if TYPE_CHECKING:
    from lowland.tasks.base import Example

MODEL_SUFFIXES = (".safetensors", ".gguf", ".json", ".txt", ".model", ".spm", ".jinja", ".tiktoken", ".bpe")
"""Of a model's folder, files of these suffixes can decide what it computes, or what its tokenizer does."""

IDLE_NAMES = ("lowland.json", "trainer_state.json", "all_results.json", "train_results.json")
"""Files of a model's folder that decide neither."""


def examples_hash(examples: Sequence[Example]) -> str:
    """Hashes examples as they enter training and scoring: all their texts, answers and groups, in order.

    Any change of any example, and of their order, changes the SHA-256; a field that is unset does not enter
    it, so that fields can be added.
    """
    digest = hashlib.sha256()
    for example in examples:
        fields = {name: value for name, value in vars(example).items() if value is not None}
        if (pair := getattr(example.inputs, "texts", None)) is not None:
            fields["pair"] = pair  # where the one text ends, the whole does not tell
        # JSON holds no line end; half of a character in a text is written as the half that it is.
        line = json.dumps(fields, ensure_ascii=False, sort_keys=True, default=dict)
        digest.update(line.encode(errors="surrogatepass") + b"\n")
    return digest.hexdigest()


def model_hash(directory: str | Path) -> str:
    """Hashes what a folder's model starts from: weights, configuration, tokenizer and chat template.

    The SHA-256 is over the names and contents of all files that can have an effect. Notes, logs, states of
    optimizers and folders of other checkpoints have none.

    Raises:
        OSError: If a file cannot be read.
    """
    root = Path(directory)
    chosen = {path for path in root.iterdir() if _has_effect(path)}
    chosen |= {path for path in (root / "additional_chat_templates").glob("*.jinja") if path.is_file()}
    for index in root.glob("*.index.json"):
        # Weights in parts may lie in folders of their own.
        with contextlib.suppress(ValueError, AttributeError, OSError):
            parts = json.loads(index.read_bytes())["weight_map"].values()
            chosen |= {root / name for name in parts if (root / name).is_file()}
    digest = hashlib.sha256()
    for path in sorted(chosen, key=lambda path: os.fsencode(path.relative_to(root))):
        digest.update(os.fsencode(path.relative_to(root)) + b"\0" + sha256(path).encode() + b"\n")
    return digest.hexdigest()


def _has_effect(path: Path) -> bool:
    hidden, name = path.name.startswith("."), path.name.lower()
    return path.suffix.lower() in MODEL_SUFFIXES and name not in IDLE_NAMES and not hidden and path.is_file()
