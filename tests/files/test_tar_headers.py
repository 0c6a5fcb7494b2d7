"""The headers of tars as the standard library reads them, and of tars that no tool would write."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsloc.files.image_path import TarSpan
from wsloc.files.tar_headers import BLOCK, DamagedTarError, TarMember, read_members
from wsloc.files.tar_index import index_tar

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
FUZZ = settings(max_examples=60, suppress_health_check=list(HealthCheck))
NAMES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=20),
    st.integers(1, 300).map(lambda length: "d/" * (length // 20) + "n" * length),
    st.sampled_from(["a.jpg", "sub/a.b.jpg", "./a.cls", "犬/é.png"]),
)


def tar_of(files: list[tuple[str, bytes]], form: str = "pax", **fields: object) -> bytes:
    """A tar of some files, made by the standard library."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=FORMATS[form]) as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for key, value in fields.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


def read(content: bytes) -> tuple[list[TarMember], str]:
    members: list[TarMember] = []
    try:
        for member in read_members(io.BytesIO(content)):
            members.append(member)  # noqa: PERF402
    except DamagedTarError as error:
        return members, str(error)
    return members, ""


def oracle(content: bytes) -> list[TarMember]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        return [TarMember(found.name, found.offset_data, found.size) for found in tar if found.isreg()]


@pytest.mark.parametrize("form", FORMATS)
@given(files=st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=6), mtime=st.sampled_from([0, 1.5, 2**40]))
@FUZZ
def test_any_tar_of_the_standard_library(form: str, files: list[tuple[str, bytes]], mtime: float) -> None:
    try:
        content = tar_of(files, form, mtime=mtime)
    except ValueError:
        return  # a name or time that is too long for this form
    members, damage = read(content)
    assert damage == ""
    assert members == oracle(content)
    for member, (_, data) in zip(members, files, strict=True):
        assert content[member.offset : member.offset + member.size] == data


def test_links_devices_and_folders() -> None:
    content = io.BytesIO()
    kinds = {"sym": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE, "dir": tarfile.DIRTYPE}
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, kind in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        member = tarfile.TarInfo("after.jpg")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    members, damage = read(content.getvalue())
    assert damage == ""
    assert [(member.name, member.is_regular) for member in members] == [
        ("sym", False), ("hard", False), ("pipe", False), ("after.jpg", True),
    ]  # fmt: skip
    assert content.getvalue()[members[-1].offset :][:3] == b"abc"


def test_files_with_holes_are_no_regular_files() -> None:
    # As GNU tar writes them: type S, whose map goes on in one more block, then the data.
    block = bytearray(tar_of([("holes.jpg", b"x" * 600)], "gnu")[:BLOCK])
    block[156:157], block[482] = b"S", 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    content = bytes(block) + bytes(BLOCK) + b"x" * 600 + bytes(2 * BLOCK - 600) + tar_of([("b.jpg", b"b")])
    members, damage = read(content)
    assert damage == ""
    assert [(member.name, member.is_regular) for member in members] == [("holes.jpg", False), ("b.jpg", True)]
    sparse = tar_of([("c.jpg", b"c")], pax_headers={"GNU.sparse.major": "1"})
    assert [member.is_regular for member in read(sparse)[0]] == [False]


WHOLE = tar_of([("a.jpg", b"a" * 700), ("b.jpg", b"b" * 100)])


@pytest.mark.parametrize(
    ("content", "names", "damage"),
    [
        (b"", [], "is empty"),
        (b"GIF89a" + bytes(900), [], "is not a tar"),
        (b"short", [], "is not a tar"),
        (
            b"\x1f\x8b\x08" + bytes(900),
            [],
            "is compressed (gzip), and only plain tars are read in place",
        ),
        (b"\x28\xb5\x2f\xfd" + bytes(900), [], "is compressed (zstd), and only plain tars are"),
        (bytes(10240), [], ""),
        (WHOLE[: 3 * BLOCK], ["a.jpg"], "has no end mark, as if it were cut off"),
        (WHOLE[: 3 * BLOCK + 100], ["a.jpg"], "has no end mark, as if it were cut off"),
        (WHOLE[: 2 * BLOCK], ["a.jpg"], "ends too early, within a.jpg"),
        (WHOLE[: 4 * BLOCK + 50], ["a.jpg", "b.jpg"], "ends too early, within b.jpg"),
        (WHOLE[: 3 * BLOCK] + b"\xff" * 600, ["a.jpg"], "is damaged at byte 1,536, and not read any further"),
        (
            WHOLE + WHOLE,
            ["a.jpg", "b.jpg"],
            "goes on after its end mark, as joined tars do",
        ),
    ],
    ids=range(12),
)
def test_what_is_wrong_with_a_tar(content: bytes, names: list[str], damage: str) -> None:
    members, found = read(content)
    assert [member.name for member in members] == names
    assert found.startswith(damage)
    assert bool(found) == bool(damage)


