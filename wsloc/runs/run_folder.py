"""The folder of one run: results written part by part, so that a killed run can be resumed.

    config.yaml              the settings; read back by ``config``
    parts/000000.jsonl       results of the first images, and so on; joined and removed at the end, but not by a shard
    localizations.jsonl      one box per line
    failures.jsonl           one image or (image, class) pair without a box per line
    metrics.json             the metrics, if there is ground truth
    metrics_per_class.csv    the metrics of each class, likewise
    items.csv                one row per judged item, likewise
    annotation_problems.txt  what was left out of the ground truth or fixed, if anything was
    pictures/NNNNNN.npz      map, seeds and mask of at most 200 items, for the report
    maps/NNNNNN.npz          saliency maps, if asked for
    refiner.safetensors      what the refiner learned, if there is one
    overlays/                one JPEG per item of the first images, if asked for
    report.html, report.md   if asked for, or written later
    exports/FORMAT/          likewise
    log.txt                  notes and warnings with their times, of a run that the command line started
    manifest.json            what ran, where and how long; its ``complete: true`` is written last

Everything but manifest and log has the same bytes for any number of workers and any interruption.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsloc.errors import UserError, counted
from wsloc.files.atomic import write_atomic
from wsloc.files.documents import parse_json
from wsloc.files.held_folder import HeldFolder
from wsloc.records import BoxRecord, Failure
from wsloc.runs.record_lines import SCHEMA_VERSION, is_failure, to_line

if TYPE_CHECKING:
    # Reading a run back must not load torch.
    from wsloc.pipeline.results import ImageResult

__all__ = ["PARTS", "SCHEMA_VERSION", "RunFolder", "read_config_text", "read_manifest"]

PARTS = "parts"
"""Folder of a run for the records of each part, until they are joined."""
STATE = "state.pt"
"""File of a training that has not ended."""
_log = logging.getLogger(__name__)


class RunFolder:
    """A run folder that this process holds; a context manager that releases it.

    The lock is the operating system's: it ends with the process, however that ends. Whatever is written below the
    folder while it is held raises a ``UserError`` if it was removed, moved or replaced meanwhile. A
    ``KeyboardInterrupt`` that leaves the ``with`` block gets a note of what the folder holds and how to continue it.
    """

    def __init__(self, path: Path) -> None:
        """Lock an existing folder.

        Raises:
            UserError: if another process holds it, or the disk or its permissions forbid it.
        """
        self.path = path
        self._complete = False
        try:
            self._held = HeldFolder(path)
        except BlockingIOError as error:
            raise UserError(f"{path} is in use by another process; wait for it or give another `out`.") from error
        except OSError as error:
            raise UserError(f"{path} cannot be locked: {error.strerror}; give another `out`.") from error

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._held.release()
        if isinstance(error, KeyboardInterrupt):
            goes_on = f"holds {self._held.contents}, and the same command with `resume=True` continues it"
            error.add_note(f"{self.path} {'is complete' if self._complete else goes_on}")

    def write_part(self, index: int, results: Iterable[ImageResult]) -> None:
        """Write the results of one part, all or nothing."""
        done = list(results)
        lines = (to_line(record) for result in done for record in records_of(result))
        write_atomic(self.path / PARTS / f"{index:06d}.jsonl", lines)
        failures = sum(item.failure is not None for result in done for item in result.items)
        _log.debug("part %d: %s, %s", index, counted(len(done), "image"), counted(failures, "failure"))

    def say_contents(self, contents: str) -> None:
        """What the folder holds by now, in a few words: what would be lost with it."""
        self._held.contents = contents

    def written_parts(self) -> frozenset[int]:
        """Indices of the parts that need not be computed again."""
        return frozenset(int(path.stem) for path in (self.path / PARTS).glob("[0-9]*.jsonl"))

    def join(self) -> None:
        """Write localizations.jsonl and failures.jsonl from the parts."""
        write_atomic(self.path / "localizations.jsonl", self._part_lines(failures=False))
        write_atomic(self.path / "failures.jsonl", self._part_lines(failures=True))

    def _part_lines(self, *, failures: bool) -> Iterator[str]:
        for path in sorted((self.path / PARTS).glob("[0-9]*.jsonl")):
            with path.open(encoding="utf-8") as file:
                yield from (line for line in file if is_failure(line) == failures)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest."""
        write_atomic(self.path / "manifest.json", json.dumps(manifest, indent=2) + "\n")

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Declare the run complete, then remove what only an unfinished one needs."""
        self.write_manifest({**manifest, "complete": True})
        self._complete = True
        self.discard_unfinished()

    def discard_unfinished(self) -> None:
        """Remove what only an unfinished run needs: its parts, and the states of trainings here and below."""
        shutil.rmtree(self.path / PARTS, ignore_errors=True)
        for path in self.path.rglob(STATE):
            path.unlink(missing_ok=True)


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a run folder; None if there is none that can be read."""
    try:
        manifest = parse_json((path / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def read_config_text(path: Path) -> str:
    """The settings of a run as its folder holds them; empty where they cannot be read."""
    try:
        return (path / "config.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def records_of(result: ImageResult) -> Iterator[BoxRecord | Failure]:
    """What is written of an image: its boxes, and what has none."""
    for item in result.items:
        yield from item.localizations
        if item.failure is not None:
            yield item.failure
