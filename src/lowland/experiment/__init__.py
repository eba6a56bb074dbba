"""Experiments: configuration, presets, comparison, sweeps and the run directory."""
