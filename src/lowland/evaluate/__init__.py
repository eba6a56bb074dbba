"""Score a model: let it write, and hand what it wrote to the tasks."""

from lowland.evaluate.generate import generate
from lowland.evaluate.score import EvaluationResult, evaluate_sets, write_predictions

__all__ = ["EvaluationResult", "evaluate_sets", "generate", "write_predictions"]
