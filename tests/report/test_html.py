"""The page `report.html`: nothing from outside, everything from data escaped, everything there."""

from __future__ import annotations

import html.parser
import json
from pathlib import Path

import pytest
from tests.fixtures.reports import write_experiment, write_lines, write_run

from lowland.report.write import write_report

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}-->\u202e'
VOID = {"meta", "img", "br", "input", "link"}


class Reader(html.parser.HTMLParser):
    """Reads a page: its elements, attributes and texts; checks that what is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of an experiment with all that there can be, whose names, labels and texts are hostile."""
    directory = tmp_path_factory.mktemp("x") / "run"
    write_experiment(
        directory,
        metrics={HOSTILE.replace("/", "∕"): ["accuracy"]},
        name=HOSTILE,
        settings={"model": HOSTILE, "sam": {"rho": 0.05}},
    )
    name = HOSTILE.replace("/", "∕")
    targets = [HOSTILE if number % 2 else "no" for number in range(20)]
    for arm in ("baseline", "sam"):
        for seed in range(3):
            wrong = {0, 1, 2 + seed} if arm == "baseline" else {2 + seed}
            scores = {100: {"accuracy": 50.0}, 200: {"accuracy": 100 - 5.0 * len(wrong)}}
            run = write_run(directory, arm, seed, {name: scores}, warnings=[HOSTILE])
            rows = [
                {
                    "inputs": HOSTILE,
                    "targets": target,
                    "prediction": HOSTILE * 2 if number in wrong else target,
                }
                for number, target in enumerate(targets)
            ]
            write_lines(run / "predictions" / f"{name}-200.jsonl", rows)
            edges = {"low": 0.8, "high": 1.0, "answers": 20, "confidence": 0.9, "right": 0.8}
            outcomes = {"calibration error": 9.0 + seed - 4 * (arm == "sam"), HOSTILE: 1.0}
            (run / "outcomes" / "0f").mkdir(parents=True)
            (run / "outcomes" / "0f" / "step-200.json").write_text(
                json.dumps({"settings": {}, "sets": {name: {"outcomes": outcomes, "bins": [edges]}}})
            )
            if arm == "sam":
                write_lines(run / "sam.jsonl", [{"step": 10, "radius": 0.0499, "moved": 0.75}])
                write_lines(run / "train.jsonl", [{"step": 10, "cosine": 0.25}])
    (directory / "outcomes.json").write_text('{"folder": "0f"}')
    return (write_report(directory).directory / "report.html").read_text()


def test_nothing_of_data_is_mark_up(page: str) -> None:
    """Whatever names, labels, predictions and warnings hold, no element or attribute comes of it."""
    read = Reader(page)
    assert read.open == []
    assert not read.tags & {"script", "img", "iframe", "object", "embed", "link", "form", "base"}
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert "\u202e" not in page and "49-->" not in page
    shown = HOSTILE.removesuffix("\u202e")
    assert sum(shown in text for text in read.texts) > 10


def test_nothing_is_loaded(page: str) -> None:
    """The page names no address that a browser would fetch, and forbids it besides."""
    links = [
        value for name, value in Reader(page).attributes if name in ("src", "href", "xlink:href", "action")
    ]
    assert all(value.startswith("#") for value in links)
    assert "default-src 'none'" in page
    assert "url(http" not in page and "@import" not in page


def test_everything_is_there(page: str) -> None:
    """The answer, tables, both figures, matrices, flips, what SAM did, settings and the command are shown."""
    read = Reader(page)
    texts = " ".join(" ".join(read.texts).split())
    for part in (
        "Advice: use Baseline",
        "calibration error",
        "right answer",
        "0.0499",
        "75%",
        "All settings",
        "lowland compare",
    ):
        assert part in texts
    assert [value for name, value in read.attributes if name == "aria-label"] == [
        "Score against training steps",
        "Share of right answers against confidence",
    ]
    assert page.count('class="matrix"') == 2


def test_better_is_to_the_right(page: str) -> None:
    """A lower calibration error is drawn on the better side of the line, and the largest end at its edge."""
    start = page.index("calibration error", page.index("Other outcomes"))
    drawn = page[page.index("<svg", start) : page.index("</svg>", start)]
    assert (
        'cx="50.0"' in drawn
    )  # all seeds differ by the same 4 points: a point, and the only one of its unit


def test_a_report_of_nothing_has_a_page(tmp_path: Path) -> None:
    """Before any run has finished the page says so."""
    page = (write_report(write_experiment(tmp_path / "x", metrics={"a": ["em"]})).directory) / "report.html"
    assert "no run has finished with a score yet" in page.read_text()
