"""Text for pre-training, put together again."""

from __future__ import annotations

from tools.wikipedia_text import article

TEXT = 'SEA\nSection::::Sea .\nThe sea ( ; ) is " salt water " , is n\'t it ?\n\nIt costs $ 4 ( or so ) .'


def test_articles_are_cleaned_and_put_together() -> None:
    """Section marks and empty brackets go; only a whole article loses the spaces before punctuation."""
    assert article(TEXT, whole=True) == 'SEA\nThe sea is "salt water", isn\'t it?\nIt costs $4 (or so).'
    assert article(TEXT, whole=False) == (
        'SEA\nThe sea is " salt water " , is n\'t it ?\nIt costs $ 4 ( or so ) .'
    )
