"""Runs: the examples, the starting model, one training, and where it lies."""
