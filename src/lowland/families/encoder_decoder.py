"""Encoder-decoders: T5, mT5, ByT5, BART, Marian, mBART and their kin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedConfig

from lowland.data import IGNORED, EncodedExample, collate, encode_texts
from lowland.data.encode import TokenIds, special_tokens
from lowland.errors import UserError
from lowland.families.base import Start, plain_module
from lowland.families.settings import FamilySettings
from lowland.families.writer import Writer
from lowland.models.load import Kind, LoadedModel

WHOLE = 64
"""A length in tokens with room for all special tokens around a text."""


class EncoderDecoder(Writer):
    """A model that reads the input with an encoder and writes the target with a decoder."""

    name: ClassVar[str] = "encoder-decoder"
    auto_class: ClassVar[str] = "AutoModelForSeq2SeqLM"
    pipeline: ClassVar[str] = "text2text-generation"

    def __init__(self, loaded: LoadedModel, settings: FamilySettings | None = None) -> None:
        settings = settings or FamilySettings()
        told = set_languages(loaded, settings)
        super().__init__(loaded, settings)
        self.notes += tuple(told)

    @classmethod
    def kind(cls, config: PreTrainedConfig, start: Start | None) -> Kind:
        """Says how such a model is loaded."""
        return Kind()

    def first_target(self) -> int | None:
        """Gives the token before all targets: BART's opening, or a language."""
        before, _ = special_tokens(self.tokenizer, target=True)
        return before[0] if before else None

    def first_read(self) -> int | None:
        """Gives what the model itself puts in front of its targets in training."""
        ids, _ = self.encode_targets([""], WHOLE)
        return int(decoder_inputs(self.loaded.model, torch.from_numpy(ids[0]).long()[None])[0, 0])

    def encode_inputs(self, texts: Sequence[str], length: int) -> tuple[tuple[TokenIds, ...], int]:
        """Encodes inputs."""
        return encode_texts(texts, self.tokenizer, length)

    def encode_targets(self, texts: Sequence[str], length: int) -> tuple[tuple[TokenIds, ...], int]:
        """Encodes targets, in the target's language where the tokenizer has several."""
        return encode_texts(texts, self.tokenizer, length, target=True)

    def collate(self, rows: Sequence[EncodedExample]) -> dict[str, Tensor]:
        """Pads inputs and targets on the right."""
        return collate(rows, int(self.tokenizer.pad_token_id))

    def scores(self, module: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Scores the target's tokens, each after those before it."""
        return target_logits(self.loaded.model, module, batch), batch["labels"]

    def answer_scores(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Encodes each input once, however many answers it has in the batch."""
        model: Any = self.loaded.model
        inputs = batch["input_ids"].cpu().numpy()
        _, first, row = np.unique(inputs, axis=0, return_index=True, return_inverse=True)
        encoded = plain_module(model).get_encoder()(
            input_ids=batch["input_ids"][first], attention_mask=batch["attention_mask"][first]
        )
        encoded.last_hidden_state = encoded.last_hidden_state[row.reshape(-1)]
        return target_logits(model, model, batch, encoder_outputs=encoded), batch["labels"]

    def shape(self, batch: Mapping[str, Tensor]) -> tuple[int, int]:
        """Gives the widths of inputs and targets."""
        return batch["input_ids"].shape[1], batch["labels"].shape[1]

    def longest(self, inputs: int, targets: int) -> tuple[int, int]:
        """Gives both lengths."""
        return inputs, targets


def target_logits(model: Any, module: Any, batch: Mapping[str, Tensor], **more: Any) -> Tensor:
    """Runs a model, called as `module` if it is wrapped. `# (batch, target_len, vocabulary)`."""
    logits: Tensor = module(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=decoder_inputs(model, batch["labels"]),
        use_cache=False,
        **more,
    ).logits
    return logits


def decoder_inputs(model: Any, labels: Tensor) -> Tensor:
    """Shifts labels to the right as a model does; M2M100, NLLB and Blenderbot do it in their `forward`."""
    if (own := getattr(model, "prepare_decoder_input_ids_from_labels", None)) is not None:
        shifted: Tensor = own(labels)
        return shifted
    start = labels.new_full((len(labels), 1), model.config.decoder_start_token_id)
    shifted = torch.cat([start, labels[:, :-1]], dim=1)
    return shifted.masked_fill(shifted == IGNORED, model.config.pad_token_id)


def set_languages(loaded: LoadedModel, settings: FamilySettings) -> list[str]:
    """Chooses the languages of a tokenizer that has some, by default its own; says which, in a sentence."""
    tokenizer: Any = loaded.tokenizer
    wanted = {"src_lang": settings.source_language, "tgt_lang": settings.target_language}
    options = {"src_lang": "--source-language", "tgt_lang": "--target-language"}
    if not hasattr(tokenizer, "src_lang") or not hasattr(tokenizer, "tgt_lang"):
        if any(wanted.values()):
            raise UserError(
                f"The tokenizer of {loaded.name} has no languages; leave out --source-language and "
                "--target-language."
            )
        return []
    for name, language in wanted.items():
        language = language or getattr(tokenizer, name)
        if language is None:
            raise UserError(
                f"The tokenizer of {loaded.name} wants a language; give {options[name]}, as in de_DE."
            )
        try:
            setattr(tokenizer, name, language)
            before, after = special_tokens(tokenizer, target=name == "tgt_lang")
        except (KeyError, TypeError, ValueError):
            before, after = [], []
        if {*before, *after} <= {tokenizer.eos_token_id, tokenizer.unk_token_id}:
            raise UserError(
                f"{options[name]}: the tokenizer of {loaded.name} knows no language {language!r}."
            )
    config: Any = loaded.model.generation_config
    if before:  # mBART-50, M2M100, NLLB: the language is the first token that is written
        config.forced_bos_token_id = before[0]
    else:  # mBART-25: the decoder starts with it
        config.decoder_start_token_id = after[-1]
    return [
        f"Inputs are read as {tokenizer.src_lang}, and targets as {tokenizer.tgt_lang}; --source-language "
        "and --target-language take others."
    ]
