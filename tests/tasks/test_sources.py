"""Reading registered tasks from official files and from the hub."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lowland.errors import UserError
from lowland.tasks.base import Source, TaskData
from lowland.tasks.registry import get_task
from lowland.tasks.winograd import read_blocks

RTE = {"premise": "P.", "hypothesis": "H.", "label": "entailment"}


def lines(*rows: dict[str, Any]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(root: Path, files: dict[str, str]) -> Path:
    """Writes files under a folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return root


def load(name: str, root: Path, files: dict[str, str]) -> TaskData:
    """Loads a task from a folder after writing files there."""
    return get_task(name).load(Source(data_dir=write(root, files)))


TEXT = "sentence\tlabel\n"


@pytest.mark.parametrize(
    "names",
    [
        ("SST-2/train.tsv", "SST-2/dev.tsv"),
        ("sst-2/train.tsv", "sst-2/dev.tsv"),
        ("glue_sst2/train.tsv", "glue_sst2/dev.tsv"),
        ("train.tsv", "dev.tsv"),
        ("glue_sst2/train_part1.tsv", "glue_sst2/validation.tsv"),
    ],
)
def test_files_are_found_in_the_usual_places(tmp_path: Path, names: tuple[str, str]) -> None:
    """The official folder, a folder named as the task, and the folder itself are all understood."""
    data = load("glue/sst2", tmp_path, {names[0]: TEXT + "a \t1\n", names[1]: TEXT + "b\t0\n"})
    assert data.train[0].inputs == "sst2 sentence: a "
    assert data.evaluation["glue/sst2"][0].targets == "negative"
    assert data.warnings == (
        "glue/sst2 train holds 1 examples; 67349 are published.",
        "glue/sst2 holds 1 examples; 872 are published.",
    )


def test_the_official_name_is_preferred_and_parts_are_joined(tmp_path: Path) -> None:
    """A file of the official name stands alone; without it, all files of the next pattern are read."""
    dev = {"RTE/val.jsonl": lines(RTE)}
    parts = {f"RTE/train_{part}.jsonl": lines({**RTE, "premise": part}) for part in "ba"}
    data = load("superglue/rte", tmp_path, parts | dev)
    assert [example.inputs[-1] for example in data.train] == ["a", "b"]
    data = load("superglue/rte", tmp_path, {"RTE/train.jsonl": lines(RTE)})
    assert len(data.train) == 1


def test_cola_has_no_header_and_mrpc_a_byte_order_mark(tmp_path: Path) -> None:
    """CoLA's first line is a row, and MRPC's first column is found behind its byte order mark."""
    row = 'x\t1\t\tA "quote\n'
    data = load("glue/cola", tmp_path, {"CoLA/train.tsv": row, "CoLA/dev.tsv": row})
    assert data.train[0].inputs == 'cola sentence: A "quote'
    mrpc = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t2\t3\tA\tB\n"
    data = load("glue/mrpc", tmp_path, {"MRPC/train.tsv": mrpc, "MRPC/dev.tsv": mrpc})
    assert data.train[0].targets == "equivalent"


def test_qqp_drops_short_rows_and_says_so(tmp_path: Path) -> None:
    """QQP's few rows that lack fields are left out with a warning; a cut-off last line is still an error."""
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    good = "1\t2\t3\tA\tB\t1\n"
    data = load(
        "glue/qqp", tmp_path, {"QQP/train.tsv": header + good + "2\t3\n", "QQP/dev.tsv": header + good}
    )
    assert len(data.train) == 1
    assert "1 rows that lack fields were dropped, the first in line 3" in "".join(data.warnings)
    with pytest.raises(UserError, match=r"train\.tsv, line 3.*cut off"):
        load("glue/qqp", tmp_path, {"QQP/train.tsv": header + good + "2\t3"})


def test_mnli_has_two_evaluation_sets(tmp_path: Path) -> None:
    """MNLI is evaluated on its matched and mismatched sets; a missing one is reported."""
    row = "sentence1\tsentence2\tgold_label\nP\tH\tneutral\n"
    files = {"MNLI/train.tsv": row, "MNLI/dev_matched.tsv": row}
    data = load("glue/mnli", tmp_path, files)
    assert list(data.evaluation) == ["glue/mnli/matched"]
    assert "glue/mnli/mismatched: no file dev_mismatched.tsv" in "".join(data.warnings)
    data = load("glue/mnli", tmp_path, {"MNLI/dev_mismatched.tsv": row})
    assert list(data.evaluation) == ["glue/mnli/matched", "glue/mnli/mismatched"]


