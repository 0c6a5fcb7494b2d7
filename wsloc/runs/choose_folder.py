"""Which folder a run gets: a fresh one, the one that was named, or that of an unfinished run."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path

from wsloc.config import FolderSettings
from wsloc.errors import UserError
from wsloc.files.atomic import write_atomic
from wsloc.files.held_folder import LOCK
from wsloc.runs.run_folder import SCHEMA_VERSION, RunFolder, read_config_text, read_manifest
from wsloc.runs.run_identity import first_difference

_RUNS = Path("runs")
"""The parent of folders that the user has not named."""


def open_run_folder(
    settings: FolderSettings,
    default_stem: str,
    config_yaml: str,
    identity: Mapping[str, object],
    *,
    takes_config: bool = False,
) -> RunFolder:
    """The folder of a run, held by this process.

    Args:
        settings: the folder that the user named, if any, and what may become of an existing one.
        default_stem: name of a fresh folder in ``runs``, before the number.
        config_yaml: the settings, which an unfinished run must share.
        identity: what changes a result besides the settings (data, weights, device), as the run's manifest holds it; an
            unfinished run must share it.
        takes_config: whether such settings can be read back by ``config``.

    Raises:
        UserError: if the folder exists and may not be used, or there is nothing to resume.
    """
    out = settings.out
    if settings.dry_run:
        raise UserError("`dry_run` is for the command line; in Python, set `limit` and give a temporary `out`.")
    if settings.resume:
        return _resumed(out, config_yaml, identity, takes_config)
    if out is None:
        return _begun(fresh_folder(_RUNS, default_stem), config_yaml)
    if not out.exists():
        try:
            out.mkdir(parents=True)
        except OSError as error:
            raise UserError(f"The run folder {out} cannot be made: {error.strerror}.") from error
        return _begun(out, config_yaml)
    if not settings.overwrite:
        raise UserError(f"{out} exists; give another `out`, or `resume=True` to continue it, or `overwrite=True`.")
    if not out.is_dir() or (read_manifest(out) is None and not _is_barely_begun(out)):
        raise UserError(f"{out} is not a run folder, so `overwrite=True` leaves it alone; give another `out`.")
    return _emptied(out, config_yaml)


def fresh_folder(runs: Path, stem: str) -> Path:
    """Make the folder ``STEM-NNN`` below ``runs``, with the number after the largest one that is taken.

    Raises:
        UserError: if it cannot be made.
    """
    taken = [int(path.name[-3:]) for path in runs.glob(f"{stem}-[0-9][0-9][0-9]")]
    number = max(taken, default=0) + 1
    while True:
        path = runs / f"{stem}-{number:03d}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise UserError(f"The run folder {path} cannot be made: {error.strerror}; give `out`.") from error
        else:
            return path


def _begun(path: Path, config_yaml: str) -> RunFolder:
    """Hold a folder that this process has just made; it is removed if nothing can be written to it."""
    folder = RunFolder(path)
    try:
        write_atomic(path / "config.yaml", config_yaml)
    except UserError:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return folder


def _emptied(path: Path, config_yaml: str) -> RunFolder:
    folder = RunFolder(path)
    # The manifest goes last: without it a half-emptied folder would not count as a run folder.
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name == "manifest.json"):
        if entry.name != LOCK:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    write_atomic(path / "config.yaml", config_yaml)
    return folder


def _is_barely_begun(path: Path) -> bool:
    """Whether the folder holds nothing but what is written before the first manifest."""
    return {entry.name for entry in path.iterdir()} <= {LOCK, "config.yaml", "config.yaml.tmp", "manifest.json.tmp"}


def _resumed(out: Path | None, config_yaml: str, identity: Mapping[str, object], takes_config: bool) -> RunFolder:
    if out is None:
        unfinished = [
            path.parent
            for path in _RUNS.glob("*/manifest.json")
            if _is_unfinished(path.parent) and read_config_text(path.parent) == config_yaml
        ]
        if not unfinished:
            raise UserError(
                f"There is no unfinished run of this configuration in {_RUNS}; start one without `resume=True`."
            )
        out = max(unfinished, key=lambda path: (path / "manifest.json").stat().st_mtime)
    manifest = read_manifest(out)
    if manifest is None:
        raise UserError(f"{out} is not a run folder; start a run without `resume=True`.")
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{out} is of another version of wsloc, and only that can resume it; `overwrite=True` runs it again."
        )
    if read_config_text(out) != config_yaml:
        remedy = "give the same settings as before, or another `out` without `resume=True`."
        if takes_config:
            remedy = f"give `config={str(out / 'config.yaml')!r}` to resume it."
        raise UserError(f"{out} has another configuration: {difference(read_config_text(out), config_yaml)}; {remedy}")
    if manifest.get("complete"):
        with RunFolder(out) as folder:
            # A process that was killed right after it had declared the run complete leaves some of it.
            folder.discard_unfinished()
        raise _nothing_to_resume(out)
    if (what := first_difference(identity, manifest)) is not None:
        other = "other" if what.endswith("s") else "another"
        raise UserError(f"{out} was started with {other} {what}; start a run without `resume=True`.")
    folder = RunFolder(out)
    if _is_unfinished(out):
        return folder
    # Another process, which held it until now, has finished it.
    with folder:
        raise _nothing_to_resume(out)


def _nothing_to_resume(out: Path) -> UserError:
    return UserError(f"{out} is complete, there is nothing to resume; `overwrite=True` runs it again.")


def _is_unfinished(path: Path) -> bool:
    manifest = read_manifest(path)
    return manifest is not None and not manifest.get("complete", False)


def difference(theirs: str, ours: str) -> str:
    """The first line of settings that differs."""
    both = (text.splitlines(keepends=True) for text in (theirs, ours))
    line_a, line_b = next(pair for pair in itertools.zip_longest(*both, fillvalue="nothing") if pair[0] != pair[1])
    return f"'{line_a.strip()}' there, '{line_b.strip()}' here"
