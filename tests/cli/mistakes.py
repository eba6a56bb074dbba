"""Everything that a user can get wrong, as a table: a command, and what its answer must say.

`python -m tests.cli.mistakes` prints the table with the answers, to be read as a user reads them.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pickle
import resource
import shlex
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
from tests.cli.command import Result, call, reviews, write_rows
from tests.fixtures.models import write_checkpoint

Case = tuple[str, list[str]]
"""A command, in which {d} is the folder of `prepare`, and words that its answer must hold."""

ON_TASK = "compare facts/continents"
ON_ROWS = "compare --train {d}/train.jsonl --eval {d}/dev.jsonl --input {{text}} --target {{label}}"
ON_ONE = "compare --train {d}/train.jsonl --input {{text}} --target {{label}}"
PLANNED = f"{ON_ROWS} --plan --held-out 0"


def _on(file: str) -> str:
    return f"{ON_ROWS} --train {{d}}/{file}"


def _plan(file: str) -> str:
    return f"{PLANNED} --train {{d}}/{file}"


MISTAKES: dict[str, list[Case]] = {
    "The command": [
        ("comparr", ["Unknown command 'comparr'", "compare"]),
        ("compare", ["nothing to train on", "lowland tasks"]),
        (
            "predict --model {d}/notes --input {d}/train.jsonl",
            ["--model", "notes is no directory of a model"],
        ),
        (f"{ON_TASK} --model {{d}}/models/trained", ["models/trained/model' instead"]),
        ("compare reviews.csv", ["'reviews.csv' is no task", "--train"]),
        (f"{ON_TASK} --arms ,", ["--arms: must be names with commas between"]),
        (f"{ON_TASK} --dropout auto", ["train.dropout='auto'", "number"]),
        (f"{ON_TASK} --epochs auto", ["epochs='auto'", "number"]),
        (f"{ON_TASK} --detect auto", ["--detect must be above 0 points, not auto"]),
        (f"{ON_TASK} --ranks own", ["Arm 'sam'", "DistributedDataParallel"]),
        (f"{ON_TASK} --perturb nothing", ["Arm 'sam'", "no trainable parameter matches"]),
        (f"{ON_TASK} --arms baseline,flat-lora", ["Arm 'flat-lora'", "LoRA adapters", "--lora"]),
        (f"{ON_TASK} --arm 'late: start=0.1'", ["Unknown setting 'start'. Did you mean sam.start?"]),
        (f"{ON_TASK} --config {{d}}/top.toml", ["Unknown setting 'steps'. Did you mean train.steps?"]),
        (f"{ON_TASK} --grid rhoo=1", ["Unknown setting of a grid 'rhoo'", "rho"]),
        (f"{ON_TASK} --epochs 0", ["epochs=0", "> 0"]),
        (f"{ON_TASK} --roh 0.1", ["--roh", "--rho"]),
        (f"{ON_TASK} --lr 0.1", ["'--lr'", "Did you mean --learning-rate?"]),
        (f"{ON_TASK} --num_train_epochs=3", ["'--num_train_epochs'", "Did you mean --epochs?"]),
        (f"{ON_ROWS} --validation {{d}}/dev.jsonl", ["'--validation'", "Did you mean --test?"]),
        (f"{ON_TASK} --rho", ["--rho", "value is missing"]),
        (f"{ON_TASK} --steps 1.5", ["--steps", "whole number", "'1.5'"]),
        (f"{ON_TASK} --schedule liner", ["--schedule", "linear", "'liner'"]),
        (f"{ON_TASK} --seeds 1,x", ["--seeds", "'1,x'"]),
        (f"{ON_TASK} --seeds 1,1", ["seeds", "different"]),
        (f"{ON_TASK} --seeds 0", ["seeds"]),
        ("train facts/continents --seed -1", ["seeds", ">= 0"]),
        ("train facts/continents --arm sgd", ["Unknown arm 'sgd'"]),
        ('compare facts/continents --arm "x: sam=3 sam.rho=0.1"', ["Arm 'x'", "sam.rho lies in sam"]),
        ("compare facts/continents --config {d}/also.toml", ["outcomes.also", "names with files"]),
        (
            'compare facts/continents --arm "a: sam.rho=0.1" --arm "a: sam.rho=0.2"',
            ["--arm", "'a' is given twice"],
        ),
        (f"{ON_TASK} --lora r=4 r=8", ["--lora", "'r' is given twice"]),
        (f"{ON_TASK} --lora r=four", ["lora.r='four'", "whole number"]),
        ("compare facts/continents --max-seeds 9", ["--max-seeds", "--until-decided"]),
        ("compare fact/continents", ["Unknown task or mixture 'fact/continents'", "facts/continents"]),
        (f"{ON_TASK} --preset dem", ["preset 'dem'", "demo"]),
        (f"{ON_TASK} --out {{d}}/notes", ["notes", "--out"]),
        (f"{ON_TASK} --out {{d}}/empty.jsonl", ["empty.jsonl", "--out"]),
        (f"{ON_TASK} --out {{d}}/dangling", ["dangling is a link to what is not there", "--out"]),
        (f"{ON_TASK} --out {{d}}/empty.jsonl/run", ["empty.jsonl is a file", "--out"]),
        (f"{ON_TASK} --out {{d}}/{'long' * 70}", ["too long", "Give a shorter name with --out"]),
        ("compare facts/continents --config {d}/model.toml", ["model=3", "text"]),
        ("eval --model embedded", ["nothing to score"]),
        ("eval facts", ["--model", "Missing"]),
        ("eval facts --model {d}/nowhere", ["nowhere"]),
        ("eval facts --model embedded --limit 0", ["--limit", "at least 1"]),
        ("eval facts --model embedded --batch-size 0", ["batch_size=0", ">= 1"]),
        ("eval --eval {d}/dev.jsonl --target {{label}} --model embedded", ["--input is missing"]),
        ("predict --model embedded", ["Missing", "--input"]),
        ("report {d}/notes", ["notes"]),
        ("report {d}/nowhere", ["nowhere"]),
        ("report", ["DIR"]),
        ("tasks glue/sst", ["glue/sst2"]),
        ("doctor --step {d}", ["--step"]),
        ("doctor now", ["'now'"]),
    ],
    "Settings": [
        (f"{ON_TASK} --rho -1", ["rho=-1", ">= 0"]),
        (f"{ON_TASK} --rho nan", ["rho=nan", "finite"]),
        (f"{ON_TASK} --rho inf", ["rho=inf", "finite"]),
        (f"{ON_TASK} --rho 1e30", ["rho=1e+30", "<= 1000"]),
        (f"{ON_TASK} --ascent 0", ["ascent=0", "fraction of the batch"]),
        (f"{ON_TASK} --ascent 0.0", ["ascent=0.0", "> 0"]),
        (f"{ON_TASK} --ascent 2.0", ["ascent=2.0", "<= 1"]),
        (f"{ON_TASK} --ascent 64", ["ascent=64", "ascent_examples=64"]),
        (f"{ON_TASK} --ascent 0.001", ["ascent=0.001", "fewer than one"]),
        (f"{ON_TASK} --m 3", ["m=3", "divide"]),
        (f"{ON_TASK} --m 0", ["m=0", ">= 1"]),
        (f"{ON_TASK} --m 32", ["ascent=0.25", "32"]),
        (f"{ON_TASK} --steps 0", ["steps=0", ">= 1"]),
        (f"{ON_TASK} --dropout 1", ["dropout=1.0"]),
        (f"{ON_TASK} --learning-rate 0", ["learning_rate=0.0"]),
        (f"{ON_TASK} --learning-rate nan", ["learning_rate=nan"]),
        (f"{ON_TASK} --batch-size 0", ["batch_size=0", ">= 1"]),
        (f"{ON_TASK} --input-length 1", ["input_length=1", ">= 2"]),
        (f"{ON_TASK} --target-length 1", ["target_length=1", ">= 2"]),
        (f"{ON_TASK} --fraction 0", ["fraction=0.0"]),
        (f"{ON_TASK} --fraction nan", ["fraction=nan"]),
        (f"{ON_TASK} --held-out nan", ["held_out=nan"]),
        (f"{ON_TASK} --held-out 1.5", ["held_out=1.5"]),
        (f"{ON_TASK} --held-out 100000 --held-out-limit 100000", ["facts/continents", "--held-out"]),
        (f"{ON_TASK} --config {{d}}/no.toml", ["no.toml"]),
        (f"{ON_TASK} --config {{d}}/bad.toml", ["bad.toml", "line 1"]),
        (f"{ON_TASK} --config {{d}}/binary.toml", ["binary.toml", "UTF-8"]),
        (f"{ON_TASK} --config {{d}}/unknown.toml", ["train.step", "train.steps"]),
        (f"{ON_TASK} --config {{d}}/kind.toml", ["train.steps='many'", "whole number"]),
        (f"{ON_TASK} --config {{d}}/section.toml", ["train=3", "section"]),
        (f"{ON_TASK} --config {{d}}/remote.toml", ["trust_remote_code"]),
    ],
    "Files of rows": [
        (_on("no.jsonl"), ["no.jsonl", "does not exist"]),
        (_on("folder.jsonl"), ["folder.jsonl", "folder"]),
        (_on("notes/todo.txt"), ["todo.txt", ".jsonl"]),
        (_on("sheet.xlsx"), ["sheet.xlsx", "spreadsheet", "CSV"]),
        (_on("zip.csv"), ["zip.csv", "archive", "CSV"]),
        (_on("empty.jsonl"), ["empty.jsonl", "empty"]),
        (_on("empty.csv"), ["empty.csv", "empty"]),
        (_on("header-only.csv"), ["header-only.csv", "no rows"]),
        (_on("blank-lines.jsonl"), ["blank-lines.jsonl", "no rows"]),
        (_on("picture.jsonl"), ["picture.jsonl, line 1", "not UTF-8"]),
        (_on("pickle.jsonl"), ["pickle.jsonl, line 1", "not UTF-8"]),
        (_on("nul.jsonl"), ["nul.jsonl, line 2", "NUL"]),
        (_on("latin-1.csv"), ["latin-1.csv, line 2", "byte", "UTF-8"]),
        (_on("invalid-utf-8.jsonl"), ["invalid-utf-8.jsonl, line 3", "byte", "UTF-8"]),
        (_on("utf-16.csv"), ["utf-16.csv", "UTF-16", "UTF-8"]),
        (_on("utf-16-without-bom.csv"), ["utf-16-without-bom.csv", "UTF-8"]),
        (_on("packed.gz"), ["packed.gz", "rows are read from", ".csv.gz"]),
        (_on("cut-off.csv.gz"), ["cut-off.csv.gz", "cannot be unpacked", "cut off"]),
        (_on("packed.csv.xz"), ["packed.csv.xz", "unpack"]),
        (_on("notes"), ["notes is a folder", ".jsonl"]),
        (_on("no-suffix"), ["no-suffix", "no suffix"]),
        (_on("text.parquet"), ["text.parquet", "not a Parquet file"]),
        (_on("parquet.csv"), ["parquet.csv, line 1", ".parquet"]),
        (_on("semicolons-misspelt.csv"), ["line 1", "'label' is missing", "did you mean 'lable'"]),
        (_on("blank-in-key.jsonl"), ["blank-in-key.jsonl, line 1", "did you mean ' label'?"]),
        (_on("values.json"), ["values.json, item 1", "this is ['a', 'yes']"]),
        (_on("broken.jsonl"), ["broken.jsonl, line 3", "JSON"]),
        (_on("cut-off.json"), ["cut-off.json", "not valid JSON", "column"]),
        (_on("cut-off.tsv"), ["cut-off.tsv, line 3", "cut off"]),
        (_on("gzip.jsonl"), ["gzip.jsonl, line 1", ".gz if gzip has packed it"]),
        (_on("stray-return.csv"), ["stray-return.csv, line 4", "a carriage return"]),
        (_on("list.jsonl"), ["list.jsonl, line 1", "this is ['a', 'yes']"]),
        (_on("number.jsonl"), ["number.jsonl, line 1", "this is 3"]),
        (_on("scalar.json"), ["scalar.json", "list of objects"]),
        (_on("deep.jsonl"), ["deep.jsonl, line 1", "recursion depth"]),
        (_on("nan.jsonl"), ["nan.jsonl, line 1", "'label'", "not a finite number"]),
        (_on("infinite.jsonl"), ["infinite.jsonl, line 1", "'label'", "not a finite number"]),
        (_on("digits.jsonl"), ["digits.jsonl, line 1", "digits"]),
        (_on("half-character.jsonl"), ["half-character.jsonl, line 1", "surrogates"]),
        (_on("column-twice.csv"), ["column-twice.csv, line 1", "'text'", "more than once"]),
        (_on("open-quote.csv"), ["open-quote.csv, line 2", "not valid CSV", "quotes"]),
        (_on("short-row.csv"), ["short-row.csv, line 3", "'label' is missing"]),
        (_on("long-row.csv"), ["long-row.csv, line 3", "3 fields"]),
        (_on("short-row.tsv"), ["short-row.tsv, line 3", "'label'"]),
        (_on("no-header.csv"), ["no-header.csv, line 1", "name the columns", "'text'"]),
        (_on("comment-first.csv"), ["comment-first.csv, line 1", "'text' is missing", "'# of May'"]),
        (_on("label-twice.csv"), ["label-twice.csv, line 1", "'label'", "more than once"]),
        ("predict --model embedded --template {{text}} --input {d}/nul.jsonl", ["nul.jsonl, line 2", "NUL"]),
    ],
    "Fields, labels and templates": [
        ("compare --train {d}/train.jsonl --eval {d}/dev.jsonl --input {{text}}", ["--target is missing"]),
        *(
            (f"{ON_ROWS} --also x={{d}}/nowhere.csv {more}", ["--also x", "nowhere.csv does not exist"])
            for more in ("", "--plan", "--tune --held-out 10")
        ),
        (f"{ON_ROWS} --tune --held-out 10 --out {{d}}", ["exists and holds no experiment"]),
        (f"{ON_ROWS} --target {{{{labe}}}}", ["train.jsonl, line 1", "'labe'", "'label'"]),
        (f"{ON_ROWS} --input {{{{text", ["{text", "brace"]),
        (f"{ON_ROWS} --input {{{{}}}}", ["{}", "empty braces"]),
        (f"{ON_ROWS} --input {{{{0}}}}", ["train.jsonl, line 1", "'0'"]),
        (f"{ON_ROWS} --input {{{{text.__class__}}}}", ["text.__class__"]),
        (f"{ON_ROWS} --input {{{{text[0]}}}}", ["text[0]"]),
        (f"{ON_ROWS} --input {{{{text!r}}}}", ["'!'"]),
        (f"{ON_ROWS} --input {{{{text:>9999999999}}}}", ["':'"]),
        (f"{ON_ROWS} --input review", ["review", "no field"]),
        (f"{ON_ROWS} --metric acuracy", ["acuracy", "accuracy"]),
        (f"{ON_ROWS} --metric pearson", ["pearson", "number"]),
        (f"{ON_ROWS} --name ../up", ["../up"]),
        (f"{ON_ROWS} --name facts/continents facts/continents", ["facts/continents", "--name"]),
        (_on("no-label.jsonl"), ["no-label.jsonl, line 1", "'label'"]),
        (_on("null-text.jsonl"), ["null-text.jsonl, line 1", "'text'", "null"]),
        (_on("nested.jsonl"), ["nested.jsonl, line 1", "'text'", "it is {'en': 'a'}"]),
        (_on("list-label.jsonl"), ["list-label.jsonl, line 1", "'label'", "it is ['yes']"]),
        (_on("empty-target.jsonl"), ["empty-target.jsonl, line 3", "'label'", "empty", "--skip-empty"]),
        (_on("empty-targets.csv"), ["empty-targets.csv, line 3", "'label'", "--skip-empty"]),
        (f"{_on('only-empty.csv')} --skip-empty", ["only-empty.csv", "every row has an empty target"]),
        (_on("japanese.csv"), ["japanese: the labels '悪い' (2), '良い' (2)", "are the same for this model"]),
        (_on("spellings.csv"), ["'Billing ' (1), 'billing' (3)", "different spellings, correct the file"]),
        (f"{_on('long-labels.csv')} --target-length 4", ["long-labels: the labels", "--target-length"]),
        (f"{ON_ROWS} --positive yes", ["--positive", "--metric f1"]),
        (f"{ON_ROWS} --metric f1 --positive maybe", ["--positive 'maybe'", "'no', 'yes'"]),
        (_on("three.jsonl") + " --metric f1", ["'f1' needs two classes", "have 5", "--positive"]),
        (f"{ON_ROWS} --split 0.2", ["--test", "--split", "not both"]),
        (f"{ON_ONE} --split 0", ["split=0.0", "0.2"]),
        (f"{ON_ONE} --split 5", ["split=5", "0.2"]),
        (ON_ONE, ["--test (or --split 0.2", "--test is missing"]),
        (f"{ON_ONE} --train {{d}}/one.jsonl --split 0.2", ["one.jsonl", "held out", "same input"]),
        (f"{ON_ROWS} --metric pearson --target {{{{text}}}}", ["pearson", "number"]),
        (f"{_on('infinite-text.jsonl')} --metric pearson", ["pearson", "'inf'"]),
        (_on("invisible-target.jsonl"), ["invisible-target.jsonl, line 3", "'label'", "empty"]),
        ("compare glue/sst2", ["glue/sst2", "SST-2/train.tsv"]),
        ("compare glue/sst2 --data-dir {d}/nowhere", ["nowhere"]),
        ("compare glue/sst2 --data-dir {d}/notes", ["glue/sst2", "train.tsv", "SST-2"]),
        ("compare glue/sst2 --data-dir {d}/glue", ["train.tsv, line 3", "'label'", "'good'", "negative"]),
        ("compare superglue/boolq --data-dir {d}/glue", ["train.jsonl, line 2", "'label'", "maybe"]),
    ],
    "Models": [
        (f"{ON_TASK} --model {{d}}/nowhere", ["nowhere", "directory"]),
        (f"{ON_TASK} --model google/t5-v1_1-small", ["google/t5-v1_1-small", "hub"]),
        (f"{ON_TASK} --model {{d}}/notes", ["notes", "config.json"]),
        (f"{ON_TASK} --model {{d}}/{'long' * 70}", ["cannot be read", "too long"]),
        (f"{ON_TASK} --model {{d}}/train.jsonl", ["train.jsonl", "directory"]),
        (f"{ON_TASK} --model {{d}}/models/pickled", ["pickled", ".safetensors", "not read"]),
        (f"{ON_TASK} --model {{d}}/models/bert", ["no labels", "cannot write"]),
        (f"{ON_TASK} --model {{d}}/models/half", ["half", "lacks"]),
        (f"{ON_TASK} --model {{d}}/models/resized", ["resized", "config.json"]),
        (f"{ON_TASK} --model {{d}}/models/remote", ["remote", "code"]),
        (f"{ON_TASK} --model {{d}}/models/bad-config", ["bad-config", "config.json"]),
        (f"{ON_TASK} --model {{d}}/models/cut-off", ["cut-off", ".safetensors", "damaged"]),
        (f"{ON_TASK} --model {{d}}/models/no-tokenizer", ["no-tokenizer", "tokenizer"]),
        (f"{ON_TASK} --model {{d}}/models/large-vocabulary", ["large-vocabulary", "tokens", "rows"]),
        (f"{ON_TASK} --model {{d}}/models/no-dropout --dropout 1.5", ["dropout"]),
    ],
}
"""Answered with exit code 2 and one sentence on standard error."""

HANDLED: dict[str, list[Case]] = {
    "Odd but understood": [
        (f"{PLANNED} --rho auto", ["arm sam rho 0.05", "rise 0.1"]),
        (f"{PLANNED} --rho 5", ["Arm 'sam': rho=5 is far above the radii in use"]),
        (_plan("bom.csv"), ["20 for training"]),
        (_plan("lines.json"), ["20 for training"]),
        (_plan("columns.json"), ["20 for training"]),
        (_plan("array.jsonl"), ["20 for training"]),
        (_plan("blank-in-header.csv"), ["20 for training"]),
        (_plan("returns.tsv"), ["20 for training"]),
        (_plan("invisible.csv"), ["20 for training"]),
        (_plan("empty-columns.csv"), ["20 for training"]),
        (_plan("semicolons.csv"), ["20 for training"]),
        (_plan("train.parquet"), ["20 for training"]),
        (f"{_plan('empty-targets.csv')} --skip-empty", ["3 for training", "2 rows have an empty target"]),
        (_plan("typos.csv"), ["billing 29, technical 29, biling 1"]),
        (
            f"{_plan('capitals.csv')} --eval {{d}}/capitals.csv --metric exact_match",
            ["4 of 4 targets cannot be written", "'Paris' comes back as 'paris'", "at most exact_match 0.0"],
        ),
        (_plan("japanese-inputs.csv"), ["of the training inputs' tokens are unknown"]),
        (f"{ON_ONE} --plan --split 0.2", ["16 for training", "4 examples of 1 set"]),
        (f"{_plan('one.jsonl')} --held-out 0.1", ["10% of the training examples are only 1", "--held-out 1"]),
        (
            f"{PLANNED} --metric f1 --eval {{d}}/one-class.jsonl --positive no",
            ["none of its 4 targets is 'no'"],
        ),
        (_plan("bom.jsonl"), ["20 for training"]),
        (_plan("windows.csv"), ["20 for training"]),
        (_plan("windows.jsonl"), ["20 for training"]),
        (_plan("unnamed-column.csv"), ["1 for training"]),
        (_plan("huge-line.jsonl"), ["2 for training", "1 of 2 training inputs", "512 tokens", "cut"]),
        (f"{PLANNED} --target-length 2", ["10 of 20 training targets", "2 tokens", "cut"]),
        (f"{PLANNED} --input-length 4", ["20 of 20 training inputs", "4 tokens", "cut"]),
        (f"{PLANNED} --eval {{d}}/train.jsonl", ["20 of 20 evaluation inputs occur in training"]),
        (_plan("one-class.jsonl"), ["2 of 4 evaluation targets never occur in training: 'no' (2)"]),
        (_plan("new-class.jsonl"), ["4 of 4 evaluation targets never occur in training", "'no' (2)"]),
        (_plan("repeated.jsonl"), ["1 training inputs occur with more than one target"]),
        (f"{_plan('one.jsonl')} --batch-size 16", ["1 training example", "a batch of 16"]),
    ],
}
"""Answered with exit code 0 and these words on standard output."""


def prepare(folder: Path) -> Path:
    """Writes good and bad files to a folder, and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = reviews(20)
    write_rows(folder / "train.jsonl", rows)
    write_rows(folder / "dev.jsonl", reviews(4, start=50))
    good = (folder / "train.jsonl").read_text()
    lines = good.splitlines(keepends=True)
    table = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in rows)
    (folder / "folder.jsonl").mkdir()
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "notes").mkdir()
    (folder / "glue").mkdir()
    archive = folder / "zip.csv"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("../../up.csv", table)
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    yes = '{"text": "a", "label": "yes"}\n'
    contents: dict[str, str | bytes] = {
        "notes/todo.txt": "mine\n",
        "bad.toml": "[train\nsteps = 3\n",
        "binary.toml": picture,
        "unknown.toml": "[train]\nstep = 3\n",
        "kind.toml": '[train]\nsteps = "many"\n',
        "section.toml": "train = 3\n",
        "model.toml": "model = 3\n",
        "top.toml": "steps = 5\n",
        "also.toml": "[outcomes.also]\nspoken = 3\n",
        "remote.toml": "trust_remote_code = true\n",
        "sheet.xlsx": archive.read_bytes(),
        "gzip.jsonl": gzip.compress(good.encode()),
        "japanese.csv": "text,label\n" + "a,良い\nb,悪い\n" * 2,
        "japanese-inputs.csv": "text,label\n良い,yes\n悪い,no\n",
        "capitals.csv": "text,label\n" + "a,Paris\nb,London\n" * 2,
        "long-labels.csv": "text,label\na,one of the first kind\nb,one of the second kind\n",
        "packed.gz": gzip.compress(good.encode()),
        "cut-off.csv.gz": gzip.compress(table.encode())[:-20],
        "packed.csv.xz": b"",
        "no-suffix": good,
        "text.parquet": good,
        "parquet.csv": b"PAR1\x15\x04\x15\xaa",
        "values.json": json.dumps([["a", "yes"]]),
        "blank-in-key.jsonl": '{"text": "a", " label": "yes"}\n',
        "semicolons-misspelt.csv": "text;lable\na;yes\n",
        "lines.json": good,
        "array.jsonl": json.dumps(rows),
        "columns.json": json.dumps({name: [row[name] for row in rows] for name in rows[0]}),
        "blank-in-header.csv": table.replace(",", ", "),
        "stray-return.csv": table.replace("number 2", "number\r2"),
        "empty-targets.csv": "text,label\na,yes\nb,\nc,no\nd, \ne,yes\n",
        "only-empty.csv": "text,label\na,\n",
        "three.jsonl": "".join(f'{{"text": "{name}", "label": "{name}"}}\n' for name in "abc"),
        "infinite-text.jsonl": '{"text": "a", "label": "inf"}\n',
        "typos.csv": "text,label\n"
        + "".join(f"row {place},{('billing', 'technical')[place % 2]}\n" for place in range(58))
        + "row 58,biling\n",
        "spellings.csv": "text,label\n" + "a,billing\n" * 3 + "b,technical\nc,Billing \n",
        "empty.jsonl": "",
        "empty.csv": "",
        "header-only.csv": "text,label\n",
        "blank-lines.jsonl": "\n\n\n",
        "picture.jsonl": picture,
        "pickle.jsonl": pickle.dumps(rows),
        "nul.jsonl": lines[0] + lines[1].replace("cold", "c\0ld"),
        "latin-1.csv": table.replace("good", "gööd").encode("latin-1"),
        "invalid-utf-8.jsonl": (lines[0] + lines[1]).encode()
        + lines[2].encode().replace(b"warm", b"w\xe4rm"),
        "utf-16.csv": table.encode("utf-16"),
        "utf-16-without-bom.csv": table.encode("utf-16-le"),
        "broken.jsonl": "".join([*lines[:2], '{"text": "a",\n', *lines[2:]]),
        "cut-off.json": '[{"text": "a", "label": "yes"},',
        "cut-off.tsv": "text\tlabel\na\tyes\nb",
        "list.jsonl": '["a", "yes"]\n',
        "number.jsonl": "3\n",
        "scalar.json": '"hello"\n',
        "deep.jsonl": '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n",
        "nan.jsonl": '{"text": "a", "label": NaN}\n',
        "infinite.jsonl": '{"text": "a", "label": 1e999}\n',
        "digits.jsonl": '{"text": "a", "label": ' + "9" * 5000 + "}\n",
        "half-character.jsonl": '{"text": "\\ud83d", "label": "yes"}\n',
        "column-twice.csv": "text,text,label\na,b,yes\n",
        "open-quote.csv": 'text,label\n"a,yes\nb,no\n',
        "short-row.csv": "text,label\na,yes\nb\nc,no\n",
        "long-row.csv": "text,label\na,yes\nb,no,maybe\n",
        "short-row.tsv": "text\tlabel\na\tyes\nb\n",
        "comment-first.csv": "# of May\n" + table,
        "label-twice.csv": "text,label,label\na,yes,no\n",
        "returns.tsv": table.replace(",", "\t").replace("\n", "\r"),
        "invisible.csv": table.replace("label", "\u200blabel"),
        "empty-columns.csv": table.replace("\n", ",,\n"),
        "semicolons.csv": table.replace(",", ";"),
        "no-header.csv": "the film was good,yes\nit was bad,no\n",
        "no-label.jsonl": '{"text": "a", "label": null}\n',
        "null-text.jsonl": '{"text": null, "label": "yes"}\n',
        "nested.jsonl": '{"text": {"en": "a"}, "label": "yes"}\n',
        "list-label.jsonl": '{"text": "a", "label": ["yes"]}\n',
        "empty-target.jsonl": yes * 2 + '{"text": "a", "label": " "}\n',
        "invisible-target.jsonl": yes * 2 + '{"text": "a", "label": "\\u200b"}\n',
        "glue/train.tsv": "sentence\tlabel\na\t1\nb\tgood\n",
        "glue/dev.tsv": "sentence\tlabel\na\t1\n",
        "glue/train.jsonl": '{"question": "a", "passage": "b", "label": true}\n'
        '{"question": "a", "passage": "b", "label": "maybe"}\n',
        "one.jsonl": yes,
        "bom.csv": table.encode("utf-8-sig"),
        "bom.jsonl": good.encode("utf-8-sig"),
        "windows.csv": table.replace("\n", "\r\n"),
        "windows.jsonl": good.replace("\n", "\r\n"),
        "unnamed-column.csv": "text,,label\na,b,yes\n",
        "huge-line.jsonl": '{"text": "' + "good " * 1_000_000 + '", "label": "yes"}\n' + lines[1],
        "one-class.jsonl": "".join(f'{{"text": "{name}", "label": "yes"}}\n' for name in "abcd"),
        "new-class.jsonl": '{"text": "a", "label": "oui"}\n{"text": "b", "label": "non"}\n',
        "repeated.jsonl": yes * 2 + '{"text": "a", "label": "no"}\n',
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "train.parquet")
    _prepare_models(folder / "models")
    return folder


