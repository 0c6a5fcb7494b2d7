"""``wsloc evaluate`` as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsloc.cli.main import run_verb
from wsloc.files.part_archive import ArchiveReader, ArchiveWriter


@pytest.fixture
def flags(tiny: Path, tiny_flags: list[str]) -> list[str]:
    """The tiny run with true boxes: for each item the middle of its image."""
    rows = ["image,class,x0,y0,x1,y1"]
    for line in (tiny / "labels.csv").read_text().splitlines()[1:]:
        name, labels = line.split(",")
        width, height = Image.open(tiny / "photos" / name).size
        rows += [f"{name},{label},{width // 5},{height // 5},{width},{height}" for label in labels.split(";")]
    (tiny / "boxes.csv").write_text("\n".join(rows) + "\n")
    for name, numbers in {"first": range(12), "second": range(12, 20)}.items():
        (tiny / f"{name}.txt").write_text("".join(f"{number:02d}.png\n" for number in numbers))
    return [*tiny_flags, "--boxes", "boxes.csv"]


@pytest.fixture
def runs(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs with maps, on other images."""
    for name in ("first", "second"):
        assert run_verb("localize", [*flags, "--ids", f"{name}.txt", "--save-maps", "--out", name]) == 0
    capsys.readouterr()


def metrics_of(run: str) -> dict[str, dict[str, object]]:
    """The metrics as any reader of JSON takes them: NaN is none."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"metrics.json holds {constant}")

    text = Path(run, "metrics.json").read_text()
    document: dict[str, dict[str, object]] = json.loads(text, parse_constant=refuse)
    return document


@pytest.mark.usefixtures("runs")
def test_all_metrics_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    before = metrics_of("first")
    assert run_verb("evaluate", ["first", "--held-out", "second", "--insertion-deletion", "2", "--trust"]) == 0
    after, out = metrics_of("first"), capsys.readouterr().out
    assert {name: after[name] for name in before} == before
    for name in (
        "CorLoc class-wise", "Top-1 Loc", "COCO AP50", "VOC mAP, 11 points", "area by quality", "pointing game",
        "MaxBoxAcc (oracle threshold)", "MaxBoxAcc (threshold of second)", "MaxBoxAccV2 (threshold of second)",
        "energy-based pointing", "insertion AUC", "deletion AUC", "items.csv",
    ):  # fmt: skip
        assert name in out
    maps = after["maps, protocol wsloc"]
    oracle, chosen = maps["MaxBoxAcc (oracle threshold)"], maps["MaxBoxAcc (threshold of second)"]
    assert chosen["value"] <= oracle["value"]  # type: ignore[index]
    rows = Path("first", "items.csv").read_text().splitlines()
    assert len(rows) - 1 == after["items"]


@pytest.mark.usefixtures("runs")
def test_the_published_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("evaluate", ["first", "--protocol", "wsol"]) == 0
    assert "maps, protocol wsol" in capsys.readouterr().out
    assert "maps, protocol wsol" in metrics_of("first")


@pytest.mark.usefixtures("runs")
def test_the_flags_may_come_first() -> None:
    assert run_verb("evaluate", ["--protocol", "wsol", "first"]) == 0
    assert "maps, protocol wsol" in metrics_of("first")


@pytest.mark.parametrize("asked", [["--classes", "red"], ["--class", "red"]])
def test_average_precision_is_over_the_classes_that_were_asked_for(flags: list[str], asked: list[str]) -> None:
    """The truth is what a run of all classes found: a run of one class that finds the same misses nothing."""
    flags = [*flags, "--ids", "first.txt"]
    assert run_verb("localize", [*flags, "--out", "all"]) == 0
    found = [json.loads(line) for line in Path("all/localizations.jsonl").read_text().splitlines()]
    rows = [",".join(map(str, (box["image_id"], box["class_name"], *box["box_xyxy"]))) for box in found]
    Path("boxes.csv").write_text("\n".join(rows) + "\n")
    assert run_verb("localize", [*flags, *asked, "--out", "red"]) == 0
    assert run_verb("evaluate", ["red"]) == 0
    assert metrics_of("red")["average precision"]["VOC mAP, all points"] == 1


@pytest.mark.usefixtures("runs")
def test_a_data_set_that_has_changed_is_told(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny / "first.txt").write_text("".join(f"{number:02d}.png\n" for number in range(2, 13)))
    assert run_verb("evaluate", ["first"]) == 1  # the new image has no map
    out = capsys.readouterr().out
    assert "2 images of the run are not in the data set" in out
    assert "1 images of the data set have no record in the run" in out


@pytest.mark.usefixtures("runs")
def test_masks_without_pixels_leave_no_nan(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One mask with pixels among empty ones: most resamples have none."""
    for number in (0, 3, 6, 9):
        width, height = Image.open(tiny / "photos" / f"{number:02d}.png").size
        pixels = np.zeros((height, width), dtype=np.uint8)
        pixels[5:20, 5:20] = 255 * (number == 3)
        (tiny / "masks").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tiny / "masks" / f"{number:02d}.png")
    assert run_verb("evaluate", ["first", "--masks", "masks"]) == 0  # that others have none is no fault
    assert metrics_of("first")["masks, 4 items in 4 images, protocol wsloc"]["PxAP"]["value"] > 0  # type: ignore[index]
    (tiny / "masks" / "03.png").unlink()
    assert run_verb("evaluate", ["first", "--masks", "masks"]) == 1
    assert "No true mask has a pixel, so there is no PxAP" in capsys.readouterr().out
    assert "PxAP" not in metrics_of("first")["masks, 3 items in 3 images, protocol wsloc"]


