"""The second pass over a run: image by image, from what the run says to what a writer is given."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from wsloc.errors import ItemError, UserError
from wsloc.exporters import media
from wsloc.exporters.counts import NO_BOX, NOT_USABLE, Counts
from wsloc.exporters.export_settings import LayoutSettings, Media, SelectionSettings
from wsloc.exporters.first_pass import FirstPass, sort_out
from wsloc.exporters.formats import TRAIN, VAL, ExportImage, Format
from wsloc.exporters.in_place import InPlace
from wsloc.exporters.mask_pictures import write_mask_pictures
from wsloc.exporters.read_boxes import ImageBoxes, iter_images, leaves_root
from wsloc.exporters.selection import OUTSIDE_TOP_FRACTION, ScoredBox, TopFraction
from wsloc.files.names import distinct_stem, flat_stem
from wsloc.files.tar_index import path_below
from wsloc.images import read_header
from wsloc.progress import Progress
from wsloc.records import BoxRecord, Failure

IMAGES, PROBLEMS = "images.csv", "problems.txt"


@dataclass(slots=True, eq=False)
class Stream:
    """A run on its way into an export.

    Attributes:
        records: of the run, the same that the first pass read.
        root: folder of the data set.
        kind: the format.
        selection: which boxes.
        layout: how they are laid out.
        media_mode: what is done with the images.
        found: by the first pass.
        folder: of the export, while it grows.
        counts: filled on the way.
        progress: counts the images of the run.
        problem: the first image that cannot be used, one sentence.
    """

    records: Iterable[BoxRecord | Failure]
    root: Path
    kind: Format
    selection: SelectionSettings
    layout: LayoutSettings
    media_mode: Media
    found: FirstPass
    folder: Path
    counts: Counts
    progress: Progress
    problem: str = ""
    _taken: set[str] = field(default_factory=set)
    _in_place: InPlace = field(init=False)

    def __post_init__(self) -> None:
        self._in_place = InPlace(self.kind)

    def images(self) -> Iterator[ExportImage]:
        """The images of the export; before one is yielded, its file and mask pictures are written.

        Raises:
            OSError: if the export cannot be written.
            UserError: if the images cannot stay where they are.
        """
        top = TopFraction(dict(self.found.scores), self.selection.top_fraction)
        known: set[str] = set()
        with ExitStack() as stack:
            table = csv.writer(stack.enter_context(self._open(IMAGES)), lineterminator="\n")
            table.writerow(["image_id", "file", "exported_file", "split", "width", "height"])
            problems: TextIO | None = None
            for image in self.progress(iter_images(self.records), "export", "image", self.found.images):
                boxes = self._selected(image, top)
                self.counts.boxes_fixed.update(image.fixed)
                if image.image_id in known:
                    continue  # its failures, which are listed apart
                known.add(image.image_id)
                if not any(not box.uncertain for box in boxes) and not self.selection.keep_empty:
                    self.counts.images_left_out[NO_BOX] += 1
                    self._count_left_out(boxes, NO_BOX)
                    continue
                try:
                    exported = self._placed(image, boxes)
                except ItemError as error:
                    self.problem = self.problem or str(error)
                    problems = problems or stack.enter_context(self._open(PROBLEMS))
                    problems.write(f"{image.file}: {error}\n")
                    self.counts.images_left_out[NOT_USABLE] += 1
                    self._count_left_out(boxes, NOT_USABLE)
                    continue
                self._count(image, exported)
                table.writerow([exported.image_id, exported.file, exported.name, exported.split, *exported.size_wh])
                if self.layout.mask_pictures:
                    self.counts.without_mask += write_mask_pictures(self.folder, exported)
                yield exported

    def _open(self, name: str) -> Any:
        return (self.folder / name).open("w", encoding="utf-8", errors="backslashreplace", newline="")

    def _selected(self, image: ImageBoxes, top: TopFraction) -> tuple[ScoredBox, ...]:
        """The boxes to write; counts the others."""
        selected = sort_out(image, self.selection, self.found.review)
        for record, reason in selected.left_out:
            self.counts.leave_out(record, reason)
        boxes = []
        for box in selected.kept:
            is_best = top.next_is_best(box.record.class_name)
            if self.selection.uncertain == "drop" and not is_best:
                self.counts.leave_out(box.record, OUTSIDE_TOP_FRACTION)
            else:
                boxes.append(replace(box, uncertain=box.uncertain or not is_best))
        return tuple(boxes)

    def _count_left_out(self, boxes: tuple[ScoredBox, ...], reason: str) -> None:
        for box in boxes:
            self.counts.leave_out(box.record, f"in an image {reason}")

    def _placed(self, image: ImageBoxes, boxes: tuple[ScoredBox, ...]) -> ExportImage:
        """Write the image into the export; returns what the writer needs to know of it."""
        if leaves_root(image.file):
            raise ItemError(f"it is outside {self.root}")
        source = path_below(self.root, image.file)
        size_wh = image.boxes[0].size_wh if image.boxes else read_header(source).size_wh
        header = media.look_at(source, size_wh, self.media_mode, self.counts.media)
        split = VAL if image.image_id in self.found.val else TRAIN
        if self.media_mode == "none" and (
            reason := self._in_place.why_not(source, image.file, 1 if header is None else header.orientation)
        ):
            remedy = "leave `media` out, or give `media='copy'`, for copies under names of their own"
            raise UserError(f"{image.file} {reason}; {remedy}.")
        if self.media_mode == "none" and self.kind.finds_images_by_path:
            name = image.file
        else:
            name = self._free_stem(image.file) + (self.kind.suffix or media.suffix_of(source, header))
        if self.media_mode != "none":
            assert header is not None
            target = self.folder / self.kind.image_folders[split] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            media.place(source, target, header, self.media_mode, self.counts.media)
        return ExportImage(image.image_id, image.file, name, split, size_wh, boxes)

    def _free_stem(self, file: str) -> str:
        """A flat file name, unique on every file system; all images that share a name in the run get a hash."""
        stem, attempt = flat_stem(file), 0
        # Some file systems take A.jpg and a.jpg for one.
        while stem.casefold() in self._taken or stem.casefold() in self.found.shared_stems:
            stem = distinct_stem(file, attempt)
            attempt += 1
        self._taken.add(stem.casefold())
        return stem

    def _count(self, image: ImageBoxes, exported: ExportImage) -> None:
        self.counts.images[exported.split] += 1
        shown = set()
        for box in exported.boxes:
            of_class = self.counts.classes[box.record.class_name]
            of_class.ignored += box.uncertain
            of_class.boxes += not box.uncertain
            of_class.images += box.record.class_name not in shown
            shown.add(box.record.class_name)
        asked = {record.class_name for record in image.boxes} | {record.class_name for record, _ in image.faulty}
        self.counts.incomplete += bool(asked - shown) or image.image_id in self.found.failed
