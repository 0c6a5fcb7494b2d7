"""A report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from wsloc.errors import counted
from wsloc.evaluation.agreement import agreement_tables
from wsloc.evaluation.comparison_table import comparison_tables
from wsloc.evaluation.table import Table, evaluation_tables, format_percent
from wsloc.reporting.agreement_report import AgreementReport
from wsloc.reporting.comparison_report import ComparisonReport, RunHead
from wsloc.reporting.quality_figures import MIN_SCORES, ClassQuality
from wsloc.reporting.report_model import RunReport, precision_note
from wsloc.reporting.summary_rows import SummaryRow

_MAX_FILES = 20


def run_text(report: RunReport) -> str:
    """The figures of one run; what the page has in pictures is left out."""
    return _joined(_run_lines(report))


def comparison_text(report: ComparisonReport) -> str:
    """The figures of several runs; differences are to the first."""
    return _joined(_comparison_lines(report))


def agreement_text(report: AgreementReport) -> str:
    """The figures of several runs without true boxes."""
    return _joined(_agreement_lines(report))


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
        metrics, classes = evaluation_tables(report.evaluation)
        yield from _table(metrics)
        if report.average_precision:
            named = [(name, format_percent(value)) for name, value in report.average_precision.items()]
            yield from _table(Table("Average precision", precision_note(report), ("", "average precision"), named))
        yield from _table(classes)
    if report.qualities:
        yield from _table(_quality_table(report.qualities))
    if report.kinds:
        yield "## Outcome of the items\n"
        yield from _items(f"{kind.name}: {kind.count} ({format_percent(kind.fraction)} %)" for kind in report.kinds)
    if report.failures:
        groups = [(str(len(group.files)), group.stage, group.reason, _few(group.files)) for group in report.failures]
        yield from _table(Table("Failures", "", ("items", "stage", "reason", "files"), groups))
    yield from _section("Notes", report.notes)
    yield from _section(
        "Classes without a true substitute among the network's outputs",
        [f"{weak.name}: {weak.text}" for weak in report.weak_classes],
    )
    yield from _section("Problems in the annotations", report.problems)
    yield from _table(_summary_table("The run", (*report.summary_rows, *report.versions)))


def _comparison_lines(report: ComparisonReport) -> Iterator[str]:
    comparison, names = report.comparison, report.comparison.names
    yield f"# {plain(' and '.join(names)) if len(names) < 3 else f'{len(names)} runs'}\n"
    yield f"{counted(len(comparison.items), 'item')} in {counted(comparison.images, 'image')}.\n"
    yield from _items(plain(note) for note in comparison.notes)
    for index, name in enumerate(names[1:], start=1):
        if len(names) > 2:
            yield f"# {plain(name)} - {plain(names[0])}\n"
        for table in comparison_tables(comparison, index):
            yield from _table(table)
    found = [(name, *map(format_percent, values)) for name, values in report.average_precision.items()]
    yield from _table(Table("Average precision", "Percent; boxes sorted by quality.", ("", *names), found))
    yield from _head_lines(report.runs)


def _agreement_lines(report: AgreementReport) -> Iterator[str]:
    agreement = report.agreement
    yield f"# {plain(' and '.join(agreement.names)) if len(agreement.names) < 3 else f'{len(agreement.names)} runs'}\n"
    items, images = counted(len(agreement.items), "item"), counted(agreement.images, "image")
    yield f"{items} in {images}; there are no true boxes, so only agreement is known.\n"
    yield from _items(plain(note) for note in agreement.notes)
    for table in agreement_tables(agreement, _MAX_FILES):
        yield from _table(table)
    yield from _head_lines(report.runs)


def _head_lines(runs: Sequence[RunHead]) -> Iterator[str]:
    for run in runs:
        yield f"## {plain(run.name)}\n"
        yield from _items(plain(note) for note in run.notes)
        yield from _table(_summary_table("", run.summary_rows))


def _quality_table(classes: Sequence[ClassQuality]) -> Table:
    head = ("class", "boxes", "median quality", *(f"at least {least}" for least in MIN_SCORES), "fallbacks", "failures")
    rows = [
        (
            own.class_name,
            str(own.boxes),
            "" if own.median is None else f"{own.median:.2f}",
            *map(str, (*own.kept, own.fallbacks, own.failures)),
        )
        for own in classes
    ]
    return Table("Classes", "How many boxes a minimum score keeps.", head, rows)


def _summary_table(title: str, rows: Sequence[SummaryRow]) -> Table:
    return Table(title, "", ("", ""), [(row.name, row.text) for row in rows])


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


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield f"## {plain(table.title)}\n"
    if table.note:
        yield f"{plain(table.note)}\n"
    if table.rows:
        lines = [table.head, ["---"] * len(table.head), *table.rows]
        lines = [[cell if cell == "---" else plain(cell) for cell in line] for line in lines]
        yield "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _few(files: Sequence[str]) -> str:
    more = f", and {len(files) - _MAX_FILES} more" if len(files) > _MAX_FILES else ""
    return ", ".join(files[:_MAX_FILES]) + more


def _joined(blocks: Iterable[str]) -> str:
    return "\n".join(blocks).encode(errors="backslashreplace").decode()
