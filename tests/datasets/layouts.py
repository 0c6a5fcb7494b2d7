"""Tiny data sets in their genuine layouts. Each image has its object painted white, where the annotation says it is."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from wsloc.images import read_image

EXIF_ORIENTATION = 274
WIDE = (40, 32)
WNIDS = ("n01440764", "n02012849", "n03126707")


def picture(
    path: Path,
    painted_xyxy: Sequence[int] = (4, 5, 20, 25),
    orientation: int | None = None,
    size_wh: tuple[int, int] = WIDE,
) -> None:
    """A dark image, unlike any of another name, with a white box in the frame in which it is stored."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(path.name.encode())).integers(0, 40, (*size_wh[::-1], 3), dtype=np.uint8)
    x0, y0, x1, y1 = painted_xyxy
    noise[y0:y1, x0:x1] = 255
    exif = Image.Exif()
    if orientation is not None:
        exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(noise).save(path, exif=exif, **({} if path.suffix == ".png" else {"quality": 98, "subsampling": 0}))


def painted_box(path: Path) -> list[float]:
    """Where the white box lies in the image as it is shown, half-open."""
    rows, columns = np.nonzero(read_image(path).min(axis=2) > 140)
    return [float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)]


def xml(wnid: str, corners: Sequence[int], size_wh: tuple[int, int] = WIDE) -> str:
    """An annotation as the archive has it; the corners are pixels of the box."""
    sides = "".join(f"<{s}>{v}</{s}>" for s, v in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
    return (
        f"<annotation><source><database>ILSVRC_2012</database></source><size><width>{size_wh[0]}</width>"
        f"<height>{size_wh[1]}</height><depth>3</depth></size><object><name>{wnid}</name><difficult>0</difficult>"
        f"<bndbox>{sides}</bndbox></object></annotation>"
    )


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def imagenet(root: Path) -> Path:
    """Three images of val, the last of them turned by EXIF, and two of train, of which one has no annotation."""
    write(root / "LOC_synset_mapping.txt", "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\n")
    rows = (
        "00000003,n02012849 9 9 9 9 ",
        "00000001,n03126707 0 0 1 1 n03126707 5 5 6 6 ",
        "00000002,n01440764 1 1 2 2 ",
    )
    solution = "".join(f"ILSVRC2012_val_{row}\n" for row in rows)
    write(root / "LOC_val_solution.csv", f"ImageId,PredictionString\n{solution}")
    ilsvrc = root / "ILSVRC"
    lists = ilsvrc / "ImageSets" / "CLS-LOC"
    write(lists / "val.txt", "".join(f"ILSVRC2012_val_0000000{n} {n}\n" for n in (1, 2, 3)))
    write(lists / "train_cls.txt", "n01440764/n01440764_10026 1\nn02012849/n02012849_5 2\n")
    for number, wnid, corners, orientation in (
        (1, WNIDS[2], (0, 0, 19, 24), None),
        (2, WNIDS[0], (4, 5, 39, 31), None),
        (3, WNIDS[1], (2, 3, 9, 12), 6),
    ):
        stem = f"ILSVRC2012_val_0000000{number}"
        x0, y0, x1, y1 = corners
        picture(ilsvrc / "Data/CLS-LOC/val" / f"{stem}.JPEG", (x0, y0, x1 + 1, y1 + 1), orientation)
        write(ilsvrc / "Annotations/CLS-LOC/val" / f"{stem}.xml", xml(wnid, corners))
    for name in ("n01440764/n01440764_10026", "n02012849/n02012849_5"):
        picture(ilsvrc / "Data/CLS-LOC/train" / f"{name}.JPEG")
    write(ilsvrc / "Annotations/CLS-LOC/train/n01440764/n01440764_10026.xml", xml(WNIDS[0], (4, 5, 19, 24)))
    return root


CUB_FILES = (
    "001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg",
    "001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg",
    "002.Laysan_Albatross/Laysan_Albatross_0003_1033.jpg",
    "002.Laysan_Albatross/Laysan_Albatross_0082_524.jpg",
)
CUB_BOXES = ("6.0 7.0 10.0 12.0", "0.0 0.0 39.0 31.0", "1.0 2.0 3.0 4.0", "2.0 3.0 7.0 9.0")
"""x, y, width and height; both ends are pixels of the box."""


def cub(root: Path, segmentations: bool = True) -> Path:
    """Four images, one of train; the last is turned by EXIF. Segmentations lie beside the folder."""
    folder = root / "CUB_200_2011"
    write(folder / "classes.txt", "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n")
    write(folder / "images.txt", "".join(f"{n} {file}\n" for n, file in enumerate(CUB_FILES, 1)))
    write(folder / "image_class_labels.txt", "1 1\n2 1\n3 2\n4 2\n")
    write(folder / "train_test_split.txt", "1 0\n2 1\n3 0\n4 0\n")
    write(folder / "bounding_boxes.txt", "".join(f"{n} {box}\n" for n, box in enumerate(CUB_BOXES, 1)))
    for file, box in zip(CUB_FILES, CUB_BOXES, strict=True):
        x, y, width, height = (int(float(value)) for value in box.split())
        painted = (x, y, x + width + 1, y + height + 1)
        picture(folder / "images" / file, painted, 6 if file == CUB_FILES[3] else None)
        if segmentations:
            # Five annotators: four of them agree on the box, two saw more.
            fractions = np.full(WIDE[::-1], 102, dtype=np.uint8)
            fractions[painted[1] : painted[3], painted[0] : painted[2]] = 204
            path = (root / "segmentations" / file).with_suffix(".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(fractions).save(path)
    return root


def wsol(root: Path, split: str = "test") -> Path:
    """Three images of two classes, tables in ``metadata/SET``; the first has two boxes, the last is turned by EXIF."""
    tables = root / "metadata" / "SET" / split
    ids = [f"{split}/{name}.jpg" for name in ("a", "b", "c")]
    write(tables / "image_ids.txt", "".join(f"{image_id}\n" for image_id in ids))
    write(tables / "class_labels.txt", f"{ids[0]},0\n{ids[1]},1\n{ids[2]},1\n")
    write(tables / "image_sizes.txt", "".join(f"{image_id},40,32\n" for image_id in ids))
    write(
        tables / "localization.txt",
        f"{ids[0]},4,5,19,24\n{ids[0]},30,30,30,30\n{ids[1]},0,0,39,31\n{ids[2]},2,3,9,12\n",
    )
    picture(root / ids[0])
    picture(root / ids[1], (0, 0, 40, 32))
    picture(root / ids[2], (2, 3, 10, 13), 6)
    return root


def wsol_masks(root: Path, split: str = "test") -> Path:
    """Two images with masks, as OpenImages: two objects and an ignored region; one mask at half the image's size."""
    tables = root / "metadata" / split
    ids = [f"{split}/0bt_c3/{name}.jpg" for name in ("a", "b")]
    write(tables / "image_ids.txt", "".join(f"{image_id}\n" for image_id in ids))
    write(tables / "class_labels.txt", f"{ids[0]},0\n{ids[1]},0\n")
    stem = f"{split}/0bt_c3"
    rows = (f"{ids[0]},{stem}/a_1.png,{stem}/a_ignore.png", f"{ids[0]},{stem}/a_2.png,", f"{ids[1]},{stem}/b_1.png,")
    write(tables / "localization.txt", "".join(f"{row}\n" for row in rows))
    for image_id in ids:
        picture(root / image_id)
    for name, box, size_wh in (
        ("a_1", (0, 0, 4, 4), WIDE),
        ("a_2", (10, 10, 12, 12), WIDE),
        ("a_ignore", (2, 2, 8, 8), WIDE),
        ("b_1", (1, 2, 3, 4), (20, 16)),
    ):
        mask = np.zeros(size_wh[::-1], dtype=np.uint8)
        mask[box[1] : box[3], box[0] : box[2]] = 255
        Image.fromarray(mask).save(root / stem / f"{name}.png")
    return root
