"""Boxes judged against ground truth."""

from wsloc.evaluation.bootstrap import Estimate, estimate
from wsloc.evaluation.corloc import METRICS
from wsloc.evaluation.summary import BASELINES, ClassScores, Evaluation, Scores, evaluate

__all__ = ["BASELINES", "METRICS", "ClassScores", "Estimate", "Evaluation", "Scores", "estimate", "evaluate"]
