"""Comparisons: arms and seeds, grids of them, and runs side by side."""