def _prepare_models(folder: Path) -> None:
    write_checkpoint(folder / "no-dropout", "t5.1.1")

    def copy(name: str, config: dict[str, object] | None = None) -> Path:
        shutil.copytree(folder / "no-dropout", folder / name)
        path = folder / name / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | (config or {})))
        return folder / name

    pickled = copy("pickled")
    (pickled / "model.safetensors").unlink()
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    copy("trained/model")
    copy("bert", {"model_type": "bert", "architectures": ["BertModel"]})
    copy("half", {"num_layers": 4})
    copy("resized", {"d_ff": 48})
    copy("remote", {"model_type": "strange", "auto_map": {"AutoConfig": "evil.Config"}})
    (copy("bad-config") / "config.json").write_text("{")
    weights = copy("cut-off") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    for path in copy("no-tokenizer").iterdir():
        if path.name not in ("config.json", "model.safetensors", "generation_config.json"):
            path.unlink()
    tokenizer = copy("large-vocabulary") / "tokenizer_config.json"
    added = {str(400 + n): {"content": f"<new{n}>", "special": True} for n in range(50)}
    tokenizer.write_text(json.dumps(json.loads(tokenizer.read_text()) | {"added_tokens_decoder": added}))


def run_case(command: str, folder: Path) -> Result:
    """Runs a case in the folder of `prepare`."""
    return call(*shlex.split(command.format(d=folder)))


@contextlib.contextmanager
def little_disk(size: int) -> Iterator[None]:
    """Lets no file of this process grow beyond a size, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def main() -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = prepare(Path(name) / "data")
        os.chdir(name)
        for title, cases in (*MISTAKES.items(), *HANDLED.items()):
            print(f"\n## {title}\n")
            for command, _ in cases:
                result = run_case(command, folder)
                said = result.err if result.code else result.out.partition("Warning")[2]
                answer = " ".join(said.split()).replace(f"{folder}/", "")
                shown = command.replace(ON_ROWS, "compare ...").replace("{d}/", "")
                print(f"- `{shown.replace('{{', '{').replace('}}', '}')}`")
                print(f"  [{result.code}] {answer}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
