"""The folder of one run: results written part by part, so that a killed run can go on.

    config.yaml            the settings; runs again with --config
    parts/000000.jsonl     results of the first images, and so on; joined and removed at the end
    localizations.jsonl    one box a line
    failures.jsonl         one image or (image, class) pair without a box a line
    metrics.json           the figures, where there is ground truth
    metrics_per_class.csv  likewise
    overlays/              pictures, where asked for
    manifest.json          what ran, where and how long; its ``complete: true`` is written last

Everything but the manifest has the same bytes for any number of workers and any interruption.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from wsloc.errors import UserError
from wsloc.pipeline.results import ImageResult
from wsloc.records import Failure, Localization
from wsloc.runs.atomic import write_atomic

SCHEMA_VERSION = 1
_LOCK = ".lock"


class RunFolder:
    """A run folder that this process holds; a context manager that lets go of it.

    The lock is the operating system's: it ends with the process, however that ends.
    """

    def __init__(self, path: Path) -> None:
        """Take hold of an existing folder.

        Raises:
            UserError: if another process holds it, or the disk or its permissions forbid it.
        """
        self.path = path
        self._lock = FileLock(path / _LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(f"{path} is in use by another process; wait for it or give another --out.") from error
        except OSError as error:
            raise UserError(f"{path} cannot be locked: {error.strerror}; give another --out.") from error

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def write_part(self, number: int, results: Iterable[ImageResult]) -> None:
        """Write the results of one part, all or nothing."""
        lines = (_to_line(record) for result in results for record in _records(result))
        write_atomic(self.path / "parts" / f"{number:06d}.jsonl", lines)

    def written_parts(self) -> frozenset[int]:
        """Numbers of the parts that need not be computed again."""
        return frozenset(int(path.stem) for path in (self.path / "parts").glob("*.jsonl"))

    def join(self) -> None:
        """Write localizations.jsonl and failures.jsonl from the parts."""
        write_atomic(self.path / "localizations.jsonl", self._part_lines(failures=False))
        write_atomic(self.path / "failures.jsonl", self._part_lines(failures=True))

    def _part_lines(self, *, failures: bool) -> Iterator[str]:
        for path in sorted((self.path / "parts").glob("*.jsonl")):
            with path.open(encoding="utf-8") as file:
                yield from (line for line in file if ("reason" in json.loads(line)) == failures)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest."""
        write_atomic(self.path / "manifest.json", json.dumps(manifest, indent=2) + "\n")

    def finish(self, manifest: dict[str, Any]) -> None:
        """Remove what only an unfinished run needs, then declare the run complete."""
        self.write_manifest({**manifest, "complete": True})
        shutil.rmtree(self.path / "parts", ignore_errors=True)


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a run folder; None where there is none that can be read."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def read_localizations(path: Path) -> Iterator[Localization]:
    """The boxes of a finished run, in order.

    Raises:
        UserError: if the folder has none.
    """
    for fields in _read_lines(path / "localizations.jsonl"):
        yield Localization(**{**fields, "box_xyxy": tuple(fields["box_xyxy"]), "size_wh": tuple(fields["size_wh"])})


def read_failures(path: Path) -> Iterator[Failure]:
    """The failures of a finished run, in order.

    Raises:
        UserError: if the folder has none.
    """
    for fields in _read_lines(path / "failures.jsonl"):
        yield Failure(**fields)


