"""A run is read twice, the same both times, and never held in memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from made_run import CLASSES, record, scene_records, write_photos, write_run

from wsloc.exporters import exporting
from wsloc.exporters.export_settings import LayoutSettings, SelectionSettings
from wsloc.exporters.exporting import export_run
from wsloc.exporters.source import Source
from wsloc.records import Failure, Localization
from wsloc.runs.record_lines import to_line

_BYTES_A_BOX, _MAX_BYTES_A_BOX = 4000, 1500


def write_part(run: Path, number: int, records: Iterable[Localization]) -> None:
    (run / "parts").mkdir(exist_ok=True)
    lines = "".join(map(to_line, records))
    (run / "parts" / f"{number:06d}.jsonl").write_text(lines, encoding="utf-8")


@pytest.mark.parametrize("class_name", [CLASSES[0], "new"])
def test_a_run_that_grows_between_the_passes(class_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, records = write_photos(tmp_path / "photos"), scene_records()
    run = write_run(tmp_path / "run", [], complete=False)
    write_part(run, 0, records[:3])
    first_pass = exporting.first_pass

    def grow(*arguments: object) -> object:
        found = first_pass(*arguments)  # type: ignore[arg-type]
        write_part(run, 1, [replace(one, class_name=class_name) for one in records[3:]])
        return found

    monkeypatch.setattr(exporting, "first_pass", grow)
    first = export_run(run, source, "coco", tmp_path / "first")
    assert first.manifest["counts"]["images"] == {"train": 3}
    monkeypatch.undo()
    assert export_run(run, source, "coco", tmp_path / "second").manifest["counts"]["images"] == {"train": 5}


def test_who_watches_knows_how_many_images_there_are(tmp_path: Path) -> None:
    source, records = write_photos(tmp_path / "photos"), scene_records()
    failures = [Failure(one.image_id, one.file, "no", "cut", "nothing was found") for one in (records[0], records[4])]
    run = write_run(tmp_path / "run", records[:4], failures)
    totals, seen = [], []

    def count(images, _what, _unit, total):
        totals.append(total)
        for image in images:
            seen.append(image.image_id)
            yield image

    export_run(run, source, "voc", tmp_path / "out", SelectionSettings(top_fraction=0.5), progress=count)
    assert totals == [len(seen)]
    # The failure of the first image stands apart from its box.
    assert seen == [one.image_id for one in [*records[:4], records[0], records[4]]]


@pytest.mark.parametrize("name", ["coco", "voc", "label-studio"])
def test_memory_does_not_grow_with_the_boxes(name: str, tmp_path: Path) -> None:
    """Names of images are kept, to tell what occurs twice, but neither boxes nor masks.

    The bound leaves room for tables of the interpreter's own that grow by jumps.
    """
    peaks = []
    counts = (20, 520)
    image = [record("", f"class {place}", (10 * place, 5, 10 * place + 9, 30), (60, 40)) for place in range(5)]
    layout = LayoutSettings(media="none")
    source = Source(tmp_path, tuple(f"class {place}" for place in range(5)))
    for images in counts:
        boxes = [
            replace(one, image_id=f"{number}.jpg", file=f"{number}.jpg", method=f"{number:0{_BYTES_A_BOX}}")
            for number in range(images)
            for one in image
        ]
        run = write_run(tmp_path / f"run {images}", boxes)
        del boxes
        tracemalloc.start()
        export = export_run(run, source, name, tmp_path / f"out {images}", layout=layout)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert export.manifest["counts"]["boxes"] == 5 * images
    assert (peaks[1] - peaks[0]) / (5 * (counts[1] - counts[0])) < _MAX_BYTES_A_BOX
