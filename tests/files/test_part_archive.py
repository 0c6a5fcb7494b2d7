"""Numbered archives: whole or not there, and the same bytes each time."""

from __future__ import annotations

import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from wsloc.errors import ItemError, UserError
from wsloc.files.part_archive import ArchiveReader, ArchiveWriter, archive_path, archives

MAP = np.arange(6, dtype=np.float32).reshape(2, 3)


def write(folder: Path, number: int, name: str = "a") -> Path:
    with ArchiveWriter(folder, number) as part:
        part.add(f"{name}/cat.npy", MAP + number, {"image_id": name, "class_name": "cat"})
        part.add(f"{name}/note", b"bytes", {"image_id": name})
    return archive_path(folder, number)


def test_entries_come_back_by_name_and_by_field(tmp_path: Path) -> None:
    write(tmp_path / "maps", 10, "b")
    write(tmp_path / "maps", 2)
    assert [path.name for path in archives(tmp_path / "maps")] == ["000002.npz", "000010.npz"]
    reader = ArchiveReader(tmp_path / "maps")
    assert reader.rows == [
        {"entry": "a/cat.npy", "image_id": "a", "class_name": "cat"},
        {"entry": "a/note", "image_id": "a"},
        {"entry": "b/cat.npy", "image_id": "b", "class_name": "cat"},
        {"entry": "b/note", "image_id": "b"},
    ]
    assert "a/cat.npy" in reader
    assert "c/cat.npy" not in reader
    assert reader.read("a/note") == b"bytes"
    with pytest.raises(ItemError, match=r"c/cat\.npy is damaged"):
        reader.read("c/cat.npy")


def test_numpy_reads_the_arrays(tmp_path: Path) -> None:
    with np.load(write(tmp_path, 3)) as archive:
        assert archive["a/cat"].dtype == np.float32
        assert np.array_equal(archive["a/cat"], MAP + 3)


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    assert write(tmp_path / "one", 0).read_bytes() == write(tmp_path / "two", 0).read_bytes()


def test_an_archive_without_entries_is_whole(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path, 0):
        pass
    assert ArchiveReader(tmp_path).rows == []


def test_no_folder_has_no_archives(tmp_path: Path) -> None:
    assert archives(tmp_path / "none") == []
    assert ArchiveReader(tmp_path / "none").rows == []


def write_half(folder: Path, number: int, error: BaseException) -> None:
    with ArchiveWriter(folder, number) as part:
        part.add("a", b"half", {})
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_exception(tmp_path: Path, error: type[BaseException]) -> None:
    before = write(tmp_path, 0).read_bytes()
    for number in (0, 1):
        with pytest.raises(error):
            write_half(tmp_path, number, error())
    assert [path.name for path in tmp_path.iterdir()] == ["000000.npz"]
    assert archive_path(tmp_path, 0).read_bytes() == before


def test_it_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path, 0) as part:
        part.add("a", b"half", {})
        assert archives(tmp_path) == []
    assert len(archives(tmp_path)) == 1


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    tmp_path.joinpath("000000.npz.tmp").write_bytes(b"half")
    assert archives(tmp_path) == []
    write(tmp_path, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["000000.npz"]


@pytest.mark.parametrize("damage", [lambda whole: whole[:-30], lambda _whole: b"", lambda whole: whole[:10] + whole])
def test_a_damaged_archive_is_a_sentence(tmp_path: Path, damage: object) -> None:
    path = write(tmp_path, 7)
    path.write_bytes(damage(path.read_bytes())[: len(path.read_bytes()) - 8])  # type: ignore[operator]
    with pytest.raises(UserError, match=r"000007\.npz is damaged") as told:
        ArchiveReader(tmp_path)
    assert "\n" not in str(told.value)


def test_an_archive_of_another_tool_is_a_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "000000.npz", a=MAP)
    with pytest.raises(UserError, match=r"000000\.npz is damaged"):
        ArchiveReader(tmp_path)


def test_a_damaged_entry_is_a_failure_of_its_item(tmp_path: Path) -> None:
    path = write(tmp_path, 0)
    content = bytearray(path.read_bytes())
    content[content.index(b"bytes")] ^= 1
    path.write_bytes(content)
    reader = ArchiveReader(tmp_path)
    assert reader.read("a/cat.npy")
    with pytest.raises(ItemError, match="a/note is damaged"):
        reader.read("a/note")


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "maps").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"), ArchiveWriter(tmp_path / "maps", 0):
        pass


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Also where the index, which comes last, no longer has room."""
    writestr, calls = zipfile.ZipFile.writestr, []

    def filling(*args: object) -> None:
        calls.append(args)
        if len(calls) > after:
            raise OSError(28, "No space left on device")
        writestr(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(zipfile.ZipFile, "writestr", filling)
    with pytest.raises(UserError, match="No space left on device; make room"):
        write(tmp_path, 0)
    assert len(calls) == after + 1
    assert list(tmp_path.iterdir()) == []


def test_names_of_any_kind(tmp_path: Path) -> None:
    names = ["猫", "caf\udce9", 'a "b"', "line\nbreak", "line\u2028break"]
    with ArchiveWriter(tmp_path, 0) as part:
        for index, name in enumerate(names):
            part.add(f"{index}.npy", MAP, {"class_name": name})
    assert [row["class_name"] for row in ArchiveReader(tmp_path).rows] == names


def test_it_is_read_from_several_threads(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path, 0) as part:
        for index in range(200):
            part.add(str(index), str(index).encode() * 500, {})
    reader = ArchiveReader(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(reader.read, map(str, range(200)))) == [str(index).encode() * 500 for index in range(200)]


def test_more_archives_than_a_process_may_open_files(tmp_path: Path) -> None:
    for number in range(80):
        write(tmp_path, number, f"{number}")
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (tmp_path / "next").open("w") as file:
        # The lowest free number tells how many are open.
        resource.setrlimit(resource.RLIMIT_NOFILE, (file.fileno() + 50, hard))
    try:
        reader = ArchiveReader(tmp_path)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda number: reader.read(f"{number}/note"), [*range(80), *range(79, -1, -1)]))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == [b"bytes"] * 160
