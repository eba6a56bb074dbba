"""Causal language models: Llama, Qwen, Gemma, GPT-2 and their kin. A target is what follows its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jinja2 import TemplateError
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig

from lowland.data import IGNORED, EncodedExample, collate
from lowland.data.encode import TokenIds, encode_between, literal, special_tokens
from lowland.errors import UserError
from lowland.families.base import Start
from lowland.families.settings import FamilySettings
from lowland.families.writer import Writer
from lowland.models.load import Kind, LoadedModel

INPUT, TARGET = "\ue000", "\ue001"
"""Characters of private use that stand for the texts in a chat template."""


class Causal(Writer):
    """A model that reads the input and goes on with the target."""

    name: ClassVar[str] = "causal"
    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    pipeline: ClassVar[str] = "text-generation"
    defaults: ClassVar[Mapping[str, Any]] = {
        "optimizer": "adamw",
        "batch_size": 32,
        "z_loss": 0.0,
        "learning_rate": 2e-5,
        "dropout": 0.0,
    }

    def __init__(self, loaded: LoadedModel, settings: FamilySettings | None = None) -> None:
        super().__init__(loaded, settings)
        self._before, self._after, self._closing = self._frame()
        # A text of the user's must not open a turn of the chat.
        added = self.tokenizer.added_tokens_decoder.values()
        self._controls = [token.content for token in added if token.special]

    @classmethod
    def kind(cls, config: PreTrainedConfig, start: Start | None) -> Kind:
        """Says how such a model is loaded."""
        return Kind(
            auto=AutoModelForCausalLM,
            name="causal language model",
            wanted="a checkpoint of Llama, Qwen, Gemma, GPT-2 or another decoder",
        )

    def lengths(self, inputs: int, targets: int) -> tuple[int, int]:
        """Shares the model's positions between input and target."""
        most = self._most[1]
        if most is None:
            return inputs, targets
        targets = min(targets, max(1, most // 2))
        return min(inputs, most - targets), targets

    def encode_inputs(self, texts: Sequence[str], length: int) -> tuple[tuple[TokenIds, ...], int]:
        """Encodes inputs; what is cut is the text, never what stands around it."""
        texts = literal(texts, self.tokenizer, self._controls)
        return encode_between(texts, self.tokenizer, length, self._before, self._after)

    def encode_targets(self, texts: Sequence[str], length: int) -> tuple[tuple[TokenIds, ...], int]:
        """Encodes targets."""
        texts = literal(texts, self.tokenizer, self._controls)
        return encode_between(texts, self.tokenizer, length, [], self._closing)

    def collate(self, rows: Sequence[EncodedExample]) -> dict[str, Tensor]:
        """Puts each target behind its input; a label stands at its own token, and inputs have none."""
        whole = []
        for inputs, targets in rows:
            labels = np.concatenate([np.full_like(inputs, IGNORED), targets])
            labels[0] = IGNORED  # nothing stands before the first token that could tell it
            whole.append(EncodedExample(np.concatenate([inputs, targets]), labels))
        return collate(whole, int(self.tokenizer.pad_token_id))

    def scores(self, module: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Scores each token after those before it."""
        output = module(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
        return output.logits[:, :-1], batch["labels"][:, 1:]

    def longest(self, inputs: int, targets: int) -> tuple[int, int]:
        """Gives the length of both together."""
        return inputs + targets, 0

    def _frame(self) -> tuple[list[int], list[int], list[int]]:
        """Gives the tokens before an input, between input and target, and after a target."""
        end = self.tokenizer.eos_token_id
        if end is None:
            raise UserError(
                "The tokenizer has no end-of-sequence token; give a checkpoint whose tokenizer has one."
            )
        if not self.settings.chat:
            before, _ = special_tokens(self.tokenizer)
            return before, self._ids(self.settings.separator), [end]
        before_text, after_text, closing_text = self._chat()
        closing = self._ids(closing_text.rstrip())
        return self._ids(before_text), self._ids(after_text), closing if end in closing else [*closing, end]

    def _chat(self) -> tuple[str, str, str]:
        """Cuts what the chat template writes around a text of the user and an answer."""
        tokenizer: Any = self.tokenizer
        if not tokenizer.chat_template:
            raise UserError(f"The tokenizer of {self.loaded.name} has no chat template; leave out --chat.")
        system = self.settings.system
        asked = [{"role": "system", "content": system}] if system is not None else []
        asked.append({"role": "user", "content": INPUT})
        answered = [*asked, {"role": "assistant", "content": TARGET}]
        options = {"tokenize": False, "enable_thinking": False}  # templates that cannot think ignore it
        try:
            prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, **options)
            whole = tokenizer.apply_chat_template(answered, **options)
            unheard = system and prompt == tokenizer.apply_chat_template(
                asked[1:], add_generation_prompt=True, **options
            )
        except TemplateError as error:
            raise UserError(
                f"The chat template of {self.loaded.name} cannot be used so: {str(error).rstrip('.')}."
            ) from None
        if unheard:
            raise UserError(
                f"The chat template of {self.loaded.name} leaves system messages out; leave out --system, or "
                "put the text into --input."
            )
        if prompt.count(INPUT) != 1 or whole.count(TARGET) != 1:
            raise UserError(
                f"The chat template of {self.loaded.name} does not write each message once; leave out --chat."
            )
        before, _, after = prompt.partition(INPUT)
        return before, after, whole.partition(TARGET)[2]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []
