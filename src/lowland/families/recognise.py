"""Which family a model is of, and its loading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
)

from lowland.errors import UserError
from lowland.families import adapters
from lowland.families.base import Family, Start
from lowland.families.causal import Causal
from lowland.families.classifier import Classifier
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.families.settings import FamilySettings, LoRASettings
from lowland.models.load import EMBEDDED, load_model
from lowland.train.seeds import derive_seed

FAMILIES: dict[str, type[Family]] = {family.name: family for family in (EncoderDecoder, Causal, Classifier)}


def recognise(config: PreTrainedConfig, name: str = "auto") -> type[Family]:
    """Tells the family of a model from its configuration, or gives the one of a name that is not `auto`."""
    if name != "auto":
        return FAMILIES[name]
    kind = type(config)
    if any(found.endswith("ForSequenceClassification") for found in config.architectures or ()):
        return Classifier
    if kind in AutoModelForSeq2SeqLM._model_mapping:
        return EncoderDecoder
    # Encoders such as BERT can be made decoders of, and are so rarely.
    if kind in AutoModelForMaskedLM._model_mapping and not getattr(config, "is_decoder", False):
        return Classifier
    if kind in AutoModelForCausalLM._model_mapping:
        return Causal
    if kind in AutoModelForSequenceClassification._model_mapping:
        return Classifier
    raise UserError(
        f"A model of the type {config.model_type!r} neither writes texts nor classifies them in "
        "transformers; give an encoder-decoder (T5, BART), a causal model (Llama) or an encoder (BERT)."
    )


def family_of(name: str, family: str = "auto", hub: bool = False) -> tuple[type[Family], PreTrainedConfig]:
    """Tells the family of a model or of adapters by its name, and gives its configuration."""
    base, _ = adapters.find(name, hub)
    config = adapters.config_of(name, base, hub)
    return recognise(config, family), config


def load_family(
    name: str,
    settings: FamilySettings | None = None,
    *,
    lora: LoRASettings | None = None,
    start: Start | None = None,
    dropout: float | None = None,
    hub: bool = False,
) -> Family:
    """Loads a model or adapters by name, to be trained if `start` is given, whole or by `lora` beside it."""
    settings = settings or FamilySettings()
    base, adapter = adapters.find(name, hub)
    config = adapters.config_of(name, base, hub)
    family = recognise(config, settings.name)
    kind = adapters.completed(family.kind(config, start), adapter)
    seed = derive_seed(0 if start is None else start.seed, "initialisation")
    # New weights come from the run's seed, and nothing else does.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loaded = load_model(
            base, dropout=dropout, hub=hub, kind=adapters.quantized(kind, settings), config=config
        )
        loaded = adapters.attach(loaded, name, adapter, lora, settings, trainable=start is not None)
    made = family(loaded, settings)
    made.notes += (kind.note,) if kind.note else ()
    return made


def family_defaults(model: str, settings: Mapping[str, Any], lora: bool, hub: bool) -> dict[str, Any]:
    """Gives the defaults of training that differ from T5's, in sections; none if the model cannot be read."""
    if model == EMBEDDED:
        return {}
    try:
        family, _ = family_of(model, str(settings.get("name", "auto")), hub)
    except (UserError, KeyError):
        return {}
    train: dict[str, Any] = dict(family.defaults)
    if lora:  # AdaFactor's steps are relative to a weight's size, and adapters begin at zero
        train |= {"optimizer": "adamw", "learning_rate": 2e-4}
    return {"train": train} if train else {}
