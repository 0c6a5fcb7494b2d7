"""The metrics of a run as text."""

from __future__ import annotations

from wsloc.errors import counted
from wsloc.evaluation.bootstrap import Estimate
from wsloc.evaluation.summary import BASELINES, Evaluation


def format_evaluation(evaluation: Evaluation) -> str:
    """Two tables in plain text: run and baselines, then class by class; in percent."""
    names = [name for row in evaluation.rows[:1] for name in row.metrics]
    lines = [
        f"{counted(evaluation.items, 'item')} in {counted(evaluation.images, 'image')}; percent, with 95 % bootstrap "
        "intervals over images",
        "",
        f"{'':<20}" + "".join(f"{row.name:>22}" for row in evaluation.rows),
    ]
    lines += [
        f"{name:<20}" + "".join(f"{format_interval(row.metrics[name]):>22}" for row in evaluation.rows)
        for name in names
    ]
    width = max(17, *(len(scores.class_name) + 2 for scores in evaluation.classes))
    baselines = "".join(f"{name:>12}" for name in BASELINES)
    lines += ["", f"{'class':<{width}}{'items':>7}{'CorLoc':>9}{'mean IoU':>10}{baselines}"]
    for scores in evaluation.classes:
        of_baselines = "".join(f"{100 * scores.baselines[name]:>12.1f}" for name in BASELINES)
        lines.append(
            f"{scores.class_name:<{width}}{scores.items:>7}{100 * scores.corloc:>9.1f}"
            f"{100 * scores.mean_iou:>10.1f}{of_baselines}"
        )
    count = len(evaluation.classes)
    means = (
        sum(scores.corloc for scores in evaluation.classes) / count,
        sum(scores.mean_iou for scores in evaluation.classes) / count,
        *(sum(scores.baselines[name] for scores in evaluation.classes) / count for name in BASELINES),
    )
    lines.append(
        f"{'mean of classes':<{width}}{evaluation.items:>7}{100 * means[0]:>9.1f}{100 * means[1]:>10.1f}"
        + "".join(f"{100 * value:>12.1f}" for value in means[2:])
    )
    return "\n".join(lines)


def format_interval(estimate: Estimate) -> str:
    """A metric in percent with its interval: ``41.2 [38.0, 44.1]``."""
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
