"""Parameters: which, where they live, norms over all of them, and what a pass leaves as it found it."""
