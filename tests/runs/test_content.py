"""Hashes by content: of examples, files and a model's folder."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import fields, replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fixtures.models import write_checkpoint

from lowland.errors import UserError
from lowland.files import examples_hash, model_hash, sha256
from lowland.tasks.base import Example, Pair
from lowland.tasks.custom import CustomTask

texts = st.text(st.characters(), max_size=6)  # half characters are among them
examples = st.builds(
    Example,
    inputs=texts,
    targets=texts,
    answers=st.none() | st.lists(texts, max_size=3).map(tuple),
    ids=st.none() | st.dictionaries(st.sampled_from(["question", "passage"]), st.integers(0, 9), max_size=2),
    label=st.none() | st.integers(-1, 3),
)


@given(st.lists(examples, max_size=4), st.lists(examples, max_size=4))
def test_two_lists_have_one_hash_exactly_if_they_are_equal(one: list[Example], other: list[Example]) -> None:
    """Lists of examples have the same hash if and only if all their fields are equal, in order."""
    assert (examples_hash(one) == examples_hash(other)) == (one == other)
    assert examples_hash(one) == examples_hash([replace(example) for example in one])


@given(st.lists(examples, min_size=1, max_size=4), st.data())
def test_any_field_of_any_example_changes_the_hash(before: list[Example], data: st.DataObject) -> None:
    """Another value of one field of one example, or another order, changes the hash."""
    place = data.draw(st.integers(0, len(before) - 1))
    name = data.draw(st.sampled_from([field.name for field in fields(Example)]))
    after = list(before)
    after[place] = replace(before[place], **{name: getattr(data.draw(examples), name)})
    assert (examples_hash(after) == examples_hash(before)) == (after == before)
    shuffled = data.draw(st.permutations(before))
    assert (examples_hash(shuffled) == examples_hash(before)) == (list(shuffled) == before)


def test_texts_that_run_together_alike_differ() -> None:
    """What stands on the other side of a border between fields or examples is other data."""
    ab, a = Example(inputs="ab", targets="c"), Example(inputs="a", targets="bc")
    quoted = Example(inputs='a", "targets": "b', targets="c")
    halves = Example(inputs="\ud83d\ude00", targets="c")  # the same character, in two halves
    whole = Example(inputs="\U0001f600", targets="c")
    assert len({examples_hash([example]) for example in (ab, a, quoted, halves, whole)}) == 5
    assert examples_hash([]) != examples_hash([Example(inputs="", targets="")])


def test_where_a_pair_is_cut_is_content() -> None:
    """A word that moves from the first text of a pair to the second makes other examples."""
    cuts = ("a b", "c"), ("a", "b c")
    one, other = (examples_hash([Example(inputs=Pair("a b c", *cut), targets="yes")]) for cut in cuts)
    assert one != other


rows = st.lists(
    st.fixed_dictionaries({"text": st.sampled_from(["good", "bad, or so", 'a "b"', "über", "日本"]),
                           "label": st.sampled_from(["yes", "no", "Yes"])}),
    min_size=2, max_size=5,
)  # fmt: skip


def write(path: Path, table: list[dict[str, str]], encoding: str, end: str) -> None:
    """Writes rows as CSV."""
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"], lineterminator=end)
        writer.writeheader()
        writer.writerows(table)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # every example writes the file anew
@given(rows, st.data())
def test_an_edit_of_a_file_changes_the_hash_or_nothing(
    tmp_path: Path, table: list[dict[str, str]], data: st.DataObject
) -> None:
    """After any single edit a file is refused, or its hash changes, or every example is what it was."""
    path = tmp_path / "rows.csv"
    task = CustomTask("mine", None, path, "{text}", "{label}")
    write(path, table, "utf-8", "\n")
    before, bytes_before = task.load().evaluation["mine"], sha256(path)
    place = data.draw(st.integers(0, len(table) - 1))
    edit = data.draw(st.sampled_from(["label", "text", "drop", "again", "swap", "mark", "ends", "byte"]))
    after = [dict(row) for row in table]
    if edit in ("label", "text"):
        after[place][edit] += "x"
    elif edit == "drop":
        del after[place]
    elif edit == "again":
        after.append(dict(after[place]))
    elif edit == "swap":
        after[place - 1], after[place] = after[place], after[place - 1]
    write(path, after, "utf-8-sig" if edit == "mark" else "utf-8", "\r\n" if edit == "ends" else "\n")
    if edit == "byte":
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
    try:
        now = task.load().evaluation["mine"]
    except UserError:
        return
    assert (examples_hash(now) == examples_hash(before)) == (now == before)
    if edit in ("label", "text", "drop", "again"):
        assert examples_hash(now) != examples_hash(before)
    if now != before:  # so that a file whose bytes are the same need not be read
        assert sha256(path) != bytes_before


def test_a_file_is_hashed_by_its_content(tmp_path: Path) -> None:
    """An edit that keeps size and time is seen; a copy and a file that was touched are the same."""
    path = tmp_path / "rows.jsonl"
    path.write_text("abc")
    first, times = sha256(path), path.stat()
    path.write_text("abd")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert sha256(path) != first
    path.write_text("abc")
    os.utime(path, (1, 1))
    assert sha256(path) == first == sha256(Path(shutil.copy(path, tmp_path / "copy")))


def test_every_byte_of_a_model_counts(tmp_path: Path) -> None:
    """A byte changed, added or lost in any file of a checkpoint changes its hash; notes and logs do not."""
    folder = tmp_path / "model"
    write_checkpoint(folder, "umt5")
    before = model_hash(folder)
    (folder / "README.md").write_text("notes")
    (folder / ".git").mkdir()
    (folder / "checkpoint-10").mkdir()
    (folder / "checkpoint-10" / "model.safetensors").write_bytes(b"another")
    assert model_hash(folder) == before == model_hash(shutil.copytree(folder, tmp_path / "copy"))
    names = [path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".md"]
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(names)
    for name in names:
        content = (folder / name).read_bytes()
        for changed in (content[:-1], content + b" ", bytes([content[0] ^ 1]) + content[1:]):
            (folder / name).write_bytes(changed)
            assert model_hash(folder) != before, name
        (folder / name).unlink()
        assert model_hash(folder) != before, name
        (folder / name).write_bytes(content)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert model_hash(folder) != before


def test_parts_of_weights_in_other_folders_count(tmp_path: Path) -> None:
    """An index of weights may name files in folders, which decide as much."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.safetensors").write_bytes(b"1")
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"w": "parts/a.safetensors"}})
    )
    before = model_hash(tmp_path)
    (tmp_path / "parts" / "a.safetensors").write_bytes(b"2")
    assert model_hash(tmp_path) != before
