"""The result of localizing some images: arrays, masks, and pictures in a notebook."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsloc import boxes
from wsloc.errors import ItemError, UserError, counted
from wsloc.images import read_image, scaled_wh
from wsloc.pipeline import ImageResult
from wsloc.records import BoxRecord, Failure, ImageRecord
from wsloc.run_lengths import decode_at
from wsloc.visualization.heatmap import draw_boxes, overlay_mask

if TYPE_CHECKING:
    import supervision

_MAX_SHOWN = 6
_SHOWN_SIDE = 320


@dataclass(frozen=True, slots=True, eq=False)
class Localizations:
    """Boxes found in some images, N in all.

    Attributes:
        images: all that were processed.
        records: one per box, in the order of the images.
        failures: what has no box, and why.
    """

    images: tuple[ImageRecord, ...]
    records: tuple[BoxRecord, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def boxes_xyxy(self) -> NDArray[np.float64]:
        """Float64 ``(N, 4)``, half-open, 0-based pixels of the image after EXIF transposition."""
        return boxes.as_boxes([record.box_xyxy for record in self.records])

    @property
    def scores(self) -> NDArray[np.float64]:
        """Float64 ``(N,)`` in [0, 1]: the quality of a box, computed without ground truth; a detector's score."""
        return np.array([record.score_by("quality") for record in self.records], dtype=np.float64)

    @property
    def class_names(self) -> tuple[str, ...]:
        """N class names."""
        return tuple(record.class_name for record in self.records)

    @property
    def image_index(self) -> NDArray[np.int64]:
        """Int64 ``(N,)``: which of the images each box is in."""
        index_of = {image.image_id: index for index, image in enumerate(self.images)}
        return np.array([index_of[record.image_id] for record in self.records], dtype=np.int64)

    @property
    def masks(self) -> tuple[NDArray[np.bool_] | None, ...]:
        """N masks, each bool ``(H, W)`` of its image's size; None if a box has none."""
        return tuple(
            None if record.mask_rle is None else decode_at(record.mask_rle, record.size_wh) for record in self.records
        )

    def of_image(self, index: int) -> Localizations:
        """The boxes of one of the images."""
        image = self.images[index]
        return Localizations(
            (image,),
            tuple(record for record in self.records if record.image_id == image.image_id),
            tuple(failure for failure in self.failures if failure.image_id == image.image_id),
        )

    def to_supervision(self) -> supervision.Detections:
        """The boxes of one image as ``supervision.Detections``; class ids number the names in order of appearance.

        Raises:
            UserError: if supervision is not installed, or the boxes are those of several images.
        """
        try:
            import supervision
        except ImportError as error:
            raise UserError("This needs supervision: pip install 'wsloc[supervision]'.") from error
        if len(self.images) != 1:
            raise UserError("supervision.Detections holds the boxes of one image: call of_image(index) first.")
        names = list(dict.fromkeys(self.class_names))
        masks = [mask for mask in self.masks if mask is not None]
        return supervision.Detections(
            xyxy=self.boxes_xyxy.astype(np.float32),
            mask=np.stack(masks) if masks and len(masks) == len(self) else None,
            confidence=self.scores.astype(np.float32),
            class_id=np.array([names.index(name) for name in self.class_names], dtype=int),
            data={"class_name": np.array(self.class_names)},
        )

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[BoxRecord]:
        return iter(self.records)

    def __repr__(self) -> str:
        said = f"{counted(len(self), 'box')} in {counted(len(self.images), 'image')}"
        if self.failures:
            said += f", {counted(len(self.failures), 'failure')}"
        shown = [
            f"  {record.class_name} {record.score_by('quality'):.2f} {[round(side, 1) for side in record.box_xyxy]}"
            for record in self.records[:_MAX_SHOWN]
        ]
        if len(self) > _MAX_SHOWN:
            shown.append(f"  ... and {len(self) - _MAX_SHOWN} more")
        return "\n".join([f"Localizations({said})", *shown])

    def _repr_png_(self) -> bytes | None:
        """The first images with their boxes and masks, for a notebook."""
        pictures = [picture for index in range(len(self.images)) if (picture := self._picture(index)) is not None]
        if not pictures:
            return None
        content = io.BytesIO()
        Image.fromarray(_side_by_side(pictures[:_MAX_SHOWN])).save(content, format="PNG")
        return content.getvalue()

    def _picture(self, index: int) -> NDArray[np.uint8] | None:
        try:
            rgb = read_image(self.images[index].source)
        except ItemError:
            return None
        zoom = _SHOWN_SIDE / max(rgb.shape[:2])
        size_wh = scaled_wh((rgb.shape[1], rgb.shape[0]), _SHOWN_SIDE)
        interpolation = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
        shown = np.asarray(cv2.resize(rgb, size_wh, interpolation=interpolation), dtype=np.uint8)
        own = self.of_image(index)
        for mask in own.masks:
            if mask is not None:
                small = cv2.resize(mask.astype(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST) > 0
                shown = overlay_mask(shown, small)
        return draw_boxes(shown, own.boxes_xyxy * zoom)


def collect(images: tuple[ImageRecord, ...], results: Iterable[ImageResult], min_score: float = 0) -> Localizations:
    """The results of some images, in their order, without boxes below a minimum score."""
    items = [item for result in results for item in result.items]
    found = (record for item in items for record in item.localizations)
    kept = tuple(record for record in found if record.score_by("quality") >= min_score)
    return Localizations(images, kept, tuple(item.failure for item in items if item.failure is not None))


def _side_by_side(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    height = max(len(picture) for picture in pictures)
    padded = [
        np.pad(picture, ((0, height - len(picture)), (0, 4), (0, 0)), constant_values=255) for picture in pictures
    ]
    joined: NDArray[Any] = np.concatenate(padded, axis=1)
    return joined.astype(np.uint8)
