"""Kinds of language models, each in one file. Nothing is imported here: settings are read without torch."""
