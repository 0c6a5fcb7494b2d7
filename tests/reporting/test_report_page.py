"""The page: what stands on it, that it needs nothing else, and that nothing of a run is taken for markup."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import SIZE_WH, Page, found, hand_run, judged_run, true_of

from wsloc.cli.options import parse_localize
from wsloc.evaluation import Evaluation
from wsloc.judging.judged_run import JudgedRun, write_metrics
from wsloc.records import Detection, Failure
from wsloc.reporting.comparison_report import build_comparison_report
from wsloc.reporting.page import comparison_page, run_page
from wsloc.reporting.report_model import RunReport, build_run_report
from wsloc.reporting.run_pictures import Photo, Pictures
from wsloc.reporting.text import run_text

BOX = (10.0, 10.0, 50.0, 40.0)
ODD = "</script><script>alert(1)</script>\"'&<!--"
WORDS = [ODD, "قطة", "猫", "🐈\u200d⬛", "a" * 300, "{{ 7 * 7 }}", "", "\u202eevil", "caf\udce9"]


def report_of(run: JudgedRun, most: int = 200) -> RunReport:
    return build_run_report(run, None, most)


def page_of(run: JudgedRun, most: int = 200) -> Page:
    return Page(run_page(report_of(run, most)))


def data_of(page: Page) -> dict[str, Any]:
    ((_, text),) = page.all("script", type="application/json")
    data: dict[str, Any] = json.loads(text)
    return data


def run_of_classes(names: Sequence[str]) -> JudgedRun:
    return judged_run(
        [found(f"image {n}", name, BOX) for n, name in enumerate(names)],
        [true_of(f"image {n}", {name: [BOX]}) for n, name in enumerate(names)],
    )


def test_figures_by_hand() -> None:
    page = page_of(hand_run())
    assert page.unbalanced == []
    # cat: one of two found; dog: none of two.
    assert page.texts("p", class_="big")[0] == "25.0%"
    rows = page.texts("tr")
    assert any(row.startswith("cat 2 50.0 62.5") for row in rows)
    assert any(row.startswith("dog 2 0.0 0.0") for row in rows)
    assert any(row.startswith("CorLoc class-wise 25.0 [") for row in rows)
    assert "3 images, 4 items: 2 boxes, 1 fallback among them, 1 failure" in page.text()
    assert "Outcome of 4 items" in page.text()
    assert any("1 read the image cannot be decoded: it is cut off c.jpg (dog)" in row for row in rows)
    assert "Of the 3 items not found, most are: nothing of the object (67 %)." in page.text()
    assert page.texts("span", class_="pill") == ["complete"]


def test_average_precision_by_hand() -> None:
    """By quality the wrong box comes first: precision 1/2 up to recall 1/2 for the cat, nothing for the dog."""
    rows = page_of(hand_run()).texts("tr")
    assert "VOC mAP, all points 12.5" in rows
    assert "COCO AP50 12.6" in rows  # 51 of 101 recalls


DETECTOR = {"kind": "detector", "detector": {"arch": "fasterrcnn_small_cnn"}}
ROUND = DETECTOR | {"kind": "self-training-round", "round": 2}


def run_by_detector(manifest: dict[str, Any], *methods: str) -> JudgedRun:
    """One image for each method."""
    return judged_run(
        [Detection(f"{n}", f"{n}.jpg", "cat", BOX, 0.5, 0.1, method, 0, SIZE_WH) for n, method in enumerate(methods)],
        [true_of(f"{n}", {"cat": [BOX]}) for n in range(len(methods))],
        manifest=manifest,
    )


@pytest.mark.parametrize(
    ("manifest", "methods", "subtitle", "facts"),
    [
        (
            DETECTOR,
            ["detector"],
            "voc · detector · fasterrcnn_small_cnn",
            ["Detector fasterrcnn_small_cnn", "Boxes 1 by detector"],
        ),
        (
            ROUND,
            ["rise", "detector", "detector+refined", "detector"],
            "voc · self-training, round 2 · fasterrcnn_small_cnn",
            ["Detector fasterrcnn_small_cnn", "Boxes 2 by detector, 1 by rise, 1 by detector+refined"],
        ),
        (ROUND | {"round": 0}, ["rise"], "voc · self-training, round 0", ["Boxes 1 by rise"]),
    ],
)
def test_boxes_of_a_detector_claim_no_map(
    manifest: dict[str, Any], methods: list[str], subtitle: str, facts: list[str]
) -> None:
    config = parse_localize(["--dataset", "voc", "--targets", "top6"])
    report = build_run_report(run_by_detector(manifest, *methods), config, 10)
    page = Page(run_page(report))
    assert page.texts("p", class_="sub") == [f"complete {subtitle}"]
    rows = page.texts("tr")
    assert [row for row in rows if row.startswith(("Detector", "Boxes"))] == facts
    assert not any(row.startswith(("Network", "Saliency", "Segmenter")) for row in rows)
    assert "COCO AP75 100.0" in rows
    assert ("the classifier's top 6" in page.text()) == (manifest["kind"] != "detector")
    text = run_text(report)
    assert "| COCO AP75 | 100.0 |" in text
    assert "gradient" not in text
    assert "grabcut" not in text


def test_average_precision_comes_first_where_a_detector_made_the_boxes() -> None:
    names = ["COCO AP", "COCO AP50", "COCO AP75", "VOC mAP, all points"]
    heads = page_of(run_by_detector(DETECTOR, "detector")).texts("h3")
    assert heads[:5] == [*names, "CorLoc class-wise"]
    assert page_of(hand_run()).texts("h3")[0] == "CorLoc class-wise"


@pytest.mark.parametrize(("flags", "told"), [([], True), (["--targets", "top1"], False), (["--class", "cat"], False)])
def test_it_is_told_that_labels_help(flags: list[str], told: bool) -> None:
    config = parse_localize(["--dataset", "voc", *flags])
    page = Page(run_page(build_run_report(hand_run(), config, 0)))
    assert ("it is higher than a detector's" in page.text()) == told


def test_one_item_is_no_items() -> None:
    page = page_of(judged_run([found("a", "cat", (0, 0, 5, 5))], [true_of("a", {"cat": [BOX]})], problems=("odd",)))
    text = page.text()
    assert "1 image, 1 item: 1 box, 0 fallbacks among them, 0 failures" in text
    assert "1 item in 1 image; percent" in text
    assert "One item is not found: nothing of the object." in text
    assert "1 problem in the annotations" in text
    assert ", a difference that may be chance." in text
    assert not re.search(r"\b1 (items|images|boxes|failures|problems)\b", text)


def test_what_the_script_is_told() -> None:
    data = data_of(page_of(hand_run()))
    assert [item["state"] for item in data["items"]] == ["box", "fallback", "failed", "missing"]
    assert data["items"][0] | {"layers": None} == {
        "image": "a",
        "file": "a.jpg",
        "class": "cat",
        "state": "box",
        "iou": 1.0,
        "probability": 0.9,
        "quality": 0.8,
        "boxes": [{"run": 0, "box": [10.0, 10.0, 50.0, 40.0]}],
        "true": [{"box": [10.0, 10.0, 50.0, 40.0], "difficult": False}],
        "size": [100, 80],
        "reason": "",
        "layers": None,
    }
    assert (data["judged"], data["comparison"]) == (True, False)


def assert_needs_nothing_else(html: str) -> None:
    page = Page(html)
    (policy,) = [own["content"] for own, _ in page.all("meta") if "http-equiv" in own]
    assert policy == ("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'")
    for _, own, _ in page.elements:
        for name in ("src", "href", "xlink:href", "action", "srcset", "data", "poster"):
            assert re.match(r"(#|data:|$)", own.get(name, "")), own
    (style,) = page.texts("style")
    assert "@import" not in style
    assert re.findall(r"url\(", style) == []
    (script,) = [text for own, text in page.all("script") if not own]
    # The name space of SVG is a name and is not fetched.
    assert re.findall(r"https?://[^\"]*", script) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|innerHTML|insertAdjacentHTML|document\.write", script)


def test_the_page_needs_nothing_else(voc_run: Path) -> None:
    assert_needs_nothing_else((voc_run / "report.html").read_text())


def test_every_id_is_there_once_and_every_reference_leads_somewhere(voc_run: Path) -> None:
    page = Page((voc_run / "report.html").read_text())
    assert page.unbalanced == []
    ids = [own["id"] for _, own, _ in page.elements if "id" in own]
    assert len(ids) == len(set(ids))
    for _, own, _ in page.elements:
        for name in ("aria-labelledby", "for", "list", "data-table"):
            assert name not in own or own[name] in ids, own
        if own.get("href", "").startswith("#"):
            assert own["href"][1:] in ids, own


def test_headings_and_alternatives(voc_run: Path) -> None:
    page = Page((voc_run / "report.html").read_text())
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    pictures = [own for own, _ in page.all("svg") if own.get("aria-hidden") != "true"]
    assert len(pictures) == 6
    assert all(own["role"] == "img" and len(own["aria-label"]) > 20 for own in pictures)
    assert all(own.get("scope") for own, _ in page.all("th"))


def test_the_page_of_a_real_run(voc_run: Path) -> None:
    page = Page((voc_run / "report.html").read_text())
    metrics = json.loads((voc_run / "metrics.json").read_text())["rows"][0]["metrics"]
    shown = page.texts("p", class_="big")
    assert shown[:3] == [
        f"{100 * metrics[name]['value']:.1f}%" for name in ("CorLoc class-wise", "CorLoc image-wise", "mean IoU")
    ]
    data = data_of(page)
    records = [json.loads(line) for line in (voc_run / "localizations.jsonl").read_text().splitlines()]
    boxes = {item["image"]: item for item in data["items"] if item["state"] == "box"}
    assert set(boxes) == {record["image_id"] for record in records}
    assert len(boxes) == 11
    assert all(
        len(item["layers"]) == 3 and all(uri.startswith("data:image/webp;base64,") for uri in item["layers"])
        for item in boxes.values()
    )
    assert all(data["photos"][image_id]["uri"].startswith("data:image/jpeg;base64,") for image_id in boxes)
    (failed,) = [item for item in data["items"] if item["state"] == "failed"]
    assert (failed["file"], failed["layers"], failed["iou"]) == ("JPEGImages/01.jpg", None, 0.0)
    assert data["photos"]["01"]["uri"] == ""
    assert data["photos"]["01"]["reason"].startswith("No picture: 01.jpg is not an image")
    assert "segmenter: grabcut" in page.texts("pre")[0]
    facts = page.text()
    assert all(word in facts for word in ("voc 2012 val", "Device cpu", "Duration", "wsloc localize"))


def test_what_stands_in_backquotes_is_code() -> None:
    page = page_of(judged_run([], None, notes=("`boxes` or `<b>` adds true boxes.",)))
    assert [text for _, text in page.all("code")] == ["boxes", "<b>"]
    assert page.unbalanced == []


@pytest.mark.parametrize("word", WORDS)
def test_odd_words_stay_words(word: str) -> None:
    run = judged_run(
        [found("a", word, BOX, file=word)],
        [true_of("a", {word: [BOX]})],
        [Failure("b", word, word, "read", word)],
        path=Path("runs") / (re.sub(r"[/\0]", "_", word)[:80] or "run"),
        manifest={
            "command": [word],
            "versions": {word: word},
            "device": word,
            "without_substitute": [[word, word]],
        },
        problems=(word,),
        notes=(word,),
    )
    report = replace(report_of(run), config_yaml=word)
    pictures = Pictures(reason=word)
    pictures.photos["a"] = Photo("", (0, 0), word)
    pictures.layers["a", word] = {"saliency": word, "seeds": "", "mask": ""}
    html = run_page(replace(report, pictures=pictures))
    page = Page(html)
    assert page.unbalanced == []
    assert len(page.all("script")) == 2
    assert "alert(1)" not in next(text for own, text in page.all("script") if not own)
    html.encode()
    # Bytes that are no text are shown as their escape, and stay what they are in the data.
    shown = word.encode(errors="backslashreplace").decode()
    assert page.all("bdi")[0][1] == shown
    assert [text for _, text in page.all("pre")] == ([shown] if word else [])
    data = data_of(page)
    assert [item["class"] for item in data["items"]] == [word, word]
    assert data["photos"]["a"]["reason"] == word
    assert_needs_nothing_else(html)


TEXT = st.text(st.characters(exclude_categories=()), max_size=20) | st.sampled_from(WORDS)


@settings(max_examples=40)
@given(st.lists(TEXT, min_size=1, max_size=4, unique=True))
def test_any_class_names(names: list[str]) -> None:
    page = page_of(run_of_classes(names))
    assert page.unbalanced == []
    assert len(page.all("script")) == 2
    assert [item["class"] for item in data_of(page)["items"]] == names
    shown = {text for _, text in page.all("bdi")}
    # A page turns the ends of lines into one kind, and has no zero characters.
    plain = {name.encode(errors="backslashreplace").decode() for name in names if not re.search(r"[\r\0]", name)}
    assert plain <= shown


def test_a_thousand_classes() -> None:
    page = page_of(run_of_classes([f"class {n}" for n in range(1000)]), 100)
    assert len(page.all("bdi")) == 1000
    assert page.all("input", class_="row-filter")
    assert len(data_of(page)["items"]) == 100
    assert "100 of 1,000 items" in page.text()


@pytest.mark.parametrize("complete", [True, False])
def test_an_empty_run(complete: bool) -> None:
    page = page_of(judged_run([], [], complete=complete, manifest={"images": 7}))
    banners = page.texts("p", class_="banner")
    assert banners[0] == "This run is empty: it has no box and no failure."
    assert any("This run is not finished: 0 of 7 images are there" in banner for banner in banners) != complete
    assert page.unbalanced == []
    assert not page.all("section", id="gallery")


def test_an_unfinished_run_says_so() -> None:
    run = judged_run([found("a", "cat", BOX)], [true_of("a", {"cat": [BOX]})], complete=False, manifest={"images": 10})
    page = page_of(run)
    assert page.texts("span", class_="pill") == ["not finished"]
    assert "1 of 10 images are there" in page.texts("p", class_="banner")[0]


def test_without_truth_there_are_galleries_by_score() -> None:
    page = page_of(judged_run([found("a", "cat", BOX)], None))
    assert page.texts("p", role="note") == ["No ground truth, so no metrics."]
    assert len(page.all("section", id="classes")) == 1
    assert not page.all("input", id="filter-low")
    presets = page.texts("button", class_="preset")
    assert presets == ["Most certain", "Median", "Least certain", "Fallback", "Failed"]
    assert data_of(page)["judged"] is False


def test_metrics_of_the_folder_stand_in_where_the_truth_is_gone(tmp_path: Path) -> None:
    judged = hand_run()
    made = report_of(judged)
    assert isinstance(made.evaluation, Evaluation)
    write_metrics(tmp_path, judged, made.evaluation, {"average precision": {"COCO AP": 0.123}})
    blind = judged_run(judged.contents.localizations, None, path=tmp_path)
    page = page_of(blind)
    assert page.texts("p", class_="big")[0] == "25.0%"
    assert "The metrics shown are those of the run folder." in page.texts("p", class_="banner")[0]
    assert "COCO AP 12.3" in page.texts("tr")
    (tmp_path / "metrics.json").write_text('{"rows": [1]}')
    assert page_of(blind).texts("p", class_="big") == []


def test_failures_are_grouped_by_reason() -> None:
    failures = [Failure(str(n), f"x/{n}.jpg", "cat", "read", f"{n}.jpg is not an image") for n in range(5)]
    failures.append(Failure("z", "z.jpg", "", "cut", "the cut found no foreground"))
    page = page_of(judged_run([], [], failures))
    rows = [row for row in page.texts("tr") if "read" in row or "cut" in row]
    assert rows[0].startswith("5 read the image is not an image x/0.jpg (cat) and 4 more")
    assert rows[1] == "1 cut the cut found no foreground z.jpg"


def test_the_same_bytes_twice() -> None:
    assert run_page(report_of(hand_run())) == run_page(report_of(hand_run()))


def several_of(*names: str) -> str:
    first = run_of_classes(names)
    assert first.truth is not None
    worse = [replace(record, box_xyxy=(0, 0, 100, 80)) for record in first.contents.localizations]
    runs = [
        replace(first.contents, path=Path("runs/first")),
        replace(first.contents, path=Path("runs") / "<td>second", localizations=tuple(worse)),
    ]
    config = parse_localize([])
    return comparison_page(build_comparison_report(runs, [config, config], first.truth.images, 3))


def test_several_runs() -> None:
    html = several_of("cat", "cow", "dog", ODD)
    page = Page(html)
    assert page.unbalanced == []
    assert_needs_nothing_else(html)
    (row,) = [row for row in page.texts("tr") if row.startswith("CorLoc class-wise")]
    assert row == "CorLoc class-wise -100.0 [-100.0, -100.0] 100.0 [100.0, 100.0] 0.0 [0.0, 0.0] 4"
    (row,) = [row for row in page.texts("tr") if row.startswith("cat")]
    assert row == "cat -100.0 [-100.0, -100.0] 1.000 100.0 0.0 1"
    (row,) = [row for row in page.texts("tr") if row.startswith("COCO AP50")]
    assert row == "COCO AP50 100.0 0.0"
    # Four items tell nothing of chance.
    assert page.all("td", class_="down") == []
    data = data_of(page)
    assert [run["name"] for run in data["runs"]] == ["first", "<td>second"]
    assert len(data["items"]) == 3
    assert data["items"][0]["ious"] == [1.0, round(1200 / 8000, 4)]
    assert [box["run"] for box in data["items"][0]["boxes"]] == [0, 1]
    assert page.texts("button", class_="preset") == ["Largest difference", "first ahead", "<td>second ahead"]


def test_runs_of_one_name_are_told_apart_by_their_paths() -> None:
    first = run_of_classes(["cat"])
    assert first.truth is not None
    runs = [replace(first.contents, path=Path(folder) / "run") for folder in "ab"]
    config = parse_localize([])
    report = build_comparison_report(runs, [config, config], first.truth.images, 3)
    assert report.comparison.names == ("a/run", "b/run")