def open_run_folder(
    out: Path | None, default_stem: str, config_yaml: str, *, resume: bool, overwrite: bool, runs: Path = Path("runs")
) -> tuple[RunFolder, bool]:
    """A folder for a run, and whether it goes on with an unfinished one.

    Args:
        out: the folder that the user named, or None for a fresh one below ``runs``.
        default_stem: its name, before the number.
        config_yaml: the settings, which an unfinished run must share.
        resume: go on with ``out``, or with the newest unfinished run of the same settings.
        overwrite: replace ``out``.
        runs: where default folders lie.

    Raises:
        UserError: if the folder exists and may not be used, or there is nothing to resume.
    """
    if resume:
        return _resumed(out, config_yaml, runs)
    if out is None:
        return _fresh(runs, default_stem, config_yaml), False
    if out.exists():
        if not overwrite:
            raise UserError(f"{out} exists; give another --out, or --resume to go on with it, or --overwrite.")
        if not out.is_dir() or (read_manifest(out) is None and not _is_barely_begun(out)):
            raise UserError(f"{out} is not a run folder, so --overwrite leaves it alone; give another --out.")
        with RunFolder(out):
            # The manifest goes last: without it a half-emptied folder would pass for no run folder.
            for path in sorted(out.iterdir(), key=lambda path: path.name == "manifest.json"):
                if path.name != _LOCK:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The run folder {out} cannot be made: {error.strerror}.") from error
    return _begun(out, config_yaml), False


def _fresh(runs: Path, stem: str, config_yaml: str) -> RunFolder:
    taken = [int(path.name[-3:]) for path in runs.glob(f"{stem}-[0-9][0-9][0-9]")]
    number = max(taken, default=0) + 1
    while True:
        path = runs / f"{stem}-{number:03d}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise UserError(f"The run folder {path} cannot be made: {error.strerror}; give --out DIR.") from error
        else:
            return _begun(path, config_yaml)


def _begun(path: Path, config_yaml: str) -> RunFolder:
    try:
        folder = RunFolder(path)
        write_atomic(path / "config.yaml", config_yaml)
    except UserError:
        if _is_barely_begun(path):
            shutil.rmtree(path, ignore_errors=True)
        raise
    return folder


def _is_barely_begun(path: Path) -> bool:
    """Whether the folder holds nothing but what is written before the first manifest."""
    return {entry.name for entry in path.iterdir()} <= {_LOCK, "config.yaml", "config.yaml.tmp", "manifest.json.tmp"}


def _resumed(out: Path | None, config_yaml: str, runs: Path) -> tuple[RunFolder, bool]:
    if out is None:
        unfinished = [
            path.parent
            for path in runs.glob("*/manifest.json")
            if _is_unfinished(path.parent) and _config_of(path.parent) == config_yaml
        ]
        if not unfinished:
            raise UserError(f"There is no unfinished run of this configuration in {runs}; start one without --resume.")
        out = max(unfinished, key=lambda path: (path / "manifest.json").stat().st_mtime)
    manifest = read_manifest(out)
    if manifest is None:
        raise UserError(f"{out} is no run folder; start a run without --resume.")
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise UserError(f"{out} was written by another version of wsloc; --overwrite runs it again.")
    if _config_of(out) != config_yaml:
        raise UserError(
            f"{out} has another configuration: {_difference(_config_of(out), config_yaml)}; "
            f"give --config {out / 'config.yaml'} to go on with it."
        )
    if not _is_unfinished(out):
        raise UserError(f"{out} is complete, there is nothing to resume; --overwrite runs it again.")
    return RunFolder(out), True


def _is_unfinished(path: Path) -> bool:
    manifest = read_manifest(path)
    return manifest is not None and not manifest.get("complete", False)


def _config_of(path: Path) -> str:
    try:
        return (path / "config.yaml").read_text(encoding="utf-8")
    except OSError:
        return ""


def _difference(theirs: str, ours: str) -> str:
    for line_a, line_b in zip(theirs.splitlines(), ours.splitlines(), strict=False):
        if line_a != line_b:
            return f"'{line_a}' there, '{line_b}' here"
    return "one has settings that the other lacks"


def _records(result: ImageResult) -> Iterator[Localization | Failure]:
    for item in result.items:
        yield from item.localizations
        if item.failure is not None:
            yield item.failure


def _to_line(record: Localization | Failure) -> str:
    return json.dumps(dataclasses.asdict(record), ensure_ascii=False) + "\n"


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; is it a finished run folder?") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}.") from error