def test_tasks_for_evaluation_only_say_so(tmp_path: Path) -> None:
    """AX-b needs no training file, has no training examples, and says so."""
    row = {"sentence1": "A", "sentence2": "B", "label": "entailment"}
    data = load("superglue/axb", tmp_path, {"AX-b/AX-b.jsonl": lines(row)})
    assert list(data.train) == []
    assert "for evaluation only" in data.warnings[0]


def test_closed_book_files(tmp_path: Path) -> None:
    """Questions are read from JSON lines, official JSON, and the TSV of questions and lists of retrievers."""
    questions = {
        "nq_open/NQ-open.train.jsonl": lines({"question": "q", "answer": ["a"]}),
        "nq_open/NQ-open.dev.jsonl": lines({"question": "r", "answer": ["b", "c"]}),
        "triviaqa-unfiltered/unfiltered-web-train.json": json.dumps(
            {"Data": [{"Question": "q", "Answer": {"Value": "A", "Aliases": ["A"]}}], "Version": 1}
        ),
        "triviaqa-unfiltered/my_validation.tsv": '"say ""x"""\t"[\'it\'\'s\', \'X\']"\n',
    }
    nq = load("cbqa/natural_questions", tmp_path, questions)
    assert nq.evaluation["cbqa/natural_questions"][0].answers == ("b", "c")
    trivia = load("cbqa/trivia_qa", tmp_path, {})
    assert trivia.train[0].targets == "A"
    assert trivia.evaluation["cbqa/trivia_qa"][0].inputs == 'trivia_qa question: say "x"'
    assert trivia.evaluation["cbqa/trivia_qa"][0].answers == ("its", "X")
    (tmp_path / "triviaqa-unfiltered/my_validation.tsv").write_text("q\t__import__('os')\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"my_validation\.tsv, line 1.*list of answers"):
        load("cbqa/trivia_qa", tmp_path, {})


def article(language: str, question: str = "Q?") -> str:
    """A SQuAD-style file of one question."""
    row = {"id": f"{language}-1-0", "question": question, "answers": [{"text": "a", "answer_start": 0}]}
    return json.dumps(
        {"version": "1", "data": [{"title": "t", "paragraphs": [{"context": "a.", "qas": [row]}]}]}
    )


def test_tydiqa_is_evaluated_by_language(tmp_path: Path) -> None:
    """Every question is evaluated under the language in its id; missing languages are named."""
    files = {
        "tydiqa-goldp/english_train.json": article("english", "Other?"),
        "tydiqa-goldp/korean_dev.json": article("korean"),
        "tydiqa-goldp/arabic_dev.json": article("arabic"),
    }
    data = load("tydiqa/goldp", tmp_path, files)
    assert list(data.evaluation) == ["tydiqa/goldp/arabic", "tydiqa/goldp/korean"]
    assert (
        "tydiqa/goldp/telugu: the files hold no usable row. The other evaluation sets are used."
        in data.warnings
    )
    with pytest.raises(UserError, match=r"korean_dev\.json, item 1.*begin with a language"):
        load("tydiqa/goldp", tmp_path, {"tydiqa-goldp/korean_dev.json": article("klingon")})


def test_dpr_blocks(tmp_path: Path) -> None:
    """DPR's blocks are separated by blank lines, the last may lack one, and a cut-off block is an error."""
    block = "He saw Bob when he left.\nhe\nBob,Tom\nTom\n"
    data = load("dpr", tmp_path, {"DPR/train.c.txt": block + "\n\n" + block, "DPR/test.c.txt": block})
    assert [example.targets for example in data.train] == ["Tom", "Tom"]
    assert [number for number, _ in read_blocks(tmp_path / "DPR/train.c.txt")] == [1, 7]
    with pytest.raises(UserError, match=r"train\.c\.txt, line 1.*four lines"):
        load("dpr", tmp_path, {"DPR/train.c.txt": "He saw Bob.\nhe\n"})


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ("", ["train.jsonl is empty"]),
        (lines(RTE) + '{"premise": "P', ["train.jsonl, line 2", "not valid JSON"]),
        (lines(RTE, {"premise": "P."}), ["train.jsonl, line 2", "'hypothesis' is missing"]),
        (lines({**RTE, "label": "maybe"}), ["train.jsonl, line 1", "'label'", "entailment, not_entailment"]),
        (lines({"premise": "P.", "hypothesis": "H."}), ["train.jsonl, line 1", "no label"]),
        (lines({**RTE, "premise": 3}), ["train.jsonl, line 1", "'premise' must be text"]),
        (lines({**RTE, "label": None}), ["no usable row"]),
    ],
)
def test_a_damaged_official_file_is_reported(tmp_path: Path, train: str, words: list[str]) -> None:
    """Empty, cut off, malformed or unlabelled: one sentence names file, line and field."""
    with pytest.raises(UserError) as caught:
        load("superglue/rte", tmp_path, {"RTE/train.jsonl": train, "RTE/val.jsonl": lines(RTE)})
    for word in words:
        assert word in str(caught.value)


def test_missing_data_say_what_to_do(tmp_path: Path) -> None:
    """Without files the sentence names the official file and where it was looked for."""
    with pytest.raises(UserError, match=r"train\.jsonl.*or in its folder RTE.*download.*hub"):
        load("superglue/rte", tmp_path, {"other.txt": ""})
    with pytest.raises(UserError, match=r"val\.jsonl"):
        load("superglue/rte", tmp_path, {"RTE/train.jsonl": lines(RTE)})
    with pytest.raises(UserError, match=r"give the folder.*RTE/train\.jsonl.*or allow the Hugging Face hub"):
        get_task("superglue/rte").load(Source())
    with pytest.raises(UserError, match="nowhere does not exist"):
        get_task("superglue/rte").load(Source(data_dir=tmp_path / "nowhere"))


class FakeHub(types.ModuleType):
    """Stands in for the package `datasets`: what it gives, and what it was asked for."""

    def __init__(self, rows: list[dict[str, Any]] | Exception, script: bool = False) -> None:
        super().__init__("datasets")
        self.rows = rows
        self.script = script
        self.asked: list[tuple[Any, ...]] = []

    def load_dataset(
        self, name: str, configuration: str | None, split: str, revision: str | None = None
    ) -> Iterator[dict[str, Any]]:
        self.asked.append((name, configuration, split, revision))
        if isinstance(self.rows, Exception):
            raise self.rows
        if self.script and revision != "refs/convert/parquet":
            raise RuntimeError("Dataset scripts are no longer supported, but found super_glue.py")
        return iter(self.rows)


def test_the_hub_is_asked_only_where_it_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hub=True, files that are not in the folder come from the hub; those in the folder do not."""
    hub = FakeHub([{"sentence": "a", "label": 1, "idx": 0}], script=True)
    monkeypatch.setitem(sys.modules, "datasets", hub)
    write(tmp_path, {"SST-2/train.tsv": TEXT + "mine\t0\n"})
    data = get_task("glue/sst2").load(Source(data_dir=tmp_path, hub=True))
    assert data.train[0].inputs == "sst2 sentence: mine"
    assert data.evaluation["glue/sst2"][0].targets == "positive"
    data_set = get_task("glue/sst2").data
    assert data_set is not None
    assert hub.asked == [
        ("nyu-mll/glue", "sst2", "validation", data_set.revision),
        ("nyu-mll/glue", "sst2", "validation", "refs/convert/parquet"),
    ]


def test_an_unreachable_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and no package `datasets`, each end in a sentence that says what to do instead."""
    monkeypatch.setitem(sys.modules, "datasets", FakeHub(ConnectionError("Couldn't reach the Hub\nat all")))
    with pytest.raises(UserError, match=r"could not be read.*Couldn't reach the Hub\. Check the network"):
        get_task("glue/sst2").load(Source(hub=True))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'lowland\[hub\]'"):
        get_task("glue/sst2").load(Source(hub=True))


SIZES = {
    "glue/sst2": (67349, 872),
    "glue/stsb": (5749, 1500),
    "glue/rte": (2490, 277),
    "superglue/cb": (250, 56),
    "superglue/copa": (400, 100),
    "superglue/multirc": (27243, 4848),
    "superglue/rte": (2490, 277),
    "superglue/wsc": (259, 104),
    "cbqa/web_questions": (3778, 2032),
}


@pytest.mark.parametrize("name", SIZES)
def test_official_files_hold_the_published_numbers(shared: Path, name: str) -> None:
    """Complete official files give the published numbers of examples, with no warning about them."""
    data = get_task(name).load(Source(data_dir=shared / "data"))
    assert (len(data.train), len(data.evaluation[name])) == SIZES[name]
    assert not any("published" in warning for warning in data.warnings)


@pytest.mark.parametrize(
    "name",
    [
        "glue/mnli",
        "glue/qnli",
        "glue/wnli",
        "superglue/boolq",
        "superglue/axb",
        "superglue/axg",
        "dpr",
        "cbqa/natural_questions",
        "cbqa/trivia_qa",
        "tydiqa/goldp",
    ],
)
def test_partial_files_are_read(shared: Path, name: str) -> None:
    """Files that hold a part of a data set are read whole, and the missing part is reported."""
    data = get_task(name).load(Source(data_dir=shared / "data"))
    assert data.evaluation
    assert any("published" in warning or "evaluation only" in warning for warning in data.warnings)
