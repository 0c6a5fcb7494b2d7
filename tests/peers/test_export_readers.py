"""Exports read back by ``supervision`` and by Ultralytics' own data set class, which then trains on one."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

sv = pytest.importorskip("supervision", reason="supervision has an environment of its own: make peers")
pytest.importorskip("ultralytics", reason="ultralytics has an environment of its own: make peers")

sys.path.insert(0, str(Path(__file__).parents[1] / "exporters"))
from made_run import CLASSES, SCENE, scene_records, shows, write_photos, write_run  # noqa: E402

from wsloc.exporters.export_settings import LayoutSettings, Media, SelectionSettings  # noqa: E402
from wsloc.exporters.exporting import export_run  # noqa: E402
from wsloc.exporters.formats import Export  # noqa: E402

BOX_OF = {file: box for file, *_, box in SCENE}
SIZE_OF = {file: size_wh for file, size_wh, *_ in SCENE}
CLASS_OF = {file: class_name for file, _, class_name, _ in SCENE}


def exported(tmp_path: Path, name: str, media: Media = "copy") -> Export:
    source = write_photos(tmp_path / "photos")
    run = write_run(tmp_path / "run", scene_records())
    return export_run(run, source, name, tmp_path / "out", layout=LayoutSettings(media=media, mask_pictures=True))


def sources(export: Export) -> dict[str, str]:
    """The data set's file of each exported one."""
    rows = csv.DictReader((export.path / "images.csv").open(encoding="utf-8"))
    return {row["exported_file"]: row["file"] for row in rows}


def read_by_supervision(export: Export) -> Any:
    folder = str(export.image_folders["train"])
    if export.manifest["format"] == "coco":
        return sv.DetectionDataset.from_coco(folder, str(export.path / "annotations/instances_train2017.json"))
    if export.manifest["format"] == "voc":
        return sv.DetectionDataset.from_pascal_voc(folder, str(export.path / "VOCdevkit/VOC2012/Annotations"))
    return sv.DetectionDataset.from_yolo(folder, str(export.path / "labels/train"), str(export.path / "data.yaml"))


@pytest.mark.parametrize("media", ["copy", "hardlink"])
@pytest.mark.parametrize(("name", "within"), [("coco", 0.1), ("yolo", 0.1), ("voc", 0.5)])
def test_supervision(name: str, within: float, media: Media, tmp_path: Path) -> None:
    export = exported(tmp_path, name, media)
    data, source_of = read_by_supervision(export), sources(export)
    assert sorted(data.classes) == sorted(CLASSES)
    seen = set()
    for path, image, found in data:
        file = source_of[Path(path).name]
        seen.add(file)
        assert image.shape[:2] == SIZE_OF[file][::-1]
        assert [data.classes[number] for number in found.class_id] == [CLASS_OF[file]]
        (box,) = found.xyxy.tolist()
        assert box == pytest.approx(BOX_OF[file], abs=within)
        assert shows(image, BOX_OF[file])
    assert seen == BOX_OF.keys()


def test_supervision_draws_the_outlines(tmp_path: Path) -> None:
    export = exported(tmp_path, "coco")
    data = sv.DetectionDataset.from_coco(
        str(export.image_folders["train"]), str(export.path / "annotations/instances_train2017.json"), force_masks=True
    )
    source_of = sources(export)
    for path, _, found in data:
        file = source_of[Path(path).name]
        (mask,) = found.mask
        x0, y0, x1, y1 = BOX_OF[file]
        cell = max(SIZE_OF[file]) / 16
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == pytest.approx((x0, y0, x1, y1), abs=cell + 1)


