"""Boxes judged against ground truth."""

from wsloc.evaluation.summary import BASELINES, ClassScores, Evaluation, Scores, evaluate

__all__ = ["BASELINES", "ClassScores", "Evaluation", "Scores", "evaluate"]
