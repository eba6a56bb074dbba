"""The terminal: one console for all verbs, and other libraries kept quiet on it."""

from __future__ import annotations

import logging

from rich.console import Console

console = Console(soft_wrap=False)


def quiet_libraries() -> None:
    """Keeps notes of other libraries off the terminal; their errors still come."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
