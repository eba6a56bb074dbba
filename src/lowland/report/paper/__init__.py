"""The paper's Tables 1 to 9: the printed figures, and ours in the same layout beside them."""
