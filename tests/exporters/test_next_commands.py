"""What is printed after an export, compared with what the tools ask for."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

import pytest
from made_run import CLASSES, SCENE, scene_records, write_photos, write_run

from wsloc.config import DataSettings
from wsloc.datasets import read_ground_truth
from wsloc.datasets.registry import open_images
from wsloc.exporters.export_settings import LayoutSettings, Media
from wsloc.exporters.exporting import export_run
from wsloc.exporters.formats import Export, next_commands


def exported(tmp_path: Path, name: str, media: Media, mask_pictures: bool = False) -> Export:
    source = write_photos(tmp_path / "photos", name, media)
    run = write_run(tmp_path / "run", scene_records())
    layout = LayoutSettings(media=media, mask_pictures=mask_pictures)
    return export_run(run, source, name, tmp_path / "out", layout=layout)


@pytest.mark.parametrize(("name", "folder"), [("voc", "VOCdevkit/VOC2012/JPEGImages"), ("yolo", "images")])
def test_images_that_stayed_are_asked_for_first(name: str, folder: str, tmp_path: Path) -> None:
    commands = next_commands(exported(tmp_path, name, "none"))
    assert commands[0] == ("first", f"put the images into {tmp_path / 'out' / folder}, named as images.csv says")
    shutil.rmtree(tmp_path)
    commands = next_commands(exported(tmp_path, name, "copy"))
    assert "first" not in dict(commands)
    assert (tmp_path / "out" / folder).is_dir()


def test_the_masks_need_their_images(tmp_path: Path) -> None:
    commands = dict(next_commands(exported(tmp_path, "coco", "copy", mask_pictures=True)))
    words = shlex.split(commands["the masks as truth"])
    assert (tmp_path / "out" / "train2017").samefile(words[words.index("--root") + 1])
    assert (tmp_path / "out" / "mask_pictures").samefile(words[words.index("--masks") + 1])


@pytest.mark.parametrize("media", ["none", "copy"])
def test_label_studio_is_told_of_a_storage_that_serves_all_tasks(media: Media, tmp_path: Path) -> None:
    """It serves a file below its document root whose folder's name begins with that of a storage, itself below it."""
    export = exported(tmp_path, "label-studio", media)
    commands = dict(next_commands(export))
    words = shlex.split(commands["Label Studio"])
    (root,) = (Path(word.partition("=")[2]) for word in words if word.startswith("LABEL_STUDIO_LOCAL_FILES_DOCUMENT"))
    (line,) = (line for line in commands["there, in a new project"].splitlines() if "storage" in line)
    storage = line.partition(" at ")[2].partition(";")[0]
    assert root in Path(storage).parents
    for task in json.loads((export.path / "tasks.json").read_text()):
        url = urlparse(task["data"]["image"])
        assert url.path == "/data/local-files/"
        (file,) = parse_qs(url.query)["d"]
        assert (root / file).is_file()
        assert str((root / file).parent).startswith(storage)


def test_what_label_studio_exports_comes_back_as_truth(tmp_path: Path) -> None:
    """In the shape of its COCO with images: all numbers from 0, images below ``images`` with a hash before the name."""
    export = exported(tmp_path, "label-studio", "copy")
    unzipped = tmp_path / "project-1 at 2026"
    (unzipped / "images").mkdir(parents=True)
    images, annotations = [], []
    for number, task in enumerate(json.loads((export.path / "tasks.json").read_text())):
        name = Path(unquote(task["data"]["image"])).name
        shutil.copy(export.path / "images" / name, unzipped / "images" / f"0123abcd__{name}")
        ((region,),) = (prediction["result"] for prediction in task["predictions"])
        width, height, value = region["original_width"], region["original_height"], region["value"]
        images.append({"width": width, "height": height, "id": number, "file_name": f"images/0123abcd__{name}"})
        box = [value["x"] * width / 100, value["y"] * height / 100]
        box += [value["width"] * width / 100, value["height"] * height / 100]
        category = CLASSES.index(value["rectanglelabels"][0])
        annotations.append(
            {"id": number, "image_id": number, "category_id": category, "segmentation": [], "bbox": box, "ignore": 0}
            | {"iscrowd": 0, "area": box[2] * box[3]}
        )
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
    document = {"images": images, "categories": categories, "annotations": annotations, "info": {}}
    (unzipped / "result.json").write_text(json.dumps(document, indent=2))

    (line,) = (line for title, line in next_commands(export) if title.startswith("corrected boxes as truth"))
    words = shlex.split(line.replace("UNZIPPED", shlex.quote(str(unzipped))))
    assert words[:3] == ["wsloc", "evaluate", str(tmp_path / "run")]
    (tmp_path / "labels.csv").write_text("".join(f'{file},"{name}"\n' for file, _, name, _ in SCENE))
    settings = DataSettings("folder", tmp_path / "photos", labels=tmp_path / "labels.csv", annotations=Path(words[-1]))
    truth = read_ground_truth(settings, open_images(settings))
    assert truth is not None
    assert truth.problems == ()
    for file, _, class_name, box in SCENE:
        assert truth.images[file].class_names == (class_name,)
        assert truth.images[file].boxes_xyxy[0].tolist() == pytest.approx(box, abs=0.1)


@pytest.mark.parametrize("name", ["coco", "cvat", "label-studio"])
@pytest.mark.parametrize("media", ["none", "copy"])
def test_corrected_boxes_are_not_those_of_the_export(name: str, media: Media, tmp_path: Path) -> None:
    """Boxes judged against the file that they were written to would all be right."""
    export = exported(tmp_path, name, media)
    (line,) = (line for title, line in next_commands(export) if title.startswith("corrected boxes as truth"))
    words = shlex.split(line)
    assert words[:4] == ["wsloc", "evaluate", str(tmp_path / "run"), "--annotations"]
    assert not Path(words[4]).exists()


@pytest.mark.parametrize("lowest", [-1, 0, 1])
def test_torchvision_takes_no_class_for_the_background(lowest: int, tmp_path: Path) -> None:
    source, run = write_photos(tmp_path / "photos"), write_run(tmp_path / "run", scene_records())
    source = replace(source, category_ids=tuple(range(lowest, lowest + len(CLASSES))))
    export = export_run(run, source, "coco", tmp_path / "out", layout=LayoutSettings(val_fraction=0.5))
    (title, command), *_ = next_commands(export)
    warned = [line for line in export.manifest["warnings"] if "torchvision's detectors have the background" in line]
    assert (len(warned) == 1) == ("takes the number 0 for the background" in title) == (lowest < 1)
    assert command.startswith("torchvision.datasets.CocoDetection" if lowest < 1 else "python train.py")
    # The numbers stay those of the data set.
    document = json.loads((export.path / "annotations/instances_train2017.json").read_text())
    assert [one["id"] for one in document["categories"]] == list(source.category_ids or ())
