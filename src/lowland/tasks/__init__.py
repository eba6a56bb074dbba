"""Tasks: rows of a data set to input and target texts, and predictions back to labels."""
