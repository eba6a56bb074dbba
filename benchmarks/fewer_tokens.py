"""Leaves out of a BERT's vocabulary what some files do not use, which makes its steps cheaper.

    python benchmarks/fewer_tokens.py MODEL OUT FILE...

WordPiece takes the longest piece that it knows, so these files' tokens stay the same; and an embedding that
never occurs has no gradient. Only `noise` differs: its length is shared by fewer weights.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from torch import nn
from transformers import AutoModel, AutoTokenizer

NAMES = "cb premise: hypothesis:"
"""What the tasks write around the texts."""


def texts_of(file: Path) -> list[str]:
    """Reads all texts of a CSV or JSONL file."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = (
            [json.loads(line) for line in lines] if file.suffix == ".jsonl" else list(csv.DictReader(lines))
        )
    return [str(value) for row in rows for value in row.values()]


def main(model: Path, out: Path, *files: Path) -> None:
    """Writes the model with fewer tokens."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = [NAMES, *(text for file in files for text in texts_of(file))]
    used = {one for ids in tokenizer(texts, truncation=False)["input_ids"] for one in ids}
    kept = sorted(used | set(tokenizer.all_special_ids))
    pieces = tokenizer.convert_ids_to_tokens(kept)
    bert = AutoModel.from_pretrained(model)
    table = bert.get_input_embeddings()
    pad = pieces.index(tokenizer.pad_token)
    weights = table.weight[kept].detach()
    bert.set_input_embeddings(nn.Embedding.from_pretrained(weights, freeze=False, padding_idx=pad))
    bert.config.vocab_size, bert.config.pad_token_id = len(kept), pad
    bert.save_pretrained(out)
    (out / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    type(tokenizer)(str(out / "vocab.txt"), do_lower_case=True).save_pretrained(out)
    again = AutoTokenizer.from_pretrained(out)
    assert all(again.tokenize(text) == tokenizer.tokenize(text) for text in texts)
    print(f"{len(kept)} of {len(table.weight)} tokens")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
