"""Outcomes: what is measured on a finished run, without torch but for `quantized`, which needs a model."""
