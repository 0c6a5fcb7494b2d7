"""The readers of wsloc that get files of others, each with sound files, and the words that such files are made of."""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save

from wsloc.classifiers.checkpoint import load_checkpoint
from wsloc.classifiers.labelmap import load_label_map
from wsloc.classifiers.load import build_from_checkpoint
from wsloc.classifiers.load_weights import load_weights
from wsloc.classifiers.weights_file import read_states
from wsloc.cli.options import parse_localize
from wsloc.config import DataSettings, LocalizeConfig
from wsloc.config_files import flatten, read_yaml, settings_of_run
from wsloc.datasets import read_ground_truth
from wsloc.datasets.dataset import Dataset
from wsloc.datasets.registry import open_images
from wsloc.detection.checkpoint import load_detector
from wsloc.detection.detector_settings import DetectorSettings
from wsloc.errors import ItemError, UserError
from wsloc.exporters.review import read_review
from wsloc.images import read_image
from wsloc.registries import DETECTORS
from wsloc.runs.read_run import read_run

WIDE = (40, 32)


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of file and who reads it.

    Attributes:
        files: that get the content under trial.
        readers: of these files; they may raise nothing but a ``UserError`` or an ``ItemError``.
        seeds: sound contents.
        words: that such files are made of.
        mended: puts right what chance hardly ever does, such as a length.
    """

    files: tuple[Path, ...]
    readers: tuple[Callable[[], object], ...]
    seeds: tuple[bytes, ...]
    words: tuple[str, ...]
    mended: Callable[[bytes], bytes] = bytes


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", WIDE, (90, 60, 30)).save(path)


def _read_data_set(data: DataSettings, dataset: Dataset | None = None) -> None:
    """Images and labels, unless they are given; boxes; masks."""
    dataset = open_images(data) if dataset is None else dataset
    truth = read_ground_truth(data, dataset)
    if truth is None or truth.read_masks is None:
        return
    for image in dataset.images:
        with contextlib.suppress(ItemError):
            truth.read_masks(image.image_id)


def voc(folder: Path) -> Target:
    """VOC's XML of an image, and of one that is missing: its size is that of the annotation."""
    year = folder / "VOCdevkit/VOC2012"
    _picture(year / "JPEGImages/a.jpg")
    _write(year / "ImageSets/Main/trainval.txt", "a\nb\n")
    _write(year / "ImageSets/Main/cat_trainval.txt", "a 1\nb 1\n")
    (year / "Annotations").mkdir()
    data = DataSettings("voc", folder)
    size = "<size><width>40</width><height>32</height><depth>3</depth></size>"
    found = (
        "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>20</xmax>"
        "<ymax>25.5</ymax></bndbox></object>"
    )
    seeds = (
        f"<annotation>{size}{found}</annotation>",
        f'<?xml version="1.0" encoding="latin-1"?>\n<annotation xmlns="x">{size}{found}{found}</annotation>',
        f"<list><annotation>{size}</annotation><annotation>{found}</annotation></list>",
    )
    return Target(
        tuple(year / f"Annotations/{name}.xml" for name in "ab"),
        (partial(_read_data_set, data, open_images(data)),),
        (*(text.encode() for text in seeds), seeds[0].encode("utf-16")),
        (
            *"<annotation> </annotation> <object> </object> <bndbox> <xmin> </xmin> <width> </width> <name>".split(),
            *"<difficult> 1e308 nan -1 99999999999999999999 &#0; &amp; <![CDATA[ ]]> <!DOCTYPE <!ENTITY".split(),
            *'<?xml version="1.0" encoding="utf-16" "utf-7" "hex" "idna" "cp037" ?>'.split(),
        ),
    )


