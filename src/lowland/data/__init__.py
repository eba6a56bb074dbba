"""Text to batches of tokens: encode, collate, sample."""

from lowland.data.collate import IGNORED, collate, trim_padding
from lowland.data.encode import EncodedExample, EncodedSet, encode_texts
from lowland.data.sampler import MixtureSampler

__all__ = [
    "IGNORED",
    "EncodedExample",
    "EncodedSet",
    "MixtureSampler",
    "collate",
    "encode_texts",
    "trim_padding",
]
