"""Kinds of language models: encoder-decoders, causal models and classifiers, each in one file.

Nothing is imported here, so that the settings can be read without torch.
"""
