"""A run read back from its folder, finished or not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsloc.errors import UserError
from wsloc.files.documents import parse_json
from wsloc.records import SCORES, BoxRecord, Failure, Pair, with_scores
from wsloc.runs import checks
from wsloc.runs.checks import check, checked_fields, or_none
from wsloc.runs.record_lines import SCHEMA_VERSION, from_fields, upgraded
from wsloc.runs.run_folder import read_manifest

_MANIFEST = {
    **dict.fromkeys(("kind", "network", "device", "commit", "dataset_fingerprint"), or_none(checks.text)),
    "complete": or_none(check(lambda value: isinstance(value, bool), "is neither true nor false")),
    "images": or_none(checks.index),
    "ranked_classes": or_none(checks.index),
    "learning_seconds": or_none(checks.seconds),
    "command": or_none(checks.texts),
    "without_substitute": or_none(checks.text_pairs),
    "timing": or_none(checks.object_of({"images": or_none(checks.index), "wall_seconds": or_none(checks.seconds)})),
    "detector": or_none(checks.object_of({"arch": or_none(checks.text)})),
    "versions": or_none(checks.text_by_name),
}
"""What a manifest may hold, where it has it; each kind of run has some."""


@dataclass(frozen=True, slots=True)
class RunContents:
    """What a run folder holds.

    Attributes:
        path: the folder.
        manifest: as written.
        localizations: the boxes, in the order of the images; no item twice.
        failures: what has no box, likewise.
        complete: False for a run that was killed or is still running: only the images of its finished parts are there.
        notes: one sentence for each kind of record that was fixed or left out.
    """

    path: Path
    manifest: dict[str, Any]
    localizations: tuple[BoxRecord, ...]
    failures: tuple[Failure, ...]
    complete: bool
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """What tables call the run."""
        return self.path.resolve().name

    @property
    def by_detector(self) -> bool:
        """Whether the boxes are all that a detector found, on images whose labels it was not given."""
        return self.manifest.get("kind") == "detector"

    def image_ids(self) -> frozenset[str]:
        """The images that the run has a record of."""
        found = {record.image_id for record in self.localizations}
        return frozenset(found.union(record.image_id for record in self.failures))


def read_run(path: Path) -> RunContents:
    """Read a run folder, also an unfinished one.

    A record that occurs twice counts once; a score outside 0 to 1 counts as the nearest, one that is no number as 0;
    and a box that holds such a number is left out.

    Raises:
        UserError: if the folder is not a run that this version reads, or a file of it is damaged.
    """
    manifest = read_run_manifest(path)
    found: dict[tuple[str, str, int], BoxRecord] = {}
    failed: dict[Pair, Failure] = {}
    twice = no_box = no_score = 0
    for record in open_records(path):
        if isinstance(record, Failure):
            failed.setdefault((record.image_id, record.class_name), record)
            continue
        if not all(map(math.isfinite, record.box_xyxy)):
            no_box += 1
            continue
        no_score += not all(0 <= record.score_by(name) <= 1 for name in SCORES)
        key = (record.image_id, record.class_name, record.index)
        twice += key in found
        found.setdefault(key, with_scores(record, sound_score))
    counted = (
        (twice, "boxes occur twice; the first of each counts"),
        (no_box, "boxes hold numbers that are not finite, and count as not found"),
        (no_score, "boxes have a score that is not a number from 0 to 1; the nearest counts, or 0 if there is none"),
    )
    notes = tuple(f"{count} {what}." for count, what in counted if count)
    complete = bool(manifest.get("complete", False))
    return RunContents(path, manifest, tuple(found.values()), tuple(failed.values()), complete, notes)


def sound_score(score: float) -> float:
    """The score of a record, cut off at 0 and 1; 0 if it is not a number."""
    return min(max(score, 0.0), 1.0) if math.isfinite(score) else 0.0


def read_run_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        UserError: if the folder is not a run that this version reads.
    """
    manifest = read_manifest(path)
    if manifest is None:
        raise UserError(f"{path} is not a run folder: it has no manifest.json; give one that wsloc localize wrote.")
    if (version := manifest.get("schema_version")) not in (1, SCHEMA_VERSION):
        raise UserError(
            f"{path} was written by another version of wsloc (schema {version}, this one reads 1 and "
            f"{SCHEMA_VERSION}); run it again, or read it with that version."
        )
    try:
        checked_fields(manifest, _MANIFEST)
    except ValueError as error:
        raise UserError(f"{path / 'manifest.json'} is damaged: {error}; run it again.") from error
    return manifest


@dataclass(frozen=True, slots=True)
class RunRecords:
    """The records of a run as they were written: nothing is fixed, and few are in memory at a time.

    Iterating twice gives the same records twice, even where the run is still being written. A finished run has its
    boxes first, then its failures, each in the order of the images; the parts of an unfinished one have both, image by
    image.

    Attributes:
        files: that hold them, in order.
        manifest: of the run.
    """

    files: tuple[Path, ...]
    manifest: Mapping[str, Any]

    def __iter__(self) -> Iterator[BoxRecord | Failure]:
        """Read the files.

        Raises:
            UserError: if a file cannot be read, or has a line that is not a record.
        """
        for file in self.files:
            try:
                with file.open(encoding="utf-8") as lines:
                    for number, line in enumerate(lines, start=1):
                        yield self._record(file, number, line)
            except OSError as error:
                raise UserError(f"{file} cannot be read: {error.strerror}; is it a run folder?") from error
            except UnicodeDecodeError as error:
                raise UserError(f"{file} is damaged: {error}; run it again.") from error

    def _record(self, file: Path, number: int, line: str) -> BoxRecord | Failure:
        try:
            fields = parse_json(line)
            if self.manifest.get("schema_version") == 1:
                fields = upgraded(fields, by_detector=self.manifest.get("kind") is not None)
            return from_fields(fields)
        except ValueError as error:
            raise UserError(f"{file} is damaged: line {number} is not a record ({error}); run it again.") from error


def open_records(path: Path) -> RunRecords:
    """The records that a run folder holds by now."""
    manifest = read_manifest(path) or {}
    parts = sorted((path / "parts").glob("[0-9]*.jsonl"))
    joined = [path / "localizations.jsonl", path / "failures.jsonl"]
    if manifest.get("complete"):
        # A process that was killed while it removed the parts leaves some of them.
        return RunRecords(tuple(joined), manifest)
    return RunRecords(tuple(parts or [file for file in joined if file.is_file()]), manifest)
