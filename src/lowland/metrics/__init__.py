"""Metrics: lists of strings to numbers."""
