"""Boxes judged against ground truth."""

from wsloc.evaluation.evaluate import BASELINES, ClassScores, Evaluation, Scores, evaluate

__all__ = ["BASELINES", "ClassScores", "Evaluation", "Scores", "evaluate"]
