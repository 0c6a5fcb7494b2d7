"""A report as Markdown, for who wants text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from wsloc.errors import counted
from wsloc.evaluation.summary import BASELINES
from wsloc.report.figures import interval, points
from wsloc.report.report_model import RunReport, precision_note
from wsloc.report.runs_comparison import SeveralReport

_MAX_FILES = 20
_INTERVALS = "Percent, with 95 % bootstrap intervals over images."


def run_text(report: RunReport) -> str:
    """The figures of one run; what the page has in pictures is left out."""
    return _joined(_run_lines(report))


def several_text(report: SeveralReport) -> str:
    """The figures of several runs; differences are to the first."""
    return _joined(_several_lines(report))


def _run_lines(report: RunReport) -> Iterator[str]:
    yield f"# {plain(report.name)}\n"
    yield from (f"**{plain(banner)}**\n" for banner in report.banners)
    yield from _items(plain(sentence) for sentence in report.glance)
    counts = report.counts
    yield (
        f"{counted(counts['images'], 'image')}, {counted(counts['items'], 'item')}: {counted(counts['boxes'], 'box')}, "
        f"{counted(counts['fallbacks'], 'fallback')} among them, {counted(counts['failures'], 'failure')}.\n"
    )
    if report.evaluation is not None:
        yield "## Metrics\n"
        yield f"{_judged(report.evaluation.items, report.evaluation.images)} {_INTERVALS}\n"
        rows = report.evaluation.rows
        yield from _table(
            ["", *(row.name for row in rows)],
            ([name, *(interval(row.metrics[name]) for row in rows)] for name in rows[0].metrics),
        )
        if report.average_precision:
            yield "## Average precision\n"
            yield f"{precision_note(report)}\n"
            named = ([name, _percent(value)] for name, value in report.average_precision.items())
            yield from _table(["", "average precision"], named)
        yield "## Classes\n"
        yield from _table(
            ["class", "items", "CorLoc", "mean IoU", *BASELINES],
            (
                [
                    scores.class_name,
                    str(scores.items),
                    *(_percent(value) for value in (scores.corloc, scores.mean_iou, *scores.baselines.values())),
                ]
                for scores in report.evaluation.classes
            ),
        )
    if report.kinds:
        yield "## What became of the items\n"
        yield from _items(f"{kind.name}: {kind.count} ({_percent(kind.fraction)} %)" for kind in report.kinds)
    if report.failures:
        yield "## Failures\n"
        yield from _table(
            ["items", "stage", "reason", "files"],
            ([str(len(group.files)), group.stage, group.reason, _few(group.files)] for group in report.failures),
        )
    yield from _section("Notes", report.notes)
    yield from _section(
        "Classes without a true substitute among the network's outputs",
        [f"{weak.name}: {weak.text}" for weak in report.weak_classes],
    )
    yield from _section("Problems in the annotations", report.problems)
    yield "## The run\n"
    yield from _table(["", ""], ([fact.name, fact.text] for fact in (*report.facts, *report.versions)))


def _several_lines(report: SeveralReport) -> Iterator[str]:
    comparison, names = report.comparison, report.comparison.names
    yield f"# {plain(' and '.join(names)) if len(names) < 3 else f'{len(names)} runs'}\n"
    yield from _items(plain(note) for note in comparison.notes)
    judged = _judged(len(comparison.items), comparison.images)
    yield f"{judged} {_INTERVALS} Differences are paired, in points.\n"
    heads = [*names, *(f"{name} - {names[0]}" for name in names[1:])]
    for title, rows in (
        ("Metrics", comparison.metrics),
        ("CorLoc by class", [row.corloc for row in comparison.classes]),
        ("Found by object size", comparison.sizes),
        ("Found by number of objects", comparison.counts),
    ):
        yield f"## {title}\n"
        yield from _table(
            ["", "items", *heads],
            ([row.name, str(row.items), *map(interval, row.values), *map(points, row.differences)] for row in rows),
        )
    yield "## Average precision\n"
    yield "Percent; boxes sorted by quality.\n"
    yield from _table(["", *names], ([name, *map(_percent, found)] for name, found in report.average_precision.items()))
    for run in report.runs:
        yield f"## {plain(run.name)}\n"
        yield from _items(plain(note) for note in run.notes)
        yield from _table(["", ""], ([fact.name, fact.text] for fact in run.facts))


def _judged(items: int, images: int) -> str:
    return f"{counted(items, 'item')} in {counted(images, 'image')}."


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(text.split()))


def _section(title: str, sentences: Sequence[str]) -> Iterator[str]:
    if sentences:
        yield f"## {title}\n"
        yield from _items(plain(sentence) for sentence in sentences)


def _items(sentences: Iterable[str]) -> Iterator[str]:
    """A list, and the empty line after it."""
    lines = [f"- {sentence}" for sentence in sentences]
    if lines:
        yield "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    cells = ([plain(cell) for cell in row] for row in rows)
    lines = [[plain(cell) for cell in head], ["---"] * len(head), *cells]
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _few(files: Sequence[str]) -> str:
    more = f", and {len(files) - _MAX_FILES} more" if len(files) > _MAX_FILES else ""
    return ", ".join(files[:_MAX_FILES]) + more


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _joined(blocks: Iterable[str]) -> str:
    return "\n".join(blocks).encode(errors="backslashreplace").decode()