def coco(folder: Path) -> Target:
    """The instances file of a data set, and the boxes of images in a folder."""
    _picture(folder / "photos/a.jpg")
    _picture(folder / "classes/cat/a.jpg")
    file = folder / "own.json"
    image = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 32}
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 5, 16, 20], "area": 320, "iscrowd": 0}
    outlines: tuple[Any, ...] = (
        [[4, 5, 20, 5, 20, 25, 4, 25]],
        {"size": [32, 40], "counts": [133, 20, 1127]},
        {"size": [32, 40], "counts": "U4d0l0"},
    )
    document = {"images": [image], "categories": [{"id": 1, "name": "cat", "supercategory": "animal"}]}
    seeds = [{**document, "annotations": [one]}, {**document, "annotations": []}]
    seeds += [{**document, "annotations": [{**one, "segmentation": outline}]} for outline in outlines]
    return Target(
        (file,),
        (
            partial(_read_data_set, DataSettings("coco", folder / "photos", annotations=file)),
            partial(_read_data_set, DataSettings("folder", folder / "classes", annotations=file)),
        ),
        tuple(json.dumps(seed).encode() for seed in seeds),
        _json_words({"images": [image], "annotations": [{**one, "segmentation": {"size": 0, "counts": 0}}]}),
    )


def tables(folder: Path) -> Target:
    """Labels and boxes as CSV and JSON lines, the list of the images to take, and the tables of wsolevaluation."""
    photos = folder / "photos"
    _picture(photos / "a.jpg")
    _picture(folder / "classes/cat/a.jpg")
    names = ("t.csv", "t.jsonl", "image_ids.txt", "class_labels.txt", "image_sizes.txt", "localization.txt")
    readers: list[Callable[[], object]] = []
    for name in names[:2]:
        readers += [
            partial(_read_data_set, DataSettings("folder", photos, labels=folder / name)),
            partial(_read_data_set, DataSettings("folder", folder / "classes", boxes=folder / name)),
        ]
    readers += [partial(_read_data_set, DataSettings("folder", folder / "classes", ids=folder / "t.csv"))]
    cells = {"image_ids": "", "class_labels": ",0", "image_sizes": ",40,32", "localization": ",4,5,19,24"}
    sound = {table: f"a.jpg{rest}" for table, rest in cells.items()}
    files = [folder / name for name in names[:2]]
    for tried in sound:
        for table, row in sound.items():
            _write(folder / tried / f"{table}.txt", f"{row}\n")
        files.append(folder / tried / f"{tried}.txt")
        readers.append(partial(_read_data_set, DataSettings("wsol", photos, annotations=folder / tried)))
    seeds = (
        "a.jpg,cat\n",
        'image;label\r\na.jpg;"cat;dog"\r\n',
        "path\tid\tspecies\na.jpg\t1\tcat\n",
        "image,class,x0,y0,x1,y1\ncat/a.jpg,cat,4,5,20,25\n",
        'a;cat;4,5;"5";2e1;25\n',
        '{"image": "a.jpg", "label": ["cat", "dog"]}\n{"image": "b.jpg", "label": "cat"}\n',
        '{"image": "cat/a.jpg", "class": "cat", "x0": 4, "y0": 5.5, "x1": 20, "y1": 25}\n',
        "cat/a.jpg\n",
        *(f"{row}\n" for row in sound.values()),
    )
    return Target(
        tuple(files),
        tuple(readers),
        tuple(text.encode() for text in seeds),
        (*'a.jpg ../ /etc C:\\ image label x0 nan 1e999 "" \ufeff \r\n'.split(" "), "\u0663", "9" * 400, "a" * 300),
    )


def tars(folder: Path) -> Target:
    """WebDataset: pictures and labels in a tar."""
    tar = folder / "s.tar"
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    label, number = b'{"label": ["cat", {"name": "dog"}], "box": null}', b"7"
    seeds = []
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=kind) as archive:
            # Only the other two formats have a way to write so long a name.
            name = "a" if kind == tarfile.USTAR_FORMAT else "b/" + "ä" * 60
            for suffix, content in (("png", picture.getvalue()), ("cls", number), ("json", label)):
                member = tarfile.TarInfo(f"{name}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        seeds.append(stream.getvalue().rstrip(b"\0") + bytes(1024))
    words = "ustar ././@LongLink path= size= 99 size= GNU.sparse.major=1 ../ /etc .jpg .png .cls .json .tar \x80"
    return Target((tar,), (partial(_read_tar, tar),), tuple(seeds), tuple(words.split()), _with_true_checksums)


def _read_tar(tar: Path) -> None:
    for image in open_images(DataSettings("webdataset", tar)).images:
        with contextlib.suppress(ItemError):
            read_image(image.path)


def _with_true_checksums(content: bytes) -> bytes:
    """Of what looks like the headers of a tar."""
    blocks = [bytearray(content[start : start + 512]) for start in range(0, len(content), 512)]
    for block in blocks:
        if block[257:262] == b"ustar" and len(block) == 512:
            block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * ord(" ") + sum(block[156:]))
    return b"".join(blocks)


