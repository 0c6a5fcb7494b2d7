from __future__ import annotations

import os
from pathlib import Path

import pytest

from wsloc.errors import UserError
from wsloc.files.reading import read_bytes, read_lines, read_text


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"\xef\xbb\xbfa\r\nb\r\n", ["a", "b"]),
        (b"a\rb", ["a", "b"]),
        ("\ufeffa\n\ufeffb".encode(), ["a", "b"]),
        ("\ufeff\ufeffa".encode(), ["a"]),
        ("ä\r\n\r\n  b c \n".encode("utf-16"), ["ä", "b c"]),
        (b"\xfe\xff\0a\0\n\0b", ["a", "b"]),
        ("ä\nb".encode("utf-32"), ["ä", "b"]),
        ("a\u2028b\x0bc\n".encode(), ["a\u2028b\x0bc"]),
        (b"", []),
    ],
    ids=["plain", "windows", "old-mac", "joined", "twice", "utf-16", "big-endian", "utf-32", "odd-names", "empty"],
)
def test_lines_whatever_marks_and_ends_them(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    assert read_lines(tmp_path / "list.txt") == lines


@pytest.mark.parametrize(
    "content", ["Tür".encode("latin-1"), "a\nb".encode("utf-16-le"), b"\xff\xfea", b"\x89PNG\r\n\x1a\n", b"a\0b"]
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"^The list .*list\.txt is not UTF-8 text; save it as UTF-8"):
        read_text(tmp_path / "list.txt", "The list")


@pytest.mark.timeout(10)
def test_pipes_devices_and_folders_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match="it is a folder, a pipe or a device, not a file"):
            read_bytes(path)
        with pytest.raises(UserError, match="cannot be read: it is a folder, a pipe or a device, not a file"):
            read_text(path)


def test_no_more_is_read_than_a_file_may_hold(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bytes(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="it holds more than 4 bytes"):
        read_bytes(tmp_path / "file", 4)
    with pytest.raises(UserError, match=r"none does not exist; check `root`\.$"):
        read_text(tmp_path / "none", missing="check `root`")
