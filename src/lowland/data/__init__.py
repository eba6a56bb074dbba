"""Text to batches of tokens: encode, collate, sample."""

from lowland.data.encode import IGNORED, EncodedExample, EncodedSet, collate, encode_texts, trim_padding
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
