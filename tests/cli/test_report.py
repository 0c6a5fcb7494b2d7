"""``wsloc report`` as a user types it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from wsloc.cli.main import run_verb

SCRIPT = Path(__file__).parents[2] / "scripts" / "report.py"
Report = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tiny: Path, tiny_flags: list[str]) -> Path:
    """A folder with a run over eight images, with true boxes of six of them, and one without any."""
    rows = ["image,class,x0,y0,x1,y1", *(f"{number:02d}.png,red,5,5,30,30" for number in range(6))]
    (tiny / "boxes.csv").write_text("\n".join(rows) + "\n")
    few = [*tiny_flags, "--limit", "8", "--classes", "red", "green", "--segmenter", "threshold"]
    assert run_verb("localize", [*few, "--boxes", "boxes.csv", "--out", "run"]) in (0, 1)
    assert run_verb("localize", [*few, "--out", "blind"]) == 0
    return tiny


@pytest.fixture
def report(here: Path, capsys: pytest.CaptureFixture[str]) -> Report:  # noqa: ARG001
    """Runs the command; the exit status, standard output and standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = run_verb("report", words)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def shown(here: Path, name: str = "run") -> str:
    return (here / name / "report.html").read_text()


def data_of(html: str) -> dict[str, list[dict[str, object]]]:
    text = html.split('id="gallery-data">')[1].split("</script>")[0]
    data: dict[str, list[dict[str, object]]] = json.loads(text)
    return data


def change_manifest(run: Path, **changes: object) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_one_run(here: Path, report: Report) -> None:
    status, printed, _ = report("run")
    assert status == 0
    assert printed.startswith("Report: run/report.html (")
    assert printed.rstrip().endswith("as text: run/report.md")
    html = shown(here)
    assert "CorLoc class-wise" in html
    items = data_of(html)["items"]
    assert all(item["layers"] for item in items)
    assert (here / "run" / "report.md").read_text().startswith("# run\n")


def test_the_same_bytes_twice_and_by_the_main_job(here: Path, report: Report, tiny_flags: list[str]) -> None:
    flags = [*tiny_flags, "--limit", "4", "--out", "again", "--report"]
    assert run_verb("localize", flags) == 0
    first = shown(here, "again")
    assert report("again")[0] == 0
    assert shown(here, "again") == first


def test_out_and_gallery(here: Path, report: Report) -> None:
    assert report("run", "--out", "page.html", "--gallery", "3")[0] == 0
    assert len(data_of((here / "page.html").read_text())["items"]) == 3
    assert (here / "page.md").is_file()
    assert not (here / "run" / "report.html").exists()
    assert report("run", "--gallery", "0")[0] == 0
    assert 'id="gallery"' not in shown(here)


def test_a_run_without_truth(here: Path, report: Report) -> None:
    assert report("blind")[0] == 0
    html = shown(here, "blind")
    assert "No ground truth, so no metrics. <code>boxes</code> or <code>masks</code> adds true boxes." in html
    assert all(item["iou"] is None and item["layers"] for item in data_of(html)["items"])