@pytest.mark.parametrize("kind", [b"L", b"x"])
@pytest.mark.parametrize("size", [2**30, 2**80, 50_000])
def test_a_header_that_gives_itself_a_length_is_not_believed(kind: bytes, size: int) -> None:
    block = bytearray(WHOLE[:BLOCK])
    block[156:157] = kind
    block[124:136] = b"\x80" + size.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    members, damage = read(WHOLE[: 3 * BLOCK] + bytes(block) + WHOLE)
    assert [member.name for member in members] == ["a.jpg"]
    assert damage.startswith("is damaged at byte 1,536")


def header(kind: bytes, size: bytes) -> bytes:
    block = bytearray(WHOLE[:BLOCK])
    block[124:136], block[156:157], block[148:156] = size, kind, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("back", [1, 512, 1024, 1025])
def test_a_header_that_leads_back_does_not_go_round_for_ever(back: int) -> None:
    empty = header(b"0", b"%011o\0" % 0)
    content = 2 * empty + header(b"0", b"\xff" + (2**88 - back).to_bytes(11, "big")) + WHOLE
    members, damage = read(content)
    assert len(members) == 2
    assert damage == "is damaged at byte 1,024, and not read any further"


def test_a_million_digits_are_damage() -> None:
    """They would take a quarter of an hour."""
    digits = b"1" * 2**20
    content = WHOLE[: 3 * BLOCK] + header(b"x", b"%011o\0" % len(digits)) + digits + WHOLE
    assert read(content) == (read(WHOLE)[0][:1], "is damaged at byte 1,536, and not read any further")
    names = [("1" * 255, b""), ("d/" + "2" * 255, b"")]
    assert [member.name for member in read(tar_of(names))[0]] == [name for name, _ in names]


@pytest.mark.parametrize(("kind", "content"), [(b"L", b"name"), (b"x", b"12 path=abc\n"), (b"g", b"12 abcd=abc\n")])
def test_headers_of_headers_without_end_are_damage(kind: bytes, content: bytes) -> None:
    one = header(kind, b"%011o\0" % len(content)) + content.ljust(BLOCK, b"\0")
    assert read(WHOLE[: 3 * BLOCK] + 3000 * one + WHOLE) == (
        read(WHOLE)[0][:1], "is damaged at byte 1,536, and not read any further"
    )  # fmt: skip


@given(position=st.integers(0, len(WHOLE) - 1), patch=st.binary(min_size=1, max_size=40), cut=st.integers(0, 10240))
@FUZZ
def test_any_damage_has_a_sentence_or_changes_nothing_of_the_walk(position: int, patch: bytes, cut: int) -> None:
    content = (WHOLE[:position] + patch + WHOLE[position + len(patch) :])[: max(cut, position + 1)]
    members, _ = read(content)
    assert all(member.offset <= len(content) and member.size >= 0 for member in members)


def test_an_index_has_each_name_once(tmp_path: Path) -> None:
    names = ["./sub//a.jpg", "sub/a.jpg", "/abs/b.jpg", "../c.jpg", "x/../../d.jpg", "e.jpg"]
    content = tar_of([(name, name.encode()) for name in names])
    (tmp_path / "s.tar").write_bytes(content)
    index = index_tar(tmp_path / "s.tar")
    assert list(index.spans) == ["sub/a.jpg", "abs/b.jpg", "e.jpg"]
    span = index.spans["sub/a.jpg"]
    assert span == TarSpan(tmp_path / "s.tar", BLOCK, len("./sub//a.jpg"))
    assert (index.twice, index.outside, index.damage) == (("sub/a.jpg",), ("../c.jpg", "x/../../d.jpg"), "")
    assert index_tar(tmp_path / "none.tar").damage == "cannot be read: No such file or directory"
    assert index_tar(tmp_path).damage.startswith("cannot be read: ")