def settings(folder: Path) -> Target:
    """YAML: the settings of a run, and a label map."""
    run, own = folder / "run", folder / "own.yaml"
    _write(run / "manifest.json", '{"schema_version": 2, "complete": true}')
    return Target(
        (own, run / "config.yaml"),
        (partial(read_yaml, own), partial(settings_of_run, run), partial(load_label_map, own, output_names=("a", "b"))),
        (*_SETTINGS, b"cat: [0, b]\ndog: 1\n", b"num_outputs: 2\nclasses:\n  cat:\n    relation: related\n    note: x\n"
         b"    outputs:\n      - {index: 1, name: b}\n"),
        (*_YAML_WORDS, *"num_outputs: classes: outputs: relation: same none note: index: name: wnid:".split()),
    )  # fmt: skip


def flags(folder: Path) -> Target:
    """YAML that becomes flags: hundreds of times slower to read than the same settings of a run."""
    own = folder / "own.yaml"
    return Target((own,), (partial(parse_localize, ["--config", str(own)]),), _SETTINGS, _YAML_WORDS)


_SETTINGS = (
    b"dataset: folder\nroot: photos\nclasses: [cat, 'a b']\nmethod: cam\nbatch_size: 7\nlimit: null\n",
    b"arch: resnet18\nmean: [0.5, 0.25, .1]\nstd: [1, 1, 1]\ninput_size: 64\nseed: 0x10\nlimit: 4\n",
    b"# a comment\nimages: '*.jpg'\nclass: cat\nforeground_quantile: 9.5e-1\nbackground_quantile: 0.3\n",
)
_YAML_WORDS = (
    *"!!int !!float !!bool !!timestamp !!binary !!set !!python/object:os.system &a *a <<: --- ... [ ] { } |".split(),
    *"2001-99-99 0b 1:99:1e9 .inf .nan null true 0x 0o 1e400 -1 -- \ufeff \x85 \u2028 \\x00 \\ud800".split(),
    *(f"{name}: " for name in flatten(LocalizeConfig())),
    "9" * 400,
)


def weights(folder: Path) -> Target:
    """A network's weights, as PyTorch saves them in its two ways and as safetensors, also with a checkpoint's info."""
    file = folder / "w.pth"
    state = {"weight": torch.eye(2), "bias": torch.zeros(2)}
    nested = {"epoch": 3, "model": {f"module.{name}": value.half() for name, value in state.items()}}
    pickled = []
    for content in (state, nested):
        for zipped in (True, False):
            stream = io.BytesIO()
            torch.save(content, stream, _use_new_zipfile_serialization=zipped)
            pickled.append(stream.getvalue())
    checkpoint = _saved("wsloc", _CHECKPOINT)
    return Target(
        (file,),
        (
            partial(read_states, file),
            lambda: load_weights(torch.nn.Linear(2, 2), file, "tiny"),
            partial(load_checkpoint, file),
        ),
        (*pickled, save(state), checkpoint),
        (
            *_escaped_words(_CHECKPOINT),
            *"__metadata__ weight module. dtype shape data_offsets F32 BF16 F8_E4M3 BOOL U64 [2,2] [0,16]".split(),
            *"ctorch._utils _rebuild_tensor_v2 ctorch FloatStorage QuantStorage cbuiltins eval OrderedDict".split(),
        ),
        _with_true_length,
    )


def networks(folder: Path) -> Target:
    """A detector and a trained classifier, as far as their networks are built: their weights take megabytes."""
    file = folder / "w.safetensors"
    parts = {"wsloc": _CHECKPOINT, "wsloc_detector": _DETECTOR}
    return Target(
        (file,),
        (partial(_build, load_detector, file), partial(_build, build_from_checkpoint, file)),
        tuple(_saved(key, info) for key, info in parts.items()),
        (*_escaped_words([_CHECKPOINT, _DETECTOR, *DETECTORS]), "demo", "resnet18", "squeezenet1_0", "timm:", ":"),
        _with_true_length,
    )