def test_true_boxes_that_come_later(here: Path, report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    assert report("run", "--gallery", "0")[0] == 0
    assert report("blind", "--gallery", "0", "--boxes", "boxes.csv")[0] == 0

    def figures(name: str) -> str:
        text = (here / name / "report.md").read_text()
        return text[: text.index("## The run")].split("\n", 1)[1]

    assert figures("blind") == figures("run")
    assert "CorLoc class-wise" in figures("blind")
    for runs in (["run", "blind"], ["blind", "run"], ["blind", "blind", "--boxes", "boxes.csv"]):
        assert run_verb("compare-runs", runs) == 0
        assert "6 items in 6 images that all runs judged." in capsys.readouterr().out
    for runs in (["blind", "run"], ["blind", "blind", "--boxes", "boxes.csv"]):
        assert report(*runs, "--gallery", "0")[0] == 0


def test_true_masks_that_come_later(here: Path, report: Report) -> None:
    (here / "masks" / "red").mkdir(parents=True)
    for number in range(3):
        size_wh = Image.open(here / "photos" / f"{number:02d}.png").size
        mask = Image.new("L", size_wh)
        mask.paste(255, (5, 5, 30, 30))
        mask.save(here / "masks" / "red" / f"{number:02d}.png")
    assert report("blind", "--gallery", "0", "--masks", "masks")[0] == 0
    assert "3 items in 3 images" in (here / "blind" / "report.md").read_text()


def test_an_unfinished_run(here: Path, report: Report) -> None:
    run = here / "run"
    lines = (run / "localizations.jsonl").read_text().splitlines(keepends=True)
    (run / "parts").mkdir()
    (run / "parts" / "000000.jsonl").write_text("".join(lines[:3]))
    (run / "localizations.jsonl").unlink()
    change_manifest(run, complete=False)
    assert report("run")[0] == 0
    assert "This run is not finished: 2 of 8 images are there" in shown(here)
    assert len(data_of(shown(here))["items"]) == 3


def test_an_empty_run(here: Path, report: Report) -> None:
    run = here / "run"
    (run / "localizations.jsonl").write_text("")
    change_manifest(run, complete=False)
    assert report("run")[0] == 0
    assert "This run is empty" in shown(here)


def test_images_that_are_gone(here: Path, report: Report) -> None:
    for number in range(8):
        (here / "photos" / f"{number:02d}.png").unlink()
    assert report("run")[0] == 0
    html = shown(here)
    assert "CorLoc class-wise" in html
    data = data_of(html)
    assert data["items"]
    # The run kept them.
    assert all(item["layers"] for item in data["items"])
    photos = list(dict(data["photos"]).values())
    assert all(photo["uri"] == "" and "does not exist" in photo["reason"] for photo in photos)


def test_a_network_that_is_gone_is_not_missed(here: Path, report: Report) -> None:
    assert report("run")[0] == 0
    before = shown(here)
    (here / "tinynet.pth").unlink()
    (here / "tinynet.py").unlink()
    (here / "forward-passes.txt").unlink()
    assert report("run")[0] == 0
    assert shown(here) == before
    data = data_of(before)
    assert all(item["layers"] for item in data["items"])
    assert all(photo["uri"] for photo in dict(data["photos"]).values())
    assert not (here / "forward-passes.txt").exists()


@pytest.mark.parametrize("kind", ["detector", "self-training-round"])
def test_a_detector_has_no_map(here: Path, report: Report, kind: str) -> None:
    change_manifest(here / "run", kind=kind, detector={"arch": "fasterrcnn_small_cnn"})
    shutil.rmtree(here / "run" / "pictures")
    settings = yaml.safe_load((here / "run" / "config.yaml").read_text())
    data = {name: settings[name] for name in ("dataset", "root", "labels", "boxes")}
    (here / "run" / "config.yaml").write_text(yaml.safe_dump({"arch": "fasterrcnn_small_cnn", "data": data}))
    assert report("run", "--gallery", "2")[0] == 0
    data = data_of(shown(here))
    assert not any(item["layers"] for item in data["items"])
    assert all(photo["uri"] for photo in dict(data["photos"]).values())
    assert "because detectors and self-training make none" in str(data["layersReason"])


def test_a_data_set_that_has_moved(here: Path, report: Report) -> None:
    (here / "photos").rename(here / "elsewhere")
    status, _, said = report("run")
    assert status == 0
    assert (
        "wsloc: There are no true boxes and no photographs, because the data set cannot be opened: The folder" in said
    )
    assert "--root" in said
    gone = shown(here)
    assert "because the data set cannot be opened: The folder photos does not exist" in gone
    # What the run folder tells stands all the same.
    assert "CorLoc class-wise" in gone
    assert "The metrics shown are those of the run folder." in gone
    assert report("run", "--root", "elsewhere")[0] == 0
    html = shown(here)
    assert "cannot be opened" not in html
    assert all(item["layers"] for item in data_of(html)["items"])


def test_a_folder_without_its_configuration(here: Path, report: Report) -> None:
    (here / "run" / "config.yaml").unlink()
    assert report("run")[0] == 0
    assert "cannot be opened: The configuration run/config.yaml does not exist" in shown(here)


def test_records_that_were_mended_are_told(here: Path, report: Report) -> None:
    path = here / "run" / "localizations.jsonl"
    first, *rest = path.read_text().splitlines(keepends=True)
    fields = json.loads(first)
    odd = json.dumps({**fields, "probability": float("nan"), "class_name": "<b>&red"})
    path.write_text(first + first + odd + "\n" + "".join(rest))
    assert report("run")[0] == 0
    html = shown(here)
    assert "1 boxes occur twice; the first of each counts." in html
    assert "1 boxes have a score that is not a number from 0 to 1; the nearest counts, or 0 if there is none." in html
    (item,) = [item for item in data_of(html)["items"] if item["class"] == "<b>&red"]
    assert (item["probability"], item["layers"]) == (0.0, None)
    assert "<b>&red" not in html


def test_two_runs(here: Path, report: Report) -> None:
    shutil.copytree(here / "run", here / "other")
    path = here / "other" / "localizations.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        record["box_xyxy"] = [5, 5, 30, 30]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    status, printed, error = report("run", "other")
    assert status == 0, error
    assert "Report: report.html (" in printed
    html = (here / "report.html").read_text()
    assert "2 runs compared" in html
    assert [item["ious"][1] for item in data_of(html)["items"]] == [1.0] * 6  # type: ignore[index]
    assert (here / "report.md").read_text().startswith("# run and other\n")


def test_two_runs_without_true_boxes(here: Path, report: Report) -> None:
    shutil.copytree(here / "blind", here / "other")
    lines = [json.loads(line) for line in (here / "other" / "localizations.jsonl").read_text().splitlines()]
    lines[-1]["box_xyxy"] = [0, 0, 1, 1]
    (here / "other" / "localizations.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in (lines[0], *lines[2:]))
    )
    status, _, error = report("blind", "other")
    assert status == 0, error
    html = (here / "report.html").read_text()
    assert "how far the runs agree, and not which of them is right" in html
    items: Any = data_of(html)["items"]
    assert all(item["iou"] > 0.999 for item in items[2:])
    assert len(items) > 2
    assert sorted(len(item["boxes"]) for item in items[:2]) == [1, 2]
    assert all(item["iou"] < 0.1 for item in items[:2])
    assert all(data_of(html)["photos"][item["image"]]["uri"] for item in items)  # type: ignore[index]
    assert (here / "report.md").read_text().startswith("# blind and other\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "Nothing to report on: give a run folder."),
        ("none", "none is not a run folder: it has no manifest.json"),
        ("photos", "photos is not a run folder"),
        ("old", "old was written by another version of wsloc (schema 99"),
        ("damaged", "is damaged"),
        ("run --gallery -1", "--gallery must be between 0 and 2000, not -1"),
        ("run --gallery many", "--gallery"),
        ("run --out page.txt", "--out must end in .html, not page.txt"),
        ("run --out none/page.html", "The folder none does not exist; create it, or give another --out."),
        ("run --out folder.html", "folder.html is a folder; give another --out."),
        ("blind --boxes none.csv", "The boxes none.csv do not exist"),
        ("blind --masks none", "The folder none does not exist; --masks names"),
        ("run foreign", "The runs have no image in common"),
        ("run --rot x", "--rot"),
    ],
)
def test_bad_input_is_one_sentence(here: Path, words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("old", "damaged", "foreign"):
        shutil.copytree(here / "run", here / name)
    change_manifest(here / "old", schema_version=99)
    (here / "damaged" / "localizations.jsonl").write_text("{")
    records = (here / "run" / "localizations.jsonl").read_text().replace('"image_id": "', '"image_id": "other-')
    (here / "foreign" / "localizations.jsonl").write_text(records)
    (here / "folder.html").mkdir()
    capsys.readouterr()
    assert run_verb("report", words.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert "Traceback" not in captured.err


def test_the_script(here: Path) -> None:
    command = [sys.executable, SCRIPT, "run", "--gallery", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(here)})
    assert done.returncode == 0, done.stderr
    assert (here / "run" / "report.html").is_file()


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom wsloc.cli import main\ntry:\n    main(['report', '--help'])\nexcept SystemExit:\n    pass\n"
        "print('loaded:', sorted({'torch', 'torchvision', 'cv2', 'numpy', 'PIL', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stdout
    assert all(flag in done.stdout for flag in ("RUN", "--out", "--gallery", "--root", "--boxes", "--masks"))
    assert "(default: )" not in done.stdout
