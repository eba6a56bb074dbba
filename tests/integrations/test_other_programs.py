"""Other programs, such as axolotl, take a Trainer with SAM by its dotted path and give it no settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.integrations.runs import logged, model_of, trained
from tests.integrations.toys import same, weights
from transformers import Trainer

import lowland
from lowland import SAMConfig


def test_settings_in_the_class(tmp_path: Path) -> None:
    """A class with SAM's settings trains as one that is given them, and takes the program's arguments."""

    class ProgramsTrainer(Trainer):
        def __init__(self, *args: Any, bench_data_collator: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)

    class SAMTrainer(lowland.SAMTrainerMixin, ProgramsTrainer):
        sam = SAMConfig(rho=0.3, ascent=0.5)

        def __init__(self, *args: Any, sam: Any, **kwargs: Any) -> None:
            super().__init__(*args, bench_data_collator=None, **kwargs)

    run = trained(tmp_path, "llama", SAMTrainer)
    assert logged(run, "radius") == pytest.approx([0.3] * 3, rel=1e-5)  # fp32
    plain = trained(tmp_path, "llama", sam=SAMConfig(rho=0.3, ascent=0.5))
    assert same(weights(model_of(run)), weights(model_of(plain)))
