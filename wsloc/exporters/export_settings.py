"""What an export contains and how it is laid out: plain values, as in :mod:`wsloc.config`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from wsloc.setting_checks import optional, require, require_above, require_range

Media = Literal["copy", "hardlink", "none"]
Outline = Literal["polygons", "boxes", "rle", "none"]


@dataclass(frozen=True)
class SelectionSettings:
    """Which boxes are exported."""

    score: Literal["quality", "probability"] = "quality"
    """score that ranks the boxes: quality (how well mask and map agree), or the classifier's probability"""
    min_score: float = 0.0
    """drop boxes with a lower score (0 to 1)"""
    top_fraction: float = 1.0
    """keep the best fraction of each class's boxes; the others are uncertain (above 0, at most 1)"""
    ignore_below: Annotated[float | None, optional("S", "none")] = None
    """boxes with a lower score are uncertain (0 to 1); needs uncertain ignore"""
    uncertain: Literal["drop", "ignore"] = "drop"
    """uncertain boxes: drop them (their objects then count as background), or write them as regions to ignore"""
    boxes_per_class: Annotated[int | None, optional("N", "all that the run has")] = None
    """maximum number of boxes per class and image, largest components first (>= 1)"""
    min_area: float = 0.0
    """drop boxes that cover a smaller fraction of the image (0 to 1)"""
    nms: Annotated[float | None, optional("IOU", "none")] = None
    """drop boxes whose IoU with a better box of the same class and image is above this (0 to 1)"""
    fallbacks: Literal["keep", "drop"] = "keep"
    """boxes of the seeds, used when the cut found no foreground"""
    review: Annotated[Path | None, optional("FILE", "none")] = None
    """marks saved from the page of a report: rejected items are left out, accepted ones kept whatever their scores"""
    keep_empty: bool = False
    """also write images without a box, as background"""

    def __post_init__(self) -> None:
        for name in ("min_score", "ignore_below", "min_area", "nms"):
            require_range(self, name, 0, 1)
        require_above(self, "top_fraction", 0, 1)
        require_range(self, "boxes_per_class", 1)
        require(
            self.ignore_below is None or self.uncertain == "ignore",
            "`ignore_below` selects boxes for `uncertain='ignore'`: give both, or `min_score` to drop them.",
        )


@dataclass(frozen=True)
class LayoutSettings:
    """How the files are laid out."""

    media: Annotated[Media | None, optional("copy|hardlink|none", "copy; none for label-studio and cvat")] = None
    """images: copies, hard links (a trainer that edits images in place edits the originals), or left in place;
    label-studio and cvat get links, and upright copies of turned images, where some cannot stay in place"""
    val_fraction: float = 0.0
    """fraction of each class's images that go to the split val, at least one (0 to below 1)"""
    segmentation: Annotated[Outline | None, optional("polygons|boxes|rle|none", "polygons")] = None
    """coco: mask outlines as polygons or run lengths, boxes as polygons, or none"""
    mask_pictures: bool = False
    """also write mask_pictures/CLASS/IMAGE.png: 255 is object"""

    def __post_init__(self) -> None:
        require(0 <= self.val_fraction < 1, f"`val_fraction` must be between 0 and 1, not {self.val_fraction}.")
