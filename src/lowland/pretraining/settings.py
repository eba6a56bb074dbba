"""What a pre-training is: text, vocabulary, shape, objective, training."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedConfig, PreTrainedTokenizerBase, T5Config

from lowland.sam import SAMConfig
from lowland.train.settings import TrainSettings

ROWS = 64
"""The rows of the embeddings are rounded up to a multiple of this, which matrix units like."""


@dataclass(frozen=True, kw_only=True)
class ShapeSettings:
    """The shape of a T5.1.1 model.

    Attributes:
        d_model: Width of the hidden states.
        d_ff: Width inside a feed-forward layer.
        d_kv: Width of an attention head.
        heads: Attention heads.
        encoder_layers: Layers of the encoder.
        decoder_layers: Layers of the decoder.
    """

    d_model: int = 256
    d_ff: int = 640
    d_kv: int = 64
    heads: int = 4
    encoder_layers: int = 4
    decoder_layers: int = 2

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"Invalid {name}={value!r}. Must be a whole number >= 1.")

    @classmethod
    def of(cls, config: PreTrainedConfig) -> ShapeSettings:
        """Reads the shape of a T5 model from its configuration."""
        return cls(
            d_model=config.d_model,
            d_ff=config.d_ff,
            d_kv=config.d_kv,
            heads=config.num_heads,
            encoder_layers=config.num_layers,
            decoder_layers=config.num_decoder_layers,
        )

    def config(self, tokenizer: PreTrainedTokenizerBase) -> T5Config:
        """Gives the configuration of a T5.1.1 model with a vocabulary: gated GELU, no dropout."""
        config = T5Config(  # type: ignore[call-arg]  # passed on to the base class
            vocab_size=math.ceil(len(tokenizer) / ROWS) * ROWS,
            d_model=self.d_model,
            d_ff=self.d_ff,
            d_kv=self.d_kv,
            num_heads=self.heads,
            num_layers=self.encoder_layers,
            num_decoder_layers=self.decoder_layers,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            tie_word_embeddings=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
        # The same function as T5's gelu_new, which transformers computes in eight operations instead of one.
        config.dense_act_fn = "gelu_pytorch_tanh"
        return config


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """Everything that decides the outcome of a pre-training, besides the text itself.

    Attributes:
        pieces: Size of the vocabulary that is trained, sentinels left out.
        fold_case: Whether that vocabulary takes capital letters for small ones.
        vocabulary_lines: Most lines of text that it is trained on.
        shape: The model's shape.
        input_length: Tokens of an input, EOS included; how much raw text that is follows from it.
        noise_density: Share of the tokens that are cut out.
        mean_noise_span: Mean tokens of a span that is cut out.
        validation_documents: Documents kept from training, to validate on.
        validation_pieces: Most pieces of text that are validated on.
        train: How it is trained, SAM left out.
        seed: Seed of everything.

    Source:
        T5's span corruption (density 0.15, mean span 3) and T5.1.1's shape.
    """

    pieces: int = 8000
    fold_case: bool = False
    vocabulary_lines: int = 300_000
    shape: ShapeSettings = field(default_factory=ShapeSettings)
    input_length: int = 128
    noise_density: float = 0.15
    mean_noise_span: float = 3.0
    validation_documents: int = 100
    validation_pieces: int = 500
    train: TrainSettings = field(
        default_factory=lambda: TrainSettings(
            steps=5000,
            batch_size=64,
            learning_rate=1e-2,
            schedule="cosine",
            warmup_steps=200,
            gradient_clip=1.0,
            dropout=0.0,
            evaluate_every=250,
        )
    )
    sam: SAMConfig = field(default_factory=SAMConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("pieces", 1),
            ("vocabulary_lines", 1),
            ("input_length", 3),
            ("validation_documents", 1),
            ("validation_pieces", 1),
            ("seed", 0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"Invalid {name}={value!r}. Must be a whole number >= {least}.")
        if not 0 < self.noise_density < 1:
            raise ValueError(f"Invalid noise_density={self.noise_density!r}. Must be between 0 and 1.")
        if not (self.mean_noise_span >= 1 and math.isfinite(self.mean_noise_span)):
            raise ValueError(f"Invalid mean_noise_span={self.mean_noise_span!r}. Must be >= 1.")

    def to_dict(self) -> dict[str, Any]:
        """Gives the settings as nested plain values, without what is unset."""
        plain = dataclasses.asdict(self)
        for section in ("train", "sam"):
            plain[section] = {key: value for key, value in plain[section].items() if value is not None}
        return plain
