"""A run read back from its folder, finished or not."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wsloc.errors import UserError
from wsloc.records import Failure, Localization
from wsloc.runs.run_folder import SCHEMA_VERSION, read_manifest


@dataclass(frozen=True, slots=True)
class RunContents:
    """What a run folder holds.

    Attributes:
        path: the folder.
        manifest: as written.
        localizations: the boxes, in the order of the images; no item twice.
        failures: what has no box, likewise.
        complete: False for a run that was killed or still goes on: only the images of its finished parts are there.
        notes: one sentence for each kind of record that was mended or left out.
    """

    path: Path
    manifest: dict[str, Any]
    localizations: tuple[Localization, ...]
    failures: tuple[Failure, ...]
    complete: bool
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """What tables call the run."""
        return self.path.resolve().name

    def image_ids(self) -> frozenset[str]:
        """The images that the run has a record of."""
        found = {record.image_id for record in self.localizations}
        return frozenset(found.union(record.image_id for record in self.failures))


def read_run(path: Path) -> RunContents:
    """Read a run folder, also an unfinished one.

    A record that stands twice counts once; a score that is no number counts as 0, and a box that holds one is left out.

    Raises:
        UserError: if the folder is no run of this version, or a file of it is damaged.
    """
    manifest = read_run_manifest(path)
    found: dict[tuple[str, str, int], Localization] = {}
    failed: dict[tuple[str, str], Failure] = {}
    twice = no_box = no_score = 0
    for record in iter_records(path):
        if isinstance(record, Failure):
            failed.setdefault((record.image_id, record.class_name), record)
            continue
        if not all(map(math.isfinite, record.box_xyxy)):
            no_box += 1
            continue
        sound = replace(record, probability=finite_score(record.probability), quality=finite_score(record.quality))
        no_score += not (math.isfinite(record.probability) and math.isfinite(record.quality))
        key = (record.image_id, record.class_name, record.component)
        twice += key in found
        found.setdefault(key, sound)
    counted = (
        (twice, "boxes stand twice; the first of each counts"),
        (no_box, "boxes hold numbers that are not finite, and count as not found"),
        (no_score, "boxes have a score that is no number, which counts as 0"),
    )
    notes = tuple(f"{count} {what}." for count, what in counted if count)
    complete = bool(manifest.get("complete", False))
    return RunContents(path, manifest, tuple(found.values()), tuple(failed.values()), complete, notes)


def finite_score(score: float) -> float:
    """The score of a record; what is no number counts as 0."""
    return score if math.isfinite(score) else 0.0


def read_run_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        UserError: if the folder is no run of this version.
    """
    manifest = read_manifest(path)
    if manifest is None:
        raise UserError(f"{path} is no run folder: it has no manifest.json; give the folder that wsloc localize wrote.")
    if (version := manifest.get("schema_version")) != SCHEMA_VERSION:
        raise UserError(
            f"{path} was written by another version of wsloc (schema {version}, this one reads {SCHEMA_VERSION}); "
            "run it again, or read it with that version."
        )
    return manifest


def iter_records(path: Path) -> Iterator[Localization | Failure]:
    """The records of a run folder one by one, as they were written: nothing is mended, and few are in memory.

    A finished run has its boxes first, then its failures, each in the order of the images; the parts of an unfinished
    one have both, image by image.

    Raises:
        UserError: if a file cannot be read, or holds a line that is no record.
    """
    yield from iter_file_records(record_files(path))


def iter_file_records(files: Iterable[Path]) -> Iterator[Localization | Failure]:
    """The same from the files that :func:`record_files` named: whoever reads a run twice gets the same records twice.

    Raises:
        UserError: if a file cannot be read, or holds a line that is no record.
    """
    for file in files:
        for fields in read_lines(file):
            try:
                yield Failure(**fields) if "reason" in fields else localization(fields)
            except (TypeError, KeyError, ValueError) as error:
                raise UserError(f"{file} holds a line that is no record of a run ({error}); run it again.") from error


def record_files(path: Path) -> list[Path]:
    """The files that hold the records of a run folder by now; those of an unfinished run become more."""
    parts = sorted((path / "parts").glob("*.jsonl"))
    joined = [path / "localizations.jsonl", path / "failures.jsonl"]
    if (read_manifest(path) or {}).get("complete"):
        # A process that was killed while it removed the parts leaves some of them.
        return joined
    return parts or [file for file in joined if file.is_file()]


def localization(fields: dict[str, Any]) -> Localization:
    """A box from the fields of its line; a score that is null is NaN."""
    x0, y0, x1, y1 = (float(value) for value in fields["box_xyxy"])
    width, height = fields["size_wh"]
    scores = {name: math.nan if fields[name] is None else float(fields[name]) for name in ("probability", "quality")}
    return Localization(**{**fields, **scores, "box_xyxy": (x0, y0, x1, y1), "size_wh": (width, height)})


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; is it a run folder?") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}.") from error
