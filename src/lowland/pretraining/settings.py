"""What decides a pre-training, besides its text and the checkpoint that it begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lowland.settings import check, setting

SHAPE = ("pieces", "fold_case", "d_model", "d_ff", "d_kv", "heads", "encoder_layers", "decoder_layers")
"""Settings of a model that is made anew; a checkpoint has its own."""


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """How a model is made and trained; each field says what it is.

    Source:
        T5.1.1's shape, and T5's span corruption: 15% noise in spans of 3 tokens on average.
    """

    pieces: int = setting(8000, "size of the vocabulary that is trained, sentinels left out", least=1)
    fold_case: bool = setting(False, "train a vocabulary without capital letters")
    d_model: int = setting(256, "width of the hidden states", least=1)
    d_ff: int = setting(640, "width inside a feed-forward layer", least=1)
    d_kv: int = setting(64, "width of an attention head", least=1)
    heads: int = setting(4, "attention heads", least=1)
    encoder_layers: int = setting(4, "layers of the encoder", least=1)
    decoder_layers: int = setting(2, "layers of the decoder", least=1)
    input_length: int = setting(128, "tokens of an input, EOS included", least=3)
    validation_documents: int = setting(100, "documents kept to validate on", least=1)
    steps: int = setting(5000, "optimizer steps", least=1)
    batch_size: int = setting(64, "pieces per step", least=1)
    micro_batch_size: int | None = setting(None, "pieces of a forward pass; all where not given", least=1)
    optimizer: Literal["adafactor", "adamw", "muon"] = setting("adafactor", "adafactor, adamw or muon")
    learning_rate: float = setting(1e-2, "peak learning rate; a cosine takes it to 0", above=0)
    warmup_steps: int = setting(200, "steps in which the learning rate rises", least=0)
    rho: float = setting(0.0, "radius of SAM's perturbation; 0 trains without SAM", least=0)
    precision: Literal["auto", "fp32", "bf16"] = setting("auto", "fp32, bf16, or auto for the faster one")
    evaluate_every: int = setting(250, "steps between validations, at which the state is saved", least=1)
    log_every: int = setting(10, "steps between lines of the log", least=1)
    save_as: Literal["fp32", "bf16"] = setting("fp32", "type of the final weights: fp32 or bf16")
    seed: int = setting(0, "seed of everything", least=0)

    def __post_init__(self) -> None:
        check(self)
