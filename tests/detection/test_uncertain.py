"""Which boxes rank lowest, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wsloc.detection.inference import detection
from wsloc.detection.uncertain import by_certainty
from wsloc.records import BoxRecord, ImageRecord, Localization

BOX = (1.0, 2.0, 30.0, 40.0)


def localized(image_id: str, class_name: str, quality: float) -> Localization:
    """A box from a map; its probability ranks the other way around and does not count."""
    return Localization(
        image_id, image_id, class_name, BOX, 1 - quality, quality, 0.1, "cam", "grabcut", None, 0, (96, 96)
    )


def detected(image_id: str, class_name: str, score: float, method: str = "detector") -> BoxRecord:
    return detection(ImageRecord(image_id, image_id, b""), class_name, BOX, score, (96, 96), method=method)


def ids(records: list[BoxRecord]) -> str:
    return "".join(record.image_id for record in records)


QUALITIES: list[BoxRecord] = [localized(str(k), "cat", quality) for k, quality in enumerate((0.9, 0.2, 0.7, 0.4))]


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0, ""), (0.24, ""), (0.25, "1"), (0.5, "13"), (0.74, "13"), (0.99, "123")]
)
def test_the_lowest_qualities_rounded_down(fraction: float, expected: str) -> None:
    certain, uncertain = by_certainty(QUALITIES, fraction)
    assert ids(uncertain) == expected
    assert ids(certain) == "".join(image_id for image_id in "0123" if image_id not in expected)


def test_a_fraction_of_a_hundred_boxes_is_that_many() -> None:
    """0.29 * 100 is a little below 29 in floating point."""
    records: list[BoxRecord] = [localized(str(k), "cat", k / 100) for k in range(100)]
    assert [len(by_certainty(records, fraction)[1]) for fraction in (0.29, 0.57, 0.58)] == [29, 57, 58]


def test_each_class_has_its_own_ranks() -> None:
    lower = [replace(record, class_name="dog", quality=record.quality / 10) for record in QUALITIES]
    assert by_certainty([*QUALITIES, *lower], 0.25)[1] == [QUALITIES[1], lower[1]]


def test_boxes_that_a_detector_found_rank_above_those_that_stayed() -> None:
    records = [
        localized("a", "cat", 0.9),
        detected("b", "cat", 0.06),
        localized("c", "cat", 0.1),
        detected("d", "cat", 0.3, "detector+refined"),
        detected("e", "cat", 1.0, "pseudo-label"),
        detected("f", "cat", 0.5),
    ]
    for count in range(6):
        assert ids(by_certainty(records, (count + 0.5) / 6)[1]) == "".join(sorted("caebdf"[:count]))
