"""``wsloc fetch`` as a user types it, and a run over what it fetched."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsloc.cli.main import run_verb
from wsloc.datasets import fetching
from wsloc.files.held_folder import HeldFolder

sys.path.append(str(Path(__file__).parents[1] / "files"))
from served import Served, picture, serving


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetching, "_PAUSES", (0.0, 0.0))
    with serving() as running:
        yield running


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_from_addresses_to_boxes(
    served: Served, tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    listed = {
        "1.png": "red;green",
        "2.jpg": "blue",
        "busy/3/3.png": "red",
        "none.png": "red",
        "text": "red",
        "4.png": "red",
    }
    lines = [f"{served.url}/{path},{labels}" for path, labels in listed.items()]
    lines += [f"{served.url}/1.png,blue", "file:///etc/passwd,red", f"{served.url}/to/file,red"]
    (tiny / "list.csv").write_text("url,label\n" + "\n".join(lines) + "\n")
    assert run_verb("fetch", ["list.csv", "--out", "got"]) == 1
    said = capsys.readouterr().out
    assert "4 images, after 2 retries" in said
    assert "4 images not fetched, listed in got/failures.csv" in said
    assert "       1  the server answered 404 Not Found" in said
    assert "wsloc localize --dataset folder --root got --labels got/labels.csv" in said
    assert [(row["url"].removeprefix(served.url), row["reason"]) for row in rows(tiny / "got" / "failures.csv")] == [
        ("/none.png", "the server answered 404 Not Found"),
        ("/text", "the content is not an image that can be read"),
        ("file:///etc/passwd", "it is not an http or https address"),
        ("/to/file", "the server redirects to what is not an http or https address"),
    ]
    found = rows(tiny / "got" / "labels.csv")
    assert [(row["url"].removeprefix(served.url), row["label"]) for row in found] == [
        ("/1.png", "red;green"), ("/2.jpg", "blue"), ("/busy/3/3.png", "red"), ("/4.png", "red"), ("/1.png", "blue"),
    ]  # fmt: skip
    assert (tiny / "got" / found[1]["image"]).read_bytes() == picture(2, "JPEG")
    assert [Path(row["image"]).suffix for row in found] == [".png", ".jpg", ".png", ".png", ".png"]
    assert not list((tiny / "got").rglob("*.tmp"))
    flags = tiny_flags[tiny_flags.index("--arch") :]
    folder = ["--dataset", "folder", "--root", "got", "--labels", "got/labels.csv"]
    assert run_verb("localize", [*folder, *flags, "--out", "run"]) == 0
    assert len((tiny / "run" / "localizations.jsonl").read_text().splitlines()) == 6


def test_what_is_there_is_not_fetched_again(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = ["1.png", "2.png", "busy/4/3.png", "none.png"]
    Path("list.txt").write_text("\n".join(f"{served.url}/{path}" for path in paths))
    assert run_verb("fetch", ["list.txt", "--out", "got", "--workers", "1"]) == 1
    assert served.asked == {"/1.png": 1, "/2.png": 1, "/busy/4/3.png": 3, "/none.png": 1}
    files = {path: path.read_bytes() for path in Path("got/images").rglob("*.*")}
    assert len(files) == 2
    labels = Path("got/labels.csv").read_text()
    assert run_verb("fetch", ["list.txt", "--out", "got", "--workers", "2"]) == 1
    assert served.asked == {"/1.png": 1, "/2.png": 1, "/busy/4/3.png": 4, "/none.png": 2}
    assert [row["reason"] for row in rows(Path("got/failures.csv"))] == ["the server answered 404 Not Found"]
    assert all(path.read_bytes() == content for path, content in files.items())
    assert Path("got/labels.csv").read_text().startswith(labels)
    Path("list.txt").write_text("\n".join(f"{served.url}/{path}" for path in paths[:3]))
    assert run_verb("fetch", ["list.txt", "--out", "got"]) == 0
    assert rows(Path("got/failures.csv")) == []


def test_limits_are_flags(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text(f"{served.url}/drip/content\n{served.url}/1.png\n")
    assert run_verb("fetch", ["list.txt", "--out", "got", "--max-megabytes", "0.001", "--time-limit", "0.5"]) == 2
    reasons = [row["reason"] for row in rows(Path("got/failures.csv"))]
    assert reasons == ["there was no whole answer within 0.5 seconds", "the content is larger than 1000 bytes"]


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["none.csv", "--out", "got"], "The table of addresses none.csv does not exist; check the path."),
        (["list.txt", "--out", "own"], "own is no folder of fetched images: it holds images; give another --out."),
        (["list.txt", "--out", "list.txt"], "list.txt cannot be written: File exists; give another --out."),
        (["list.txt", "--out", "held"], "Another process is writing held; wait for it, or give another --out."),
        (["list.txt", "--out", "got", "--workers", "0"], "--workers must be between 1 and 256, not 0."),
        (["list.txt", "--out", "got", "--time-limit", "0"], "--time-limit must be above 0 and at most 86400, not 0"),
        (["list.txt", "--out", "got", "--time-limit", "inf"], "--time-limit must be above 0 and at most 86400, not"),
        (["list.txt", "--out", "got", "--max-megabytes", "inf"], "--max-megabytes must be above 0 and at most 1000"),
        (
            ["list.txt", "--out", "got"],
            "None of the images can be fetched (the server cannot be reached: [Errno 111] Connection refused); "
            "see got/failures.csv.",
        ),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("http://127.0.0.1:1/a.png\n")
    Path("own/images").mkdir(parents=True)
    Path("own/labels.csv").write_text("image,label\n")
    Path("held").mkdir()
    holder = HeldFolder(Path("held"))
    assert run_verb("fetch", flags) == 2
    assert sentence in capsys.readouterr().err
    assert Path("own/labels.csv").read_text() == "image,label\n"
    holder.release()


def test_a_stopped_fetch_goes_on(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("\n".join(f"{served.url}/{number}.png" for number in range(6)))
    own, calls = fetching.http_get, 0

    def interrupted(*given: object) -> bytes:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise KeyboardInterrupt
        return own(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(fetching, "http_get", interrupted)
        assert run_verb("fetch", ["list.txt", "--out", "got", "--workers", "1"]) == 130
    assert not Path("got/labels.csv").exists()
    assert run_verb("fetch", ["list.txt", "--out", "got"]) == 0
    assert served.asked == {f"/{number}.png": 1 for number in range(6)}
    assert len(rows(Path("got/labels.csv"))) == 6


def test_a_stopped_fetch_tries_nothing_again(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was asked to end does not wait for servers that are busy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetching, "_PAUSES", (3600.0, 3600.0))
    Path("list.txt").write_text(f"{served.url}/1.png\n{served.url}/busy/9/2.png\n")

    def interrupting(found: Iterator[object], *_: object) -> Iterator[object]:
        yield next(found)
        while not served.asked["/busy/9/2.png"]:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr("wsloc.cli.fetch.kept_bar", interrupting)
    assert run_verb("fetch", ["list.txt", "--out", "got"]) == 130
    assert served.asked["/busy/9/2.png"] == 1