@pytest.mark.usefixtures("runs")
def test_a_folder_of_masks_that_holds_none_is_told(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny / "masks").mkdir()
    assert run_verb("evaluate", ["first", "--masks", "masks"]) == 1
    assert "No judged image has a true mask" in capsys.readouterr().out


@pytest.mark.usefixtures("runs")
def test_a_run_folder_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    assert run_verb("evaluate", ["first"]) == 2
    assert "The metrics cannot be written to first" in capsys.readouterr().err
    before = Path("first/metrics.json").read_text()
    assert run_verb("evaluate", ["first", "--out", "elsewhere.json"]) == 0
    assert "average precision" in json.loads(Path("elsewhere.json").read_text())
    assert Path("first/metrics.json").read_text() == before


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("part", [["--classes", "red"], ["--class", "red"], ["--limit", "6"], ["--ids", "part.txt"]])
def test_a_part_of_a_run_leaves_the_metrics_of_the_whole(part: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("part.txt").write_text("00.png\n03.png\n")
    before = {path.name: path.read_bytes() for path in Path("first").iterdir() if path.is_file()}
    assert run_verb("evaluate", ["first", *part]) == 0
    assert f"{part[0]}: a part of the run, so first keeps its metrics" in capsys.readouterr().out
    assert run_verb("evaluate", ["first", *part, "--out", "part.json"]) == 0
    assert {path.name: path.read_bytes() for path in Path("first").iterdir() if path.is_file()} == before
    assert 0 < json.loads(Path("part.json").read_text())["items"] < metrics_of("first")["items"]  # type: ignore[operator]


@pytest.mark.usefixtures("runs")
def test_a_run_that_was_killed_before_its_first_part(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("localizations.jsonl", "failures.jsonl"):
        Path("first", name).unlink()
    manifest = json.loads(Path("first/manifest.json").read_text())
    Path("first/manifest.json").write_text(json.dumps({**manifest, "complete": False}))
    assert run_verb("evaluate", ["first"]) == 0
    assert "The run has not finished any image yet, so there are no metrics." in capsys.readouterr().out


@pytest.mark.usefixtures("runs")
def test_maps_of_another_tool(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    data = [*flags[:6], "--boxes", "boxes.csv", "--ids", "first.txt"]
    assert run_verb("evaluate", [*data, "--maps", "first/maps", "--out", "alone.json"]) == 0
    capsys.readouterr()
    assert run_verb("evaluate", ["first"]) == 0
    alone = json.loads(Path("alone.json").read_text())
    assert alone["maps, protocol wsloc"] == metrics_of("first")["maps, protocol wsloc"]


@pytest.mark.usefixtures("runs")
def test_maps_that_are_missing_or_damaged_are_misses_and_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    reader = ArchiveReader(Path("first/maps"))
    with ArchiveWriter(Path("first/maps"), 0) as part:
        for row in reader.rows:
            if row["image_id"] != "00.png":
                entry = row.pop("entry")
                part.add(entry, b"nothing" if entry == "03.png/red.npy" else reader.read(entry), row)
    assert run_verb("evaluate", ["first"]) == 1
    out = capsys.readouterr().out
    assert "2 of" in out
    assert "have no map in first/maps, and count as missed" in out
    assert "03.png, red: 03.png/red.npy is not a NumPy array" in out


@pytest.mark.usefixtures("runs")
def test_an_unfinished_run(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in Path("first/localizations.jsonl").read_text().splitlines()]
    kept = [line for line in lines if line["image_id"] < "05.png"]
    Path("first/parts").mkdir()
    Path("first/parts/000000.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    manifest = json.loads(Path("first/manifest.json").read_text())
    Path("first/manifest.json").write_text(json.dumps({**manifest, "complete": False}))
    assert run_verb("evaluate", ["first"]) == 0
    out = capsys.readouterr().out
    assert "first is unfinished: 5 of 12 images are judged" in out
    document = metrics_of("first")
    assert (document["complete"], document["images"], document["items"]) == (False, 5, len(kept))


@pytest.mark.usefixtures("runs")
def test_an_empty_run_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("localizations.jsonl", "failures.jsonl"):
        Path("first", name).write_text("")
    shutil.rmtree("first/maps")
    assert run_verb("evaluate", ["first"]) == 0
    out = capsys.readouterr().out
    assert "12 images, 0 items: 0 boxes" in out
    assert "12 images of the data set have no record in the run" in out
    (own, *_), items = metrics_of("first")["rows"], metrics_of("first")["items"]  # type: ignore[misc]
    assert own["metrics"]["CorLoc class-wise"]["value"] == 0
    assert items


def test_class_names_of_every_kind(tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    names = ["<script>alert(1)</script>", 'a "quoted", name', "犬 ÉÜ 🐕"]
    (tiny / "classes.txt").write_text("\n".join(names) + "\n")
    rows = "".join(f'{number:02d}.png,"{names[number].replace(chr(34), 2 * chr(34))}"\n' for number in range(3))
    (tiny / "labels.csv").write_text(rows)
    (tiny / "boxes.csv").write_text(rows.replace("\n", ",5,5,30,30\n"))
    flags = [*tiny_flags, "--boxes", "boxes.csv", "--save-maps", "--out", "run"]
    assert run_verb("localize", flags) == 0
    assert run_verb("evaluate", ["run"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in names)
    assert [entry["class_name"] for entry in metrics_of("run")["classes"]] == sorted(names)  # type: ignore[index]
    assert not np.isnan(metrics_of("run")["maps, protocol wsloc"]["pointing game"]["value"])  # type: ignore[index]


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "Nothing to evaluate: give a run folder, or --maps DIR and --dataset"),
        ("nowhere", "nowhere is not a run folder"),
        ("photos", "photos is not a run folder"),
        ("first --held-out first", "has 12 of the judged images"),
        ("first --held-out photos", "photos is not a run folder"),
        ("first --maps nowhere", "There is no folder of maps nowhere"),
        ("first --insertion-deletion -1", "--insertion-deletion must be at least 0"),
        ("--maps first/maps", "--maps without a run folder needs --dataset NAME"),
        ("--maps first/maps --dataset folder --root photos --insertion-deletion 1", "give a run folder, too"),
        ("--maps first/maps --dataset folder --root photos --out photos", "photos is a folder"),
        ("first --root nowhere", "The folder nowhere does not exist"),
        ("--maps first/maps --dataset folder --root photos --labels labels.csv", "no true box to judge the maps by"),
    ],
)
def test_what_is_refused(words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("evaluate", words.split()) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in said
    assert said.startswith("wsloc: ")


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("flag", [["--insertion-deletion", "1"], ["--held-out", "second"]])
def test_what_needs_maps(flag: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("first/maps")
    assert run_verb("evaluate", ["first", *flag]) == 2
    assert "run wsloc localize with --save-maps" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["coco", "cvat", "label-studio"])
def test_a_folder_run_is_judged_by_the_boxes_that_come_back(
    form: str, tiny: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Three of six images come back, numbered anew: one box as it was, one corrected, one of another class."""
    assert run_verb("localize", [*tiny_flags, "--limit", "6", "--out", "run"]) == 0
    assert run_verb("export", ["run", "--format", "coco"]) == 0
    document = json.loads(Path("run/exports/coco/annotations/instances_train2017.json").read_text())
    first = {one["image_id"]: one for one in reversed(document["annotations"])}
    images = document["images"][:3]
    for number, (image, change) in enumerate(zip(images, ({}, {"bbox": [0, 0, 2, 2]}, {}), strict=True), start=100):
        first[image["id"]] |= {"image_id": number, **change}
        image |= {"id": number, "file_name": {"coco": "", "cvat": "", "label-studio": "images/0123abcd__"}[form]
                  + image["file_name"]}  # fmt: skip
    document |= {"images": images, "annotations": [one for one in first.values() if one["image_id"] >= 100]}
    (tiny / "corrected.json").write_text(json.dumps(document))
    capsys.readouterr()
    assert run_verb("evaluate", ["run", "--annotations", "corrected.json"]) == 0
    found = metrics_of("run")
    assert found["items"] == 3
    assert [one["corloc"] for one in found["classes"]] == [pytest.approx(2 / 3)]
    assert run_verb("evaluate", ["run", "--annotations", "none.json"]) == 2
    assert "The annotations none.json cannot be read" in capsys.readouterr().err
    # The other verbs that judge a run, by the same code.
    corrected = ["--annotations", "corrected.json"]
    assert run_verb("report", ["run", *corrected]) == 0
    assert "3 items" in Path("run/report.md").read_text()
    assert run_verb("report", ["run", "--annotations", "none.json"]) == 2
    assert run_verb("compare-runs", ["run", "run", *corrected]) == 0
    assert "3 items in 3 images that all runs judged." in capsys.readouterr().out
    assert run_verb("report", ["run", "run", *corrected, "--out", "two.html"]) == 0
    assert "3 items in 3 images that all runs judged" in Path("two.html").read_text()
