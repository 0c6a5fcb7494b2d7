"""``wsloc compare-runs`` as a user types it."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from wsloc.cli.main import run_verb
from wsloc.evaluation import Estimate
from wsloc.evaluation.comparison import differs
from wsloc.records import Failure, Localization
from wsloc.runs.record_lines import SCHEMA_VERSION, to_line

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_runs.py"
CAT = 'cat <b>"猫"'
CLASSES = {CAT: (10, 10, 50, 50), "dog": (60, 20, 90, 80)}
"""The one object of each class in every image."""
IMAGES = 12
WRONG = (0.0, 80.0, 10.0, 90.0)

MakeRun = Callable[..., Path]


@pytest.fixture
def voc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """VOC's layout: 12 images with a cat each, every second with a dog as well; the working folder beside it."""
    folder = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    lists: dict[str, list[str]] = {name: [] for name in CLASSES}
    for number in range(IMAGES):
        Image.new("RGB", (100, 100)).save(folder / "JPEGImages" / f"{number:02d}.jpg")
        shown = [CAT, "dog"] if number % 2 == 0 else [CAT]
        for name in CLASSES:
            lists[name].append(f"{number:02d} {1 if name in shown else -1}")
        objects = "".join(
            f"<object><name>{name.replace('<', '&lt;')}</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
            f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for name in shown
            for x0, y0, x1, y1 in [CLASSES[name]]
        )
        xml = f"<annotation><size><width>100</width><height>100</height></size>{objects}</annotation>"
        (folder / "Annotations" / f"{number:02d}.xml").write_text(xml, encoding="utf-8")
    for name, rows in lists.items():
        (folder / "ImageSets/Main" / f"{name}_trainval.txt").write_text("\n".join(rows))
    (folder / "ImageSets/Main/trainval.txt").write_text("\n".join(f"{number:02d}" for number in range(IMAGES)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def make_run(voc: Path) -> MakeRun:
    """Writes a run folder whose boxes are right on some images."""

    def make(name: str, right: range, **changes: object) -> Path:
        folder = voc / name
        folder.mkdir()
        settings = {"dataset": "voc", "root": "data", **changes.pop("settings", {})}  # type: ignore[dict-item]
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        manifest = {"schema_version": SCHEMA_VERSION, "complete": True, "dataset_fingerprint": "x", **changes}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        records = [
            Localization(
                f"{number:02d}",
                f"JPEGImages/{number:02d}.jpg",
                class_name,
                tuple(map(float, CLASSES[class_name])) if number in right else WRONG,
                0.9,
                0.5,
                0.1,
                "gradient",
                "grabcut",
                None,
                0,
                (100, 100),
            )
            for number in range(IMAGES - 1)
            for class_name in ([CAT, "dog"] if number % 2 == 0 else [CAT])
        ]
        last = Failure(f"{IMAGES - 1:02d}", f"JPEGImages/{IMAGES - 1:02d}.jpg", CAT, "cut", "the map is flat")
        lines = [to_line(record) for record in records]
        (folder / "localizations.jsonl").write_text("".join(lines))
        (folder / "failures.jsonl").write_text(to_line(last))
        return folder

    return make


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Exit status, standard output and standard error."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        status = run_verb("compare-runs", [str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def _row(text: str, start: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line.removeprefix(start).split()


def test_tables(make_run: MakeRun, command: Command) -> None:
    # Cats: 3 of 12 and 11 of 12; dogs: 2 of 6 and 6 of 6.
    status, out, _ = command(make_run("one", range(3)), make_run("two", range(12)))
    assert status == 0
    assert "18 items in 12 images that all runs judged." in out
    assert [line.split()[0] for line in out.splitlines()[:2]] == ["A", "B"]
    corloc = _row(out, "CorLoc class-wise")
    assert (corloc[0], corloc[3], corloc[6], corloc[-2:]) == ("29.2", "95.8", "+66.7", ["B", "better"])
    cat = _row(out, CAT)
    assert cat[:3] == ["12", "25.0", "91.7"]
    assert cat[-5:] == ["0", "8", "0.008", "B", "better"]  # 2 / 2^8
    dog = _row(out, "dog  ")
    assert dog[-3:] == ["0", "4", "0.125"]  # 2 / 2^4, and not told to differ
    assert _row(out, "15 to 40 %")[0] == "18"
    assert _row(out, "1 object")[0] == "18"
    changed = out[out.index("Items whose IoU changed most:") :].strip().splitlines()
    assert len(changed) == 2 + 10
    assert changed[2].split()[0] == "03"
    assert changed[2].split()[-3:] == ["0.0", "100.0", "+100.0"]


def test_a_run_and_itself(make_run: MakeRun, command: Command) -> None:
    one = make_run("one", range(3))
    status, out, _ = command(one, one)
    assert status == 0
    assert "better" not in out.replace("one run better", "").replace("and better", "")
    assert out.strip().endswith("Every item has the same IoU.")


@pytest.mark.parametrize(
    ("ends", "items", "told"),
    [
        ((0.2, 0.8), 10, True),
        ((-0.8, -0.2), 10, True),
        ((0.2, 0.8), 9, False),
        ((-0.1, 0.8), 50, False),
        ((0.0, 0.8), 50, False),
        ((1.0, 1.0), 50, False),
    ],
)
def test_what_is_said_to_differ(ends: tuple[float, float], items: int, told: bool) -> None:
    assert differs(Estimate(sum(ends) / 2, *ends), items) == told


def test_one_image_is_no_verdict(make_run: MakeRun, command: Command) -> None:
    runs = [
        make_run(name, right, settings={"classes": [CAT]}) for name, right in (("one", range(9)), ("two", range(0)))
    ]
    for run in runs:
        for name in ("localizations.jsonl", "failures.jsonl"):
            lines = (run / name).read_text().splitlines(keepends=True)
            (run / name).write_text("".join(line for line in lines if '"image_id": "00"' in line))
    status, out, _ = command(*runs)
    assert status == 0
    assert "1 item in 1 image that all runs judged." in out
    assert "-100.0 [-100.0, -100.0]" in out
    assert "A better" not in out


def test_columns_do_not_touch(make_run: MakeRun, command: Command) -> None:
    for names in (("one", "two"), ("four", "three")):
        right = {"one": range(12), "two": range(0), "three": range(12), "four": range(0)}
        status, out, _ = command(*(make_run(name, right[name]) for name in names))
        assert status == 0
        assert "100.0 [" in out
        assert not re.search(r"\d[-+]\d|\]\d", out[out.index("Percent, with") :])


def test_true_boxes_of_the_second_run_do(make_run: MakeRun, command: Command) -> None:
    one, two = make_run("one", range(3)), make_run("two", range(12))
    expected = command(one, two)[1]
    settings = {"images": "data/VOCdevkit/VOC2012/JPEGImages/*.jpg", "targets": "top2"}
    (one / "config.yaml").write_text(yaml.safe_dump(settings))
    assert command(one, two)[:2] == (0, expected)


def test_three_runs_make_two_tables(make_run: MakeRun, command: Command) -> None:
    status, out, _ = command(make_run("one", range(3)), make_run("two", range(12)), make_run("three", range(0)))
    assert status == 0
    assert [line for line in out.splitlines() if "B - A is paired" in line or "C - A is paired" in line]
    first, second = (block for block in out.split("Percent, with")[1:])
    assert _row(first, "CorLoc image-wise")[3] == "91.7"
    assert _row(second, "CorLoc image-wise")[3] == "0.0"
    assert _row(second, "CorLoc image-wise")[-2:] == ["A", "better"]


def test_csv(make_run: MakeRun, command: Command, voc: Path) -> None:
    one, two = make_run("one", range(3)), make_run("two", range(12))
    table = voc / "made" / "items.csv"
    assert command(one, two, "--csv", table)[0] == 0
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    assert (rows[0]["image"], rows[0]["class"], rows[0]["objects"], rows[0]["object_fraction"]) == (
        "00",
        CAT,
        "1",
        "0.16",
    )
    assert [rows[0][f"{side}_B"] for side in ("x0", "y0", "x1", "y1")] == ["10.0", "10.0", "50.0", "50.0"]
    fourth = next(row for row in rows if row["image"] == "03")
    assert (fourth["iou_A"], fourth["iou_B"], fourth["x0_A"]) == ("0.0", "1.0", "0.0")
    last = rows[-1]
    assert (last["image"], last["iou_A"], last["x0_A"]) == ("11", "0.0", "")  # failed: no box
    before = table.read_bytes()
    status, out, error = command(one, two, "--csv", table)
    assert (status, out) == (2, "")
    assert "--overwrite" in error
    assert command(two, one, "--csv", table, "--overwrite")[0] == 0
    assert table.read_bytes() != before


def test_unfinished_run(make_run: MakeRun, command: Command) -> None:
    one, two = make_run("one", range(3)), make_run("two", range(12), complete=False)
    lines = (two / "localizations.jsonl").read_text().splitlines(keepends=True)
    (two / "parts").mkdir()
    (two / "parts" / "000000.jsonl").write_text("".join(lines[:3]))  # images 00 and 01
    (two / "localizations.jsonl").unlink()
    status, out, _ = command(one, two)
    assert status == 0
    assert "3 items in 2 images" in out
    assert "B is not finished" in out
    assert "15 items of A are not compared" in out


def test_other_classes_and_the_data_moved(make_run: MakeRun, command: Command, voc: Path) -> None:
    one = make_run("one", range(3))
    two = make_run("two", range(12), settings={"classes": ["dog"], "limit": 3}, dataset_fingerprint="y")
    (voc / "data").rename(voc / "moved")
    status, out, error = command(one, two)
    assert (status, out) == (2, "")
    assert error.count("\n") == 1
    assert "--root" in error
    status, out, _ = command(one, two, "--root", "moved")
    assert status == 0
    assert "6 items in 6 images" in out
    assert "not asked for the same items" in out


def test_damaged_records_are_told(make_run: MakeRun, command: Command) -> None:
    one, two = make_run("one", range(3)), make_run("two", range(12))
    lines = (two / "localizations.jsonl").read_text().splitlines(keepends=True)
    fixed = [lines[0].replace('"probability": 0.9', '"probability": NaN'), *lines[1:], lines[1]]
    (two / "localizations.jsonl").write_text("".join(fixed))
    status, out, _ = command(one, two)
    assert status == 0
    assert "1 boxes occur twice" in out
    assert "a score that is not a number" in out


def _no_manifest(_one: Path, two: Path) -> None:
    (two / "manifest.json").unlink()


def _other_schema(_one: Path, two: Path) -> None:
    (two / "manifest.json").write_text(json.dumps({"schema_version": 99, "complete": True}))


def _other_data(_one: Path, two: Path) -> None:
    text = (two / "localizations.jsonl").read_text().replace('"image_id": "', '"image_id": "other-')
    (two / "localizations.jsonl").write_text(text)
    (two / "failures.jsonl").write_text("")


def _no_truth(*runs: Path) -> None:
    settings = {"images": "data/VOCdevkit/VOC2012/JPEGImages/*.jpg", "class": "dog"}
    for run in runs:
        (run / "config.yaml").write_text(yaml.safe_dump(settings))


def _no_config(one: Path, _two: Path) -> None:
    (one / "config.yaml").unlink()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_no_manifest, "is not a run folder"),
        (_other_schema, "another version of wsloc"),
        (_other_data, "no image in common"),
        (_no_config, "does not exist"),
    ],
)
def test_refused_in_one_sentence(
    make_run: MakeRun, command: Command, damage: Callable[[Path, Path], None], sentence: str
) -> None:
    one, two = make_run("one", range(3)), make_run("two", range(12))
    damage(one, two)
    status, out, error = command(one, two)
    assert (status, out) == (2, "")
    assert error.count("\n") == 1
    assert sentence in error


def test_runs_without_truth_are_compared_with_each_other(make_run: MakeRun, command: Command) -> None:
    """They were asked for dogs, in every other image, and have the same boxes in the first two of these alone."""
    one, two = make_run("one", range(3)), make_run("two", range(12))
    _no_truth(one, two)
    status, out, error = command(one, two, "--csv", "items.csv")
    assert (status, "Traceback" in error) == (0, False)
    assert "There are no true boxes, so only their agreement is known" in out
    assert "IoU with the boxes of A:" in out
    assert "CorLoc" not in out
    with Path("items.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    overlaps = [float(row["iou_A_B"]) for row in rows]
    assert overlaps == sorted(overlaps)
    assert {row["image"] for row in rows if float(row["iou_A_B"]) > 0.999} == {"00", "02"}


def test_one_run_is_not_enough(make_run: MakeRun, command: Command) -> None:
    status, _, error = command(make_run("one", range(3)))
    assert status == 2
    assert "needs two runs" in error


def test_the_script(make_run: MakeRun) -> None:
    one, two = make_run("one", range(3)), make_run("two", range(12))
    done = subprocess.run([sys.executable, SCRIPT, one, two], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, "CorLoc class-wise" in done.stdout) == (0, True)
