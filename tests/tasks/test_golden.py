"""The tasks against the T5 library: texts, metrics and rounding, for all reference cases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.tasks.scoring import score

from lowland.errors import UserError
from lowland.tasks.classification import round_to_fifth
from lowland.tasks.registry import get_task

NAMES = {
    **{
        f"glue_{name}": f"glue/{name}"
        for name in ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb")
    },
    **{
        f"super_glue_{name}": f"superglue/{name}"
        for name in ("axb", "axg", "boolq", "cb", "copa", "multirc", "record", "rte", "wic")
    },
    "dpr": "dpr",
    "glue_wnli_simple_eval": "glue/wnli",
    "super_glue_wsc_simple_eval": "superglue/wsc",
    "super_glue_wsc_simple_train": "superglue/wsc",
    "nq_open": "cbqa/natural_questions",
    "webquestions": "cbqa/web_questions",
    "triviaqa": "cbqa/trivia_qa",
    "tydiqa": "tydiqa/goldp",
}


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Reads JSON lines."""
    # Not splitlines(): the texts hold U+2028, which ends a line for it.
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            yield json.loads(line)


def cases(folder: Path) -> list[dict[str, Any]]:
    """All cases of a folder that belong to a task."""
    return [case for path in sorted(folder.glob("*.jsonl")) for case in read(path) if "task" in case]


@pytest.mark.parametrize("folder", ["text", "derived"])
def test_texts_equal_t5s(shared: Path, folder: str) -> None:
    """Every reference row gives T5's examples, byte for byte, with its answers, groups and labels."""
    checked = 0
    for case in cases(shared / "golden" / folder):
        task = get_task(NAMES[case["task"]])
        split = case["split"].split("_")[0]
        if "error" in case:
            with pytest.raises(UserError):
                task.examples(case["row"], split)
            continue
        examples = task.examples(case["row"], split)
        assert len(examples) == len(case["examples"]), case["source"]
        for example, expected in zip(examples, case["examples"], strict=True):
            checked += 1
            assert example.inputs == expected["inputs"]
            if expected["targets"] is not None:  # TriviaQA's reference rows lack the answer's own value
                assert example.targets == expected["targets"]
            assert list(example.answers or ()) == expected.get("answers", list(example.answers or ()))
            assert example.label == expected.get("label", example.label)
            for key, value in expected.items():
                if key.startswith("idx/"):
                    assert example.ids is not None
                    assert example.ids[key.removeprefix("idx/")] == value
    assert checked > 10


def test_scores_equal_t5s(shared: Path) -> None:
    """Every reference case gives T5's numbers under T5's names; where T5 fails, nan or an error."""
    checked = 0
    for case in cases(shared / "golden" / "metrics"):
        task = get_task(NAMES[case["task"]])
        arguments = {key: case[key] for key in ("ids", "answers", "labels") if key in case}
        where = f"{case['task']} {case['case']}"
        if where.endswith("no_answers"):
            with pytest.raises(ValueError, match="no right answer"):
                score(task, case["targets"], case["predictions"], **arguments)
            continue
        scores = score(task, case["targets"], case["predictions"], **arguments)
        expected = {
            # A single item: T5's Pearson raises; here it is nan as Spearman's is.
            "pearson_corrcoef" if key == "metric_0" else key: float("nan")
            if str(value).startswith("error")
            else value
            for key, value in case["expected"].items()
        }
        assert tuple(scores) == tuple(expected) == task.metrics, where
        for key, value in expected.items():
            # T5 prints doubles; sums in another order differ in the last digits only.
            assert scores[key] == pytest.approx(float(value), abs=1e-9, nan_ok=True), f"{where}: {key}"
            checked += 1
    assert checked > 400


def test_similarity_scores_round_as_t5s(shared: Path) -> None:
    """STS-B's target equals T5's for every thousandth from 0 to 5 in the reference."""
    rows = list(read(shared / "golden" / "derived" / "glue_stsb_rounding.jsonl"))
    assert [round_to_fifth(float(row["score"])) for row in rows] == [row["targets"] for row in rows]
