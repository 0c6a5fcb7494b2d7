"""What to type next, for each format."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from wsloc.export.coco import ANNOTATIONS, CVAT_NAME, SPLIT_NAMES
from wsloc.export.exporting import Export
from wsloc.export.label_studio import INTERFACE, TASKS
from wsloc.export.mask_pictures import FOLDER
from wsloc.export.voc import DEVKIT
from wsloc.export.writer_context import TRAIN, VAL
from wsloc.export.yolo import DATA

_TORCHVISION_CLASSES = 91
"""Outputs of the detectors that torchvision's reference script trains with ``--dataset coco``."""
Commands = list[tuple[str, str]]


def next_commands(export: Export) -> Commands:
    """What the detectors' own tools take: a title and a command, or lines of Python, each."""
    commands = _COMMANDS[export.manifest["format"]](export)
    if export.manifest["layout"]["mask_pictures"]:
        commands.append(("the masks as truth", _masks_as_truth(export)))
    return commands


def _masks_as_truth(export: Export) -> str:
    images, masks = _quoted(export.image_folders[TRAIN]), _quoted(export.path / FOLDER)
    # What lies in sub-folders of its class needs no labels; a copy does.
    return f"wsloc localize --dataset folder --root {images} --labels CSV --masks {masks}"


def _coco(export: Export) -> Commands:
    files = {
        split: export.path / ANNOTATIONS / f"instances_{SPLIT_NAMES[split]}.json" for split in export.image_folders
    }
    commands = []
    copied, has_val = export.manifest["layout"]["media"] != "none", VAL in files
    largest = max((entry["id"] or 0) for entry in export.manifest["classes"])
    if copied and has_val and largest < _TORCHVISION_CLASSES:
        commands.append(
            (
                "torchvision, in vision/references/detection",
                "python train.py --dataset coco --model fasterrcnn_resnet50_fpn_v2 --weights-backbone "
                "ResNet50_Weights.IMAGENET1K_V2 --batch-size 2 --lr 0.0025 --data-path "
                + _quoted(export.path.absolute()),
            )
        )
    else:
        missing = (
            "its reference script wants a split val: --val-fraction 0.1"
            if copied and not has_val
            else "its reference script wants the images beside: --media copy"
            if not copied
            else f"its reference script has {_TORCHVISION_CLASSES} classes, and the largest number here is {largest}"
        )
        commands.append(
            (
                f"torchvision ({missing})",
                f"torchvision.datasets.CocoDetection({str(export.image_folders[TRAIN])!r}, {str(files[TRAIN])!r})",
            )
        )
    commands.append(
        (
            "Detectron2",
            "\n".join(
                ["from detectron2.data.datasets import register_coco_instances"]
                + [
                    f"register_coco_instances('wsloc_{split}', {{}}, {str(files[split].absolute())!r}, "
                    f"{str(export.image_folders[split].absolute())!r})"
                    for split in files
                ]
            ),
        )
    )
    commands.append(("corrected boxes as truth", _as_truth(export, files[TRAIN], SPLIT_NAMES[TRAIN])))
    return commands


def _as_truth(export: Export, file: Path, split: str) -> str:
    root = export.image_folders[TRAIN] if export.manifest["layout"]["media"] == "none" else export.path
    return f"wsloc localize --dataset coco --root {_quoted(root)} --annotations {_quoted(file)} --split {split}"


def _voc(export: Export) -> Commands:
    names = [entry["name"] for entry in export.manifest["classes"]]
    devkit = str((export.path / DEVKIT).absolute())
    return [
        *_images_first(export, DEVKIT / "JPEGImages"),
        ("torchvision", f"torchvision.datasets.VOCDetection({str(export.path)!r}, year='2012', image_set='train')"),
        (
            "Detectron2",
            "from detectron2.data.datasets import register_pascal_voc\n"
            f"register_pascal_voc('wsloc_train', {devkit!r}, 'train', 2012, {names!r})",
        ),
    ]


def _yolo(export: Export) -> Commands:
    data = _quoted((export.path / DATA).absolute())
    return [
        *_images_first(export, Path("images")),
        ("Ultralytics", f"yolo train data={data} model=yolo11n.pt epochs=100 imgsz=640"),
    ]


def _images_first(export: Export, folder: Path) -> Commands:
    if export.manifest["layout"]["media"] != "none":
        return []
    return [("first", f"put the images into {export.path / folder}, named as images.csv says")]


def _image_folder(export: Export) -> Commands:
    return [("Hugging Face", f"datasets.load_dataset('imagefolder', data_dir={str(export.path)!r})")]


def _label_studio(export: Export) -> Commands:
    images = export.image_folders[TRAIN].resolve()
    return [
        (
            "Label Studio",
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true "
            f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={_quoted(images.parent)} label-studio start",
        ),
        (
            "there, in a new project",
            f"labeling interface: the code of {export.path / INTERFACE}\n"
            f"cloud storage: a source storage of local files at {images}; save it, do not sync it\n"
            f"import: {export.path / TASKS}",
        ),
        (
            "corrected boxes as truth",
            "export as COCO with images, unzip, and then\n"
            "wsloc localize --dataset coco --root UNZIPPED --annotations UNZIPPED/result.json",
        ),
    ]


def _cvat(export: Export) -> Commands:
    file = export.path / ANNOTATIONS / f"instances_{CVAT_NAME}.json"
    return [
        ("CVAT", f"a task with the images of {export.image_folders[TRAIN]}; upload {file} as COCO 1.0"),
        ("corrected boxes as truth", _as_truth(export, file, "images")),
    ]


_COMMANDS: dict[str, Callable[[Export], Commands]] = {
    "coco": _coco,
    "voc": _voc,
    "yolo": _yolo,
    "imagefolder": _image_folder,
    "label-studio": _label_studio,
    "cvat": _cvat,
}


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
