"""How a model is used: its family, how texts are put to it, what of its checkpoint is kept, and adapters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from lowland.settings import check, setting

FamilyName: TypeAlias = Literal["auto", "encoder-decoder", "causal", "classifier"]


@dataclass(frozen=True, kw_only=True)
class FamilySettings:
    """How a model is used; each field says what it is."""

    name: FamilyName = setting("auto", "kind of model; auto tells it from its configuration", option="family")
    chat: bool = setting(False, "ask a causal model through its tokenizer's chat template")
    system: str | None = setting(None, "system message of the chat")
    separator: str = setting("\n", "what stands between input and target of a causal model without --chat")
    rank: bool = setting(
        False, "let a generating model choose the likeliest of the task's labels", option="rank-labels"
    )
    keep_generation: bool = setting(
        False, "keep the checkpoint's generation settings, such as beams and minimum lengths"
    )
    source_language: str | None = setting(
        None, "language of inputs, where the tokenizer has several", metavar="CODE"
    )
    target_language: str | None = setting(
        None, "language of targets, where the tokenizer has several", metavar="CODE"
    )

    load_in_4bit: bool = setting(
        False,
        "hold the matrices in 4 bits by bitsandbytes (CUDA only); training needs --lora",
        option="load-in-4bit",
    )

    def __post_init__(self) -> None:
        check(self)
        if self.system is not None and not self.chat:
            raise ValueError("A system message is part of a chat. Give --chat, too.")


@dataclass(frozen=True, kw_only=True)
class LoRASettings:
    """Adapters that are trained instead of the model's own weights; each field says what it is.

    Source:
        Hu et al. (2021), LoRA; Liu et al. (2024), DoRA; Liu et al. (2022), IA3. Computed by PEFT.
    """

    kind: Literal["lora", "ia3"] = setting(
        "lora", "lora, or ia3 for vectors that scale activations and have no other setting but targets"
    )
    r: int = setting(16, "rank", least=1)
    alpha: float = setting(32.0, "the output is scaled by alpha / r", above=0)
    dropout: float = setting(0.0, "dropout rate of the input", least=0, below=1)
    targets: tuple[str, ...] = setting(
        (),
        "ends of the names of modules, such as q_proj,v_proj, or all-linear; PEFT's choice where not given",
    )
    dora: bool = setting(False, "learn the columns' lengths apart from their direction")

    def __post_init__(self) -> None:
        check(self)
