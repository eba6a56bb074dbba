"""The paper's Tables 1 to 9: their numbers, and ours in the same layout beside them."""
