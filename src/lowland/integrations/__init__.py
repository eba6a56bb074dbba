"""Adapters for other people's training loops."""
