"""What of this machine the main job needs: what is there, and what to do about what is missing.

Nothing that may be missing is imported when this module is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from wsloc.errors import one_line
from wsloc.files.room import in_units, room
from wsloc.versions import NOT_INSTALLED, package_versions

_GIB = 2**30
_ENOUGH_GIB = 2
"""What VOC's archive or a network's weights need at most on a disk."""
_GIB_PER_IMAGE = 0.1
"""Of float32 activations that resnet50 keeps of an image of 224 px for the backward pass, rounded up."""
_OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        state: ``ok``; ``absent`` where the main job runs without it; ``broken`` where it does not run, or not rightly.
        text: what was found.
        remedy: what to do about it; empty if there is nothing to do.
    """

    state: Literal["ok", "absent", "broken"]
    text: str
    remedy: str = ""


def diagnose(arch: str, root: Path | None) -> Iterator[Finding]:
    """What there is, part by part; the last finding is whether a box was found in a picture.

    Args:
        arch: the network whose weights are looked for.
        root: the folder that would hold VOC's ``VOCdevkit``; None for that of the data set.
    """
    parts: dict[str, tuple[Callable[[], Iterable[Finding]], str]] = {
        "torch and torchvision": (_torch, "pip install --force-reinstall torch torchvision, both in one command"),
        "OpenCV": (
            _opencv,
            "where there is no screen, pip uninstall opencv-python, pip install opencv-python-headless",
        ),
        "the extras": (_extras, "pip install --force-reinstall wsloc"),
        "the files": (lambda: _files(arch, root), "the lines above may say why"),
        "the main job": (_main_job, "the lines above may say why"),
    }
    for part, (check, remedy) in parts.items():
        try:
            yield from check()
        except (ImportError, AttributeError, OSError, RuntimeError) as error:
            yield Finding("broken", f"{part}: {type(error).__name__} ({one_line(error)})", remedy)


def _torch() -> Iterator[Finding]:
    import torch
    import torchvision

    # An operator that is compiled: of a torchvision that was built for another torch it is missing, or fails.
    torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    yield Finding("ok", f"torch {torch.__version__} and torchvision {torchvision.__version__} are a pair")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            images = int(free / _GIB / _GIB_PER_IMAGE)
            text = f"CUDA: {torch.cuda.get_device_name(index)}, {in_units(free)} of {in_units(total)} free"
            yield Finding("ok", f"{text}: batches of about {images:,} images (resnet50, 224 px)")
    elif torch.version.cuda:
        remedy = "nvidia-smi says whether the driver sees it and knows this version"
        yield Finding(
            "absent", f"CUDA: this torch is made for CUDA {torch.version.cuda}, but there is no device", remedy
        )
    else:
        yield Finding("absent", "CUDA: this torch is made without it")
    mps = torch.backends.mps.is_available()
    yield Finding("ok" if mps else "absent", "MPS: " + ("there" if mps else "not there (Apple's GPUs)"))


def _opencv() -> Iterator[Finding]:
    import cv2

    versions = package_versions(_OPENCV)
    builds = [name for name in _OPENCV if versions[name] != NOT_INSTALLED]
    yield Finding("ok", f"OpenCV {cv2.__version__} ({' and '.join(builds) or 'not from pip'})")
    if len(builds) > 1:
        remedy = f"pip uninstall {' '.join(builds)}, then pip install {builds[0]}"
        yield Finding("broken", f"{len(builds)} builds of OpenCV overwrite each other's files", remedy)


def _extras() -> Iterator[Finding]:
    try:
        required = metadata.requires("wsloc") or []
    except metadata.PackageNotFoundError:
        yield Finding("absent", "extras: unknown, because wsloc is not installed", "pip install -e .")
        return
    for line in required:
        if extra := re.search(r"extra == ['\"]([\w-]+)", line):
            package = re.split(r"[^\w.-]", line, maxsplit=1)[0]
            version = package_versions([package])[package]
            text = f"extra {extra[1]}: {package} {version}"
            if version == NOT_INSTALLED:
                yield Finding("absent", text, f"pip install 'wsloc[{extra[1]}]'")
            else:
                yield Finding("ok", text)


def _files(arch: str, root: Path | None) -> Iterator[Finding]:
    """Where VOC and weights lie or would lie, and the room there."""
    import torch

    from wsloc.classifiers.architectures import weights_url
    from wsloc.registries import DATASETS

    voc = (root or DATASETS["voc"].default_root) / "VOCdevkit"
    years = [path.name for path in sorted(voc.glob("VOC2*"))]
    if years:
        yield Finding("ok", f"VOC: {', '.join(years)} in {voc.resolve()}")
    else:
        yield Finding(
            "absent", f"VOC: not in {voc.resolve()}", "`download=True` fetches it there, `root` names another"
        )
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    url = weights_url(arch)
    if url is None:
        yield Finding("ok", f"weights: those of {arch} are not fetched by torchvision")
    elif (file := cache / url.rpartition("/")[2]).is_file():
        yield Finding("ok", f"weights: {arch} in {file}")
    else:
        remedy = f"fetched on first use from {url}; without a connection, give a file with `weights`"
        yield Finding("absent", f"weights: {arch} is not in {cache}", remedy)
    for what, folder in {"runs": Path("runs"), "data": voc, "weights": cache}.items():
        free = room(folder)
        few = free < _ENOUGH_GIB * _GIB
        remedy = "make room, or give another folder" if few else ""
        yield Finding("broken" if few and what == "runs" else "ok", f"disk for {what}: {in_units(free)} free", remedy)


def _main_job() -> Iterator[Finding]:
    from skimage import data

    from wsloc.api.localizing import localize

    found = localize(data.chelsea(), "cat", model="demo")  # type: ignore[no-untyped-call]
    if len(found) == 1:
        yield Finding("ok", "the main job: the demo's network found a box in a picture of a cat")
    else:
        remedy = "pip install --force-reinstall wsloc"
        yield Finding("broken", "the main job: the demo's network found no box in a picture of a cat", remedy)
