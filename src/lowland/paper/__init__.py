"""The paper's experiments: recipes that repeat them."""
