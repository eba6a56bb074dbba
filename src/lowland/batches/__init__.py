"""Batches of any shape: how many examples they have, and how to take some of them."""
