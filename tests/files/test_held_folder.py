"""A held folder keeps other processes away, and what is written below it is refused once it is gone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wsloc.errors import UserError
from wsloc.files.atomic import write_atomic, write_picture
from wsloc.files.held_folder import LOCK, HeldFolder
from wsloc.files.part_archive import ArchiveWriter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def other_process_holds(folder: Path) -> bool:
    """Whether another process can hold a folder; it lets it go at once."""
    code = "import sys, pathlib; from wsloc.files.held_folder import HeldFolder; HeldFolder(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "BlockingIOError" in done.stderr, done.stderr
    return done.returncode == 0


def test_another_process_is_kept_away_until_it_is_released(folder: Path) -> None:
    held = HeldFolder(folder)
    assert not other_process_holds(folder)
    held.release()
    assert other_process_holds(folder)
    HeldFolder(folder).release()


def test_a_folder_that_an_error_left_held_is_free_once_it_is_forgotten(folder: Path) -> None:
    def begun() -> None:
        held = HeldFolder(folder)
        raise OSError(f"nothing can be written to {held.path}")

    with pytest.raises(OSError, match="nothing can be written"):
        begun()
    assert other_process_holds(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    write_atomic(folder / "another", "run")
    HeldFolder(folder).release()


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is open cannot be removed there")
def test_the_lock_survives_removal_of_its_file(folder: Path) -> None:
    held = HeldFolder(folder)
    (folder / LOCK).unlink()
    assert not other_process_holds(folder)
    held.require_in_place()
    held.release()


def moved(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def replaced(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def write_archive(folder: Path) -> None:
    with ArchiveWriter(folder / "maps", 0):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be removed there")
@pytest.mark.parametrize(
    "write",
    [
        lambda folder: write_atomic(folder / "parts" / "0.jsonl", "text"),
        lambda folder: write_picture(folder / "0.png", np.zeros((8, 8, 3), dtype=np.uint8)),
        write_archive,
    ],
    ids=["text", "picture", "archive"],
)
@pytest.mark.parametrize(
    ("lose", "sentence"),
    [
        (shutil.rmtree, "was removed while this process was writing to it, and the results of 7 images with it; start"),
        (replaced, "was removed while"),
        (moved, "was moved while this process was writing to it, with the results of 7 images in it; move it back and"),
    ],
)
def test_nothing_is_written_where_the_folder_was(
    folder: Path, write: Callable[[Path], None], lose: Callable[[Path], None], sentence: str
) -> None:
    held = HeldFolder(folder)
    held.contents = "the results of 7 images"
    write(folder)
    lose(folder)
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(UserError, match=sentence):
        write(folder)
    assert sorted(folder.parent.rglob("*")) == before
    # Beside it, and once it is released, nobody minds.
    write_atomic(folder.with_name("run-2") / "other", "text")
    held.release()
    write(folder)


def test_an_archive_whose_folder_goes_while_it_is_open_is_thrown_away(folder: Path) -> None:
    held = HeldFolder(folder)
    with pytest.raises(UserError, match="was moved"), ArchiveWriter(folder / "maps", 0):
        moved(folder)
    assert [path.name for path in folder.parent.rglob("*.npz")] == []
    assert not folder.exists()
    held.release()
