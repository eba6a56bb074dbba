"""Sharpness-Aware Minimization (SAM) for fine-tuning language models."""

from lowland.version import __version__

__all__ = ["__version__"]
