"""Models that write their answers token by token: what encoder-decoders and causal models share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig

from lowland.data import IGNORED, EncodedExample, EncodedSet
from lowland.data.encode import TokenIds
from lowland.errors import UserError
from lowland.evaluate import generate
from lowland.families.base import Family, Reading, plain_module
from lowland.families.settings import FamilySettings
from lowland.models.load import LoadedModel
from lowland.tasks.base import Example
from lowland.train.loss import token_loss

TOKENS = ("bos", "pad", "eos", "decoder_start", "forced_bos", "forced_eos")
"""The tokens of a generation configuration, which are kept."""

UNTOLD = ("transformers_version", "max_", "output_", "use_cache", "do_sample", "temperature", "top_", "_")
"""Beginnings of the names of settings that do not change what greedy generation of a known length writes."""


class Writer(Family):
    """A model that writes."""

    writes = True

    def __init__(self, loaded: LoadedModel, settings: FamilySettings | None = None) -> None:
        super().__init__(loaded, settings)
        keep = self.settings.keep_generation
        self.notes += settle_generation(loaded, self.first_target(), self.first_read(), keep)

    def first_target(self) -> int | None:
        """Gives the token with which every target begins, where there is one."""
        return None

    def first_read(self) -> int | None:
        """Gives the token that stands before every target in training, where there is one."""
        return None

    def encode(self, examples: Sequence[Example], input_length: int, target_length: int) -> EncodedSet:
        """Encodes examples for training, each input and each target by itself."""
        input_length, target_length = self.lengths(input_length, target_length)
        inputs, cut_inputs = self.encode_inputs([example.inputs for example in examples], input_length)
        targets, cut_targets = self.encode_targets([example.targets for example in examples], target_length)
        (empty,), _ = self.encode_targets([""], target_length)
        for number, (example, target) in enumerate(zip(examples, targets, strict=True), start=1):
            if len(target) <= len(empty):
                raise UserError(
                    f"Example {number} has the target {example.targets!r}, which holds no token to learn; "
                    "give it a target text or leave the row out."
                )
        return EncodedSet(
            inputs=inputs, targets=targets, truncated_inputs=cut_inputs, truncated_targets=cut_targets
        )

    @abstractmethod
    def encode_inputs(self, texts: Sequence[str], length: int) -> tuple[tuple[TokenIds, ...], int]:
        """Encodes what the model reads before it writes; gives the ids, and how many texts were cut."""

    @abstractmethod
    def encode_targets(self, texts: Sequence[str], length: int) -> tuple[tuple[TokenIds, ...], int]:
        """Encodes what the model writes, its end included."""

    def answer_tokens(self, texts: Sequence[str], length: int) -> list[int]:
        """Counts the tokens of targets."""
        return [len(ids) for ids in self.encode_targets(texts, length)[0]]

    @abstractmethod
    def scores(self, module: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Runs the model; gives scores `(batch, target_len, vocabulary)` and labels `(batch, target_len)`."""

    def answer_scores(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Runs the model on inputs that may stand several times in the batch, as `scores` does."""
        return self.scores(self.loaded.model, batch)

    def mean_loss(self, module: Any, batch: Mapping[str, Tensor], **terms: Any) -> Tensor:
        """Computes the mean loss over the targets' tokens."""
        return token_loss(*self.scores(module, batch), **terms)

    def predict(self, texts: Sequence[str], *, labels: Sequence[str] = (), **reading: Any) -> list[str]:
        """Lets the model write for each text, or choose the likeliest label where the settings say so."""
        if self.settings.rank and labels:
            found = self.likelihoods(texts, [labels] * len(texts), **reading)
            return [labels[int(np.argmax(row))] for row in found]
        longest = self.lengths(reading["input_length"], reading["target_length"])
        reading = {**reading, "input_length": longest[0], "target_length": longest[1]}
        return generate(self.loaded, texts, labels=labels, encode=self.encode_inputs, **reading)

    def likelihoods(
        self, texts: Sequence[str], answers: Sequence[Sequence[str]], **reading: Any
    ) -> list[list[float]]:
        """Adds up the logarithms of the probabilities of each answer's tokens, its end included."""
        how = Reading(**reading)
        input_length, target_length = self.lengths(how.input_length, how.target_length)
        inputs, cut = self.encode_inputs(texts, input_length)
        if cut:
            how.on_cut(cut)
        known = list(dict.fromkeys(answer for row in answers for answer in row))
        targets = dict(zip(known, self.encode_targets(known, target_length)[0], strict=True))
        pairs = [
            EncodedExample(ids, targets[answer])
            for ids, row in zip(inputs, answers, strict=True)
            for answer in row
        ]
        found = np.zeros(len(pairs))
        for chosen, batch in self.in_batches(pairs, how):
            scores, labels = self.answer_scores(batch)
            real = labels != IGNORED
            each = torch.zeros(labels.shape, device=labels.device)
            each[real] = -cross_entropy(scores[real].float(), labels[real], reduction="none")
            found[chosen] = each.sum(-1).cpu().numpy()
        left = iter(found.tolist())
        return [[next(left) for _ in row] for row in answers]


def settle_generation(
    loaded: LoadedModel, first_target: int | None, first_read: int | None, keep: bool
) -> tuple[str, ...]:
    """Makes generation greedy, and lets it begin and end as targets do in training; says what it sets aside.

    A summariser's least length or forbidden repetitions make it impossible to write a short label. Other
    tokens let a model go on after its answer, or begin as it never did.
    """
    model, tokenizer, taken = plain_module(loaded.model), loaded.tokenizer, ""
    if not keep:
        there = model.generation_config.to_diff_dict().items()
        known = (*UNTOLD, *(f"{name}_token_id" for name in TOKENS))
        taken = ", ".join(f"{name} {value}" for name, value in there if not name.startswith(known))
        tokens = {f"{name}_token_id": getattr(model.generation_config, f"{name}_token_id") for name in TOKENS}
        if tokens["forced_bos_token_id"] != first_target:
            tokens["forced_bos_token_id"] = None
        model.generation_config = GenerationConfig(**tokens)
    config = model.generation_config
    if first_read is not None:
        config.decoder_start_token_id = first_read
    end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    if end is not None and end not in ends:
        config.eos_token_id = end
    if not taken:
        return ()
    return (f"Generation settings of {loaded.name} are set aside ({taken}); --keep-generation keeps them.",)
