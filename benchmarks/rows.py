"""Cuts official files of data sets into rows of one's own, as records/PROTOCOL.md has them.

    python benchmarks/rows.py DATA OUT

All labelled rows of a task, each once, are shuffled (seed 0): the first are for training, the next
for the test. Some tasks have labels that are made from what the files say.
"""

from __future__ import annotations

import csv
import json
import lzma
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

Row = tuple[str, ...]

TRAIN, TEST, MORE, FEW = 1300, 2000, 700, 16
"""Rows of each part; those behind the test rows that SST-2 has beside its training rows; rows of a class."""

ARTICLES = 1500
QUESTION_WORDS = ("who", "when", "where", "what", "how")
SST2_LABELS = {"0": "negative", "1": "positive"}

NQ = "nq_open/dpr_nq_dev_8757_FROM_TRAIN.tsv"
TRIVIAQA = "triviaqa/dpr_trivia_dev_8837_FROM_TRAIN.tsv"
WEBQUESTIONS = "webquestions/WebQuestions-train.jsonl"
WIKIPEDIA = "corpus_wikipedia/wiki_articles.txt.xz"


def read(file: Path, columns: Sequence[str]) -> list[Row]:
    """Reads columns of an official file; GLUE's TSV knows no quotes."""
    lines = [line for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
    if file.suffix == ".jsonl":
        rows = [json.loads(line) for line in lines]
    else:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [tuple(str(row[column]).strip() for column in columns) for row in rows]


def official(columns: Sequence[str], *files: str) -> Callable[[Path], list[Row]]:
    """Gives what reads texts and label of a task as its files have them."""
    return lambda data: [row for file in files for row in read(data / file, columns)]


def sst2(data: Path) -> list[Row]:
    """Gives SST-2 without its phrases of under four words."""
    rows = read(data / "glue_sst2/train.tsv", ("sentence", "label"))
    return [(text, SST2_LABELS[label]) for text, label in rows if len(text.split()) >= 4]


def similar(data: Path) -> list[Row]:
    """Gives the pairs of STS-B: similar from a score of 3 on, else different."""
    rows = official(("sentence1", "sentence2", "score"), "glue_stsb/train.tsv", "glue_stsb/dev.tsv")(data)
    return [(a, b, "similar" if float(score) >= 3 else "different") for a, b, score in rows]


def genre(data: Path) -> list[Row]:
    """Gives the first sentences of STS-B with what they are from: captions, news or forums."""
    rows = official(("sentence1", "genre"), "glue_stsb/train.tsv", "glue_stsb/dev.tsv")(data)
    return [(text, "forum" if "forum" in of else of.removeprefix("main-")) for text, of in rows]


def clear_pairs(data: Path) -> list[Row]:
    """Gives the pairs of MNLI that are not neutral."""
    return [row for row in TASKS["mnli"](data) if row[2] != "neutral"]


def elsewhere(data: Path) -> list[Row]:
    """Gives what RTE and CB ask of pairs as in `clear_pairs`; RTE's second label is a contradiction."""
    columns = ("premise", "hypothesis", "label")
    cb = official(columns, "superglue_cb/train.jsonl", "superglue_cb/val.jsonl")(data)
    rte = [
        (a, b, "contradiction" if label == "not_entailment" else label) for a, b, label in TASKS["rte"](data)
    ]
    return list(dict.fromkeys(row for row in rte + cb if row[2] != "neutral"))


def multirc(data: Path) -> list[Row]:
    """Gives MultiRC's questions and answers without the passage, with whether the answer is right."""
    lines = (data / "superglue_multirc/val.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [of for line in lines for of in json.loads(line)["passage"]["questions"]]
    rows = [(of["question"], answer) for of in questions for answer in of["answers"]]
    return [(asked, answer["text"], "right" if answer["label"] else "wrong") for asked, answer in rows]


def asked(file: Path) -> list[Row]:
    """Reads questions and answers, parted by a tab."""
    lines = [line for line in file.read_text(encoding="utf-8").split("\n") if line]
    return [(question, answer) for question, answer in (line.split("\t", 1) for line in lines)]


def answer_kind(data: Path) -> list[Row]:
    """Gives NQ's questions with whether the answer holds a digit."""
    return [(of, "number" if re.search(r"\d", answer) else "words") for of, answer in asked(data / NQ)]


def question_word(data: Path) -> list[Row]:
    """Gives NQ's questions without their first word, which is the label."""
    parts = [question.split(maxsplit=1) for question, _ in asked(data / NQ)]
    return [(part[1], part[0]) for part in parts if part[0] in QUESTION_WORDS and len(part) == 2]


def collection(data: Path) -> list[Row]:
    """Gives questions with the collection they are from, as many of each, without case and punctuation."""
    web = [question for (question,) in read(data / WEBQUESTIONS, ("question",))]
    of = {
        "search": [question for question, _ in asked(data / NQ)],
        "trivia": [question for question, _ in asked(data / TRIVIAQA)],
        "freebase": web,
    }
    rows = [(text.lower(), name) for name, texts in of.items() for text in texts[: len(web)]]
    return [(re.sub(r"[^a-z0-9 ]", "", text).strip(), name) for text, name in rows]


def articles(data: Path) -> Iterator[list[str]]:
    """Reads articles as sentences of six words or more; headings go."""
    with lzma.open(data / WIKIPEDIA, "rt", encoding="utf-8") as file:
        held: list[str] = []
        for line in file:
            if line.strip():
                held.append(line.strip())
            elif held:
                yield [
                    of for of in held if len(of.split()) >= 6 and "Section::::" not in of and of != of.upper()
                ]
                held = []


def following(data: Path) -> list[Row]:
    """Gives pairs of sentences of an article, of which the second follows the first or stands elsewhere."""
    draw = random.Random(0)
    rows: list[Row] = []
    for of in islice((article for article in articles(data) if len(article) >= 20), ARTICLES):
        for kind in ("next", "elsewhere", "next", "elsewhere"):
            at = draw.randrange(len(of) // 2)
            other = at + 1 if kind == "next" else draw.randrange(at + 3, len(of))
            rows.append((of[at], of[other], kind))
    return rows


def opening(data: Path) -> list[Row]:
    """Gives sentences of articles: one of the first three, without the heading's capitals, or a later one."""
    draw = random.Random(0)
    rows: list[Row] = []
    for of in islice((article for article in articles(data) if len(article) >= 20), ARTICLES):
        rows.append((of[draw.choice((1, 2))], "opening"))
        rows.append((of[draw.randrange(10, len(of))], "later"))
        rows.append((of[draw.randrange(10, len(of))], "later"))
        rows.append((of[3], "opening"))
    return rows


TASKS: dict[str, Callable[[Path], list[Row]]] = {
    "sst2": sst2,
    "qnli": official(("question", "sentence", "label"), "glue_qnli/dev.tsv"),
    "mnli": official(("premise", "hypothesis", "label"), "glue_mnli/dev_matched.jsonl"),
    "rte": official(("sentence1", "sentence2", "label"), "glue_rte/train.tsv", "glue_rte/dev.tsv"),
    "boolq": official(("question", "passage", "label"), "superglue_boolq/val.jsonl"),
    "clear-pairs": clear_pairs,
    "similar": similar,
    "genre": genre,
    "multirc": multirc,
    "answer-kind": answer_kind,
    "question-word": question_word,
    "collection": collection,
    "following": following,
    "opening": opening,
}
"""Task -> what reads its rows below DATA: one text or two, and the label last."""


def few(rows: Sequence[Row]) -> list[Row]:
    """Gives the first rows of each class."""
    classes: dict[str, list[Row]] = {}
    for row in rows:
        classes.setdefault(row[-1], []).append(row)
    return [row for of in classes.values() for row in of[:FEW]]


def typos(rows: Sequence[Row]) -> list[Row]:
    """Swaps two neighbouring inner letters in a quarter of the words of four letters or more."""
    draw = random.Random(0)

    def swap(word: str) -> str:
        if len(word) < 4 or draw.random() >= 0.25:
            return word
        at = draw.randrange(1, len(word) - 2)
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return [(*(" ".join(map(swap, text.split(" "))) for text in row[:-1]), row[-1]) for row in rows]


def cut(task: str, data: Path) -> dict[str, list[Row]]:
    """Gives training rows, a few of them, test rows, these with typos; of two tasks more rows, too."""
    rows = list(dict.fromkeys(TASKS[task](data)))
    random.Random(0).shuffle(rows)
    end = TRAIN + TEST
    test = rows[TRAIN:end]
    parts = {"train": rows[:TRAIN], "few": few(rows[:TRAIN]), "test": test, "typos": typos(test)}
    if task == "sst2":
        parts["train-more"] = rows[:TRAIN] + rows[end : end + MORE]
    if task == "clear-pairs":
        parts["elsewhere"] = elsewhere(data)
    return parts


def main(data: Path, out: Path) -> None:
    """Writes `<task>-<part>.csv`, with columns `text`, or `a` and `b`, and `label`."""
    out.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        for part, rows in cut(task, data).items():
            head = ("text", "label") if len(rows[0]) == 2 else ("a", "b", "label")
            with (out / f"{task}-{part}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([head, *rows])
            print(f"{task} {part}: {len(rows)} rows")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
