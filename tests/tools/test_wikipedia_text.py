"""Text for pre-training, put together again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.wikipedia_text import article, main

TEXT = 'SEA\nSection::::Sea .\nThe sea ( ; ) is " salt water " , is n\'t it ?\n\nIt costs $ 4 ( or so ) .'


def test_articles_are_cleaned_and_put_together() -> None:
    """Section marks and empty brackets go; only a whole article loses the spaces before punctuation."""
    assert article(TEXT, whole=True) == 'SEA\nThe sea is "salt water", isn\'t it?\nIt costs $4 (or so).'
    assert article(TEXT, whole=False) == (
        'SEA\nThe sea is " salt water " , is n\'t it ?\nIt costs $ 4 ( or so ) .'
    )


def test_a_file_is_written_whole_or_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file may take its own place, and of a source that cannot be read to its end nothing is written."""
    file, bad = tmp_path / "a.txt", tmp_path / "bad.txt"
    file.write_text(TEXT)
    main([str(file), str(file)])
    written = file.read_text()
    assert written == 'SEA\nThe sea is "salt water", isn\'t it?\n\nIt costs $ 4 ( or so ) .\n\n'
    bad.write_bytes(b"good\n\n\xff\xfe")
    with pytest.raises(SystemExit) as ended:
        main([str(bad), str(file)])
    assert ended.value.code == 2 and "not UTF-8" in capsys.readouterr().err
    assert file.read_text() == written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "bad.txt"]
