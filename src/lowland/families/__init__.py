"""Kinds of language models: encoder-decoders, causal models and classifiers, each in one file."""

from lowland.families.adapters import merge
from lowland.families.base import Family, Loss, Start
from lowland.families.causal import Causal
from lowland.families.classifier import Classifier
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.families.recognise import FAMILIES, family_defaults, load_family, recognise
from lowland.families.settings import FamilySettings, LoRASettings

__all__ = [
    "FAMILIES",
    "Causal",
    "Classifier",
    "EncoderDecoder",
    "Family",
    "FamilySettings",
    "LoRASettings",
    "Loss",
    "Start",
    "family_defaults",
    "load_family",
    "merge",
    "recognise",
]
