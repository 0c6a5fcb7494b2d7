"""What a run was, for readers: which data, which network, how, when, and whether it was completed."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from typing import Any

from wsloc.config import LocalizeConfig
from wsloc.pipeline.localizer import method_name
from wsloc.records import Localization
from wsloc.runs.read_run import RunContents


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A line of a table of two columns; ``code`` for what is typed or read by machines."""

    name: str
    text: str
    code: bool = False


def run_rows(contents: RunContents, config: LocalizeConfig | None) -> tuple[SummaryRow, ...]:
    """What the manifest and the configuration say; a row that neither mentions is left out."""
    manifest = contents.manifest
    timing = manifest.get("timing") or {}
    rows = []
    if config is not None:
        rows.append(SummaryRow("Data", data_line(config, by_detector=contents.by_detector)))
    if _is_trained(contents):
        rows += [SummaryRow("Detector", detector_name(contents)), SummaryRow("Boxes", origin_line(contents))]
    elif config is not None:
        rows += [
            SummaryRow("Network", network_line(config)),
            SummaryRow("Saliency", method_name(config.saliency) + _views(config)),
            SummaryRow("Refiner", config.refinement.refiner or ""),
            SummaryRow("Segmenter", config.segmentation.segmenter),
        ]
    rows += [
        SummaryRow("Images", f"{manifest['images']:,}" if isinstance(manifest.get("images"), int) else ""),
        SummaryRow("Device", str(manifest.get("device", ""))),
        SummaryRow("Duration", _duration_line(timing)),
        SummaryRow("Maps and learning", _learning_line(manifest)),
        SummaryRow("Commit", str(manifest.get("commit") or ""), code=True),
        SummaryRow("Command", shlex.join(map(str, manifest.get("command") or ())), code=True),
    ]
    return tuple(row for row in rows if row.text)


def subtitle(contents: RunContents, config: LocalizeConfig | None) -> str:
    """Data, network and method in a line, as far as they are known."""
    words = [] if config is None else [str(config.data.dataset or config.data.images or "")]
    if contents.by_detector:
        words += ["detector", detector_name(contents)]
    elif _is_trained(contents):
        words += [f"self-training, round {contents.manifest.get('round', '?')}", detector_name(contents)]
    elif config is not None:
        words += [config.classifier.arch, config.saliency.method, config.segmentation.segmenter]
    return " · ".join(word for word in words if word)


def _is_trained(contents: RunContents) -> bool:
    """Whether the boxes come from a detector, or from a round of its self-training: the settings name no method."""
    return contents.manifest.get("kind") is not None


def detector_name(contents: RunContents) -> str:
    """The architecture of the detector that made boxes of a run; empty if none of them is a detector's."""
    records = contents.localizations
    if records and not any(record.method.startswith("detector") for record in records):
        return ""
    return str((contents.manifest.get("detector") or {}).get("arch", ""))


def origin_line(contents: RunContents) -> str:
    """How many boxes come from which method and segmenter, the most frequent first."""
    counts = Counter(
        f"{record.method} and {record.segmenter}" if isinstance(record, Localization) else record.method
        for record in contents.localizations
    )
    return ", ".join(f"{count:,} by {made_by}" for made_by, count in counts.most_common())


def version_rows(contents: RunContents) -> tuple[SummaryRow, ...]:
    """The versions of Python and the packages that made the run."""
    versions = contents.manifest.get("versions")
    if not isinstance(versions, dict):
        return ()
    return tuple(SummaryRow(str(name), str(version), code=True) for name, version in versions.items())


def data_line(config: LocalizeConfig, *, by_detector: bool = False) -> str:
    """Which images, and which classes in them; a detector always looks for all that it knows."""
    data = config.data
    words = [f"images {data.images}" if data.images else str(data.dataset)]
    words += [data.year] if data.dataset == "voc" else []
    words += [data.split] if data.split else []
    asked = [f"class {data.class_name}"] if data.class_name else []
    asked += [f"{len(data.classes)} classes"] if data.classes else []
    if data.targets != "labels" and not by_detector:
        asked.append(f"the classifier's {data.targets.replace('top', 'top ')}")
    asked += [f"ids of {data.ids.name}"] if data.ids else []
    asked += [f"the first {data.limit:,} images"] if data.limit else []
    return " ".join(words) + (f", {', '.join(asked)}" if asked else "")


def network_line(config: LocalizeConfig) -> str:
    """The network and its weights file."""
    classifier = config.classifier
    weights = f", weights {classifier.weights.name}" if classifier.weights else ""
    unit = f", {classifier.unit_name}" if classifier.layer else ""
    return f"{classifier.arch}{weights}{unit}"


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, the two that matter."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _views(config: LocalizeConfig) -> str:
    views = config.saliency.views
    return "" if views == "whole" else f", views {views}"


def _learning_line(manifest: dict[str, Any]) -> str:
    seconds = manifest.get("learning_seconds")
    return f"{duration(seconds)} before that" if isinstance(seconds, int | float) else ""


def _duration_line(timing: dict[str, Any]) -> str:
    seconds, images = timing.get("wall_seconds"), timing.get("images")
    if not isinstance(seconds, int | float) or not isinstance(images, int) or not images:
        return ""
    return f"{duration(seconds)} for {images:,} images, {seconds / images:.2g} s each"