_CHECKPOINT: dict[str, Any] = {
    "arch": "demo", "class_names": ["cat"], "input_size_hw": [64, 64], "mean": [0.5], "std": [1],
    "activation": "softmax",
}  # fmt: skip
_DETECTOR = {"class_names": ["cat"], "settings": asdict(DetectorSettings("fasterrcnn_small_cnn", backbone="none"))}


def _saved(key: str, info: object) -> bytes:
    return save({"weight": torch.zeros(1)}, metadata={key: json.dumps(info)})


def _build(load: Callable[[Path], object], file: Path) -> None:
    try:
        load(file)
    except UserError as error:
        if "weights of another" not in str(error) and "do not fit" not in str(error):
            raise


def _escaped_words(document: object) -> tuple[str, ...]:
    """Of JSON inside the text of another JSON."""
    return tuple(json.dumps(word)[1:-1] for word in _json_words(document))


def _with_true_length(content: bytes) -> bytes:
    """Of what looks like safetensors: the header as long as it says."""
    header = re.match(rb"{.*} *", content[8:], re.DOTALL)
    return content if header is None else struct.pack("<Q", header.end()) + content[8:]


def records(folder: Path) -> Target:
    """The records and the manifest of a run, of today and of version 0.1.0; the marks of its report."""
    box = {
        "kind": "localization", "image_id": "a", "file": "a.jpg", "class_name": "cat", "box_xyxy": [1, 2, 3.5, 4],
        "area_fraction": 0.1, "method": "cam", "size_wh": [9, 9], "rank": None, "probability": 0.5, "quality": 0.5,
        "segmenter": "grabcut", "fallback": None, "component": 0, "mask_rle": {"size": [9, 9], "counts": "0a0"},
    }  # fmt: skip
    detection = {**box, "kind": "detection", "score": 0.75, "index": 1, "rank": 1}
    failure = dict.fromkeys(("image_id", "file", "class_name", "stage", "reason"), "x") | {"kind": "failure"}
    old = {"area_share" if key == "area_fraction" else key: value for key, value in box.items() if key != "kind"}
    manifest = {
        "schema_version": 2, "complete": True, "kind": None, "network": "demo", "images": 3, "command": ["wsloc"],
        "without_substitute": [["cat", "a kind"]], "timing": {"images": 3, "wall_seconds": 1.5},
        "versions": {"torch": "2"}, "detector": {"arch": "x"},
    }  # fmt: skip
    runs = {"new": manifest, "old": {"schema_version": 1, "complete": True}, "tried": manifest}
    for name, own in runs.items():
        _write(folder / name / "manifest.json", json.dumps(own))
        _write(folder / name / "localizations.jsonl", json.dumps(box) + "\n")
        _write(folder / name / "failures.jsonl", json.dumps(failure) + "\n")
    review = {"run": "r", "accepted": [{"image_id": "a", "class_name": "cat"}], "rejected": []}
    files = ("new/localizations.jsonl", "old/failures.jsonl", "tried/manifest.json", "review.json")
    lines = "".join(json.dumps(record) + "\n" for record in (box, box, detection, failure))
    return Target(
        tuple(folder / name for name in files),
        (*(partial(read_run, folder / name) for name in runs), partial(read_review, folder / files[-1])),
        tuple(text.encode() for text in (lines, *map(json.dumps, (box, old, failure, manifest, runs["old"], review)))),
        _json_words([box, detection, failure, old, manifest, review]),
    )


def _json_words(document: object) -> tuple[str, ...]:
    rest = 'null true NaN -Infinity 1e400 -1 1.5 "" {} [] "\\ud800" "\\u0000"'.split()
    return (*(f'"{key}": ' for key in dict.fromkeys(_keys(document))), *rest, "9" * 400, "[" * 2000)


def _keys(document: object) -> Sequence[str]:
    """Of all objects of a JSON document."""
    if isinstance(document, dict):
        return [*document, *(key for value in document.values() for key in _keys(value))]
    return [key for value in document for key in _keys(value)] if isinstance(document, list) else []


TARGETS: dict[str, Callable[[Path], Target]] = {
    make.__name__: make for make in (voc, coco, tables, tars, settings, flags, weights, networks, records)
}
