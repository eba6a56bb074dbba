"""Tasks: rows of a data set become input and target texts, and predictions become scores.

A new task is an entry of `benchmarks.toml`.
"""
