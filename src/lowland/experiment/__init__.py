"""Experiments: what is compared, how it is run, and what is kept of it."""