def test_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hugging_face = pytest.importorskip("datasets", reason="datasets has an environment of its own: make peers")
    monkeypatch.setattr(hugging_face.config, "HF_DATASETS_OFFLINE", True)
    source = write_photos(tmp_path / "photos")
    run, layout = write_run(tmp_path / "run", scene_records()), LayoutSettings(val_fraction=0.5)
    export = export_run(run, source, "imagefolder", tmp_path / "out", layout=layout)
    splits = hugging_face.load_dataset("imagefolder", data_dir=str(export.path), cache_dir=str(tmp_path / "cache"))
    assert set(splits) == {"train", "validation"}
    rows = [row for split in splits.values() for row in split]
    assert {row["image_id"] for row in rows} == BOX_OF.keys()
    for row in rows:
        file, (found,) = row["image_id"], row["objects"]["bbox"]
        assert row["image"].size == SIZE_OF[file]
        assert row["objects"]["class_name"] == [CLASS_OF[file]]
        assert (found[0], found[1], found[0] + found[2], found[1] + found[3]) == pytest.approx(BOX_OF[file], abs=0.1)
        assert shows(np.asarray(row["image"].convert("RGB")), BOX_OF[file])


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Ultralytics with settings of its own, and no way to a network."""
    settings = {"YOLO_CONFIG_DIR": str(tmp_path / "settings"), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, **settings, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("media", ["copy", "hardlink"])
def test_ultralytics(media: Media, tmp_path: Path, offline: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert offline
    from ultralytics.data import YOLODataset
    from ultralytics.data import utils as ultralytics_data

    # It would fetch a font for names of other scripts.
    monkeypatch.setattr(ultralytics_data, "check_font", lambda *_: None)
    export = exported(tmp_path, "yolo", media)
    before = (tmp_path / "photos" / "a.jpg").read_bytes()
    data = ultralytics_data.check_det_dataset(str(export.path / "data.yaml"), autodownload=False)
    assert data["names"] == dict(enumerate(CLASSES))
    assert "masks_dir" not in data
    dataset = YOLODataset(img_path=data["train"], data=data, task="detect", imgsz=96, augment=False, rect=False)
    source_of = sources(export)
    assert {source_of[Path(label["im_file"]).name] for label in dataset.labels} == BOX_OF.keys()
    for number, label in enumerate(dataset.labels):
        file = source_of[Path(label["im_file"]).name]
        width, height = SIZE_OF[file]
        assert tuple(label["shape"]) == (height, width)
        assert [data["names"][int(one)] for one in label["cls"].ravel()] == [CLASS_OF[file]]
        x, y, w, h = label["bboxes"][0] * (width, height, width, height)
        assert (x - w / 2, y - h / 2, x + w / 2, y + h / 2) == pytest.approx(BOX_OF[file], abs=0.1)
        image, stored_hw, _ = dataset.load_image(number)
        assert tuple(stored_hw) == (height, width)
        assert shows(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), BOX_OF[file])
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == before


@pytest.mark.slow
def test_ultralytics_trains_an_epoch(tmp_path: Path, offline: dict[str, str]) -> None:
    source = write_photos(tmp_path / "photos")
    records = [record for record in scene_records() if record.class_name.isascii()]
    export = export_run(
        write_run(tmp_path / "run", records), source, "yolo", tmp_path / "out", SelectionSettings(), LayoutSettings()
    )
    from wsloc.exporters.formats import next_commands

    (command,) = [command for title, command in next_commands(export) if title == "Ultralytics"]
    words = [word for word in command.split() if not word.startswith(("model=", "epochs=", "imgsz="))]
    assert words[:2] == ["yolo", "train"]
    program = str(Path(sys.executable).with_name("yolo"))
    # A model from its YAML, so that no weights are fetched.
    more = "model=yolo11n.yaml pretrained=False epochs=1 imgsz=64 batch=2 workers=0 device=cpu amp=False plots=False"
    done = subprocess.run(
        [program, *words[1:], *more.split(), f"project={tmp_path / 'runs'}"],
        env=offline, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "0 corrupt" in done.stdout + done.stderr or "corrupt" not in done.stdout + done.stderr
    assert list((tmp_path / "runs").rglob("results.csv"))
