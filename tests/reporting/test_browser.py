"""The report in a real browser: Debian's chromium and chromium-driver."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_runs import found, hand_run, judged_run, true_of

from wsloc.cli.main import run_verb
from wsloc.cli.options import parse_localize
from wsloc.reporting.comparison_report import build_comparison_report
from wsloc.reporting.page import comparison_page, run_page
from wsloc.reporting.report_model import build_run_report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

ODD = "<script>alert('run')</script>" + "x" * 200
Driver = Any
Open = Callable[..., Driver]


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("chromium and chromedriver are not installed")
    # Told where both are, so that it fetches nothing.
    os.environ["SE_OFFLINE"] = "true"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--force-prefers-reduced-motion"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(service=Service(executable_path=chromedriver), options=options)
    yield started
    started.quit()


@pytest.fixture
def visit(driver: Driver) -> Iterator[Open]:
    """Opens a page; afterwards the browser must not have complained."""
    driver.get_log("browser")

    def open_page(path: Path, width: int = 1280, dark: bool = False) -> Driver:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.get(path.as_uri())
        return driver

    yield open_page
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.fixture(scope="module")
def page(voc_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the real run after one box was called a fallback and one was moved by hand."""
    run = tmp_path_factory.mktemp("browser") / "run"
    shutil.copytree(voc_run, run)
    lines = (run / "localizations.jsonl").read_text().splitlines()
    fallback, moved, *rest = map(json.loads, lines)
    fallback["fallback"] = "seeds"
    moved["box_xyxy"][2] -= 5
    (run / "localizations.jsonl").write_text("".join(json.dumps(fields) + "\n" for fields in (fallback, moved, *rest)))
    assert run_verb("report", [str(run)]) == 0
    return run / "report.html"


def cards(driver: Driver) -> list[str]:
    """Their texts, without asking the browser once for each."""
    script = "return [...document.querySelectorAll('.card')].map(card => card.textContent)"
    texts: list[str] = driver.execute_script(script)
    return texts


def ious(driver: Driver) -> list[float]:
    script = "return [...document.querySelectorAll('.card .score')].map(one => one.textContent)"
    return [float(text.removeprefix("IoU ")) for text in driver.execute_script(script) if text.startswith("IoU")]


def click(driver: Driver, selector: str) -> None:
    driver.find_element(By.CSS_SELECTOR, selector).click()


def slide(driver: Driver, name: str, value: float) -> None:
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
    driver.execute_script(script, driver.find_element(By.ID, f"filter-{name}"), value)


def test_presets_sort_and_choose(visit: Open, page: Path) -> None:
    driver = visit(page)
    assert len(cards(driver)) == 12
    best = ious(driver)
    assert best == sorted(best, reverse=True)
    click(driver, "[data-preset=worst]")
    assert ious(driver) == sorted(best)
    assert driver.find_element(By.CSS_SELECTOR, "[data-preset=worst]").get_attribute("aria-pressed") == "true"
    click(driver, "[data-preset=median]")
    middle = sorted([*best, 0.0])[6]
    away = [abs(value - middle) for value in ious(driver)]
    assert away == pytest.approx(sorted(away), abs=0.011)
    click(driver, "[data-preset=fallback]")
    assert ["00.jpg" in text for text in cards(driver)] == [True]
    click(driver, "[data-preset=failed]")
    (failed,) = cards(driver)
    assert "No picture: 01.jpg is not an image" in failed
    assert driver.find_element(By.ID, "shown-count").text == "1 of 12 items"


def test_filters(visit: Open, page: Path) -> None:
    driver = visit(page)
    every = ious(driver)
    slide(driver, "low", 0.3)
    assert ious(driver) == [value for value in every if value >= 0.3]
    slide(driver, "high", 0.5)
    assert ious(driver) == [value for value in every if 0.3 <= value <= 0.5]
    click(driver, "#reset")
    assert len(cards(driver)) == 12
    driver.find_element(By.ID, "filter-class").send_keys("dog")
    assert len(cards(driver)) == 6
    assert all("dog" in text and "cat" not in text for text in cards(driver))
    slide(driver, "quality", 1.0)
    assert cards(driver) == []
    assert driver.find_element(By.ID, "nothing").is_displayed()
    click(driver, "#reset-too")
    assert len(cards(driver)) == 12
    slide(driver, "probability", 0.05)
    # The failed item has no probability.
    assert len(cards(driver)) == 11
    driver.execute_script("document.getElementById('sort').value = 'file'")
    driver.execute_script("document.getElementById('sort').dispatchEvent(new Event('change'))")
    assert [text[-6:] for text in cards(driver)] == [f"{number:02d}.jpg" for number in [0, *range(2, 12)]]


def test_a_click_on_a_column_sorts(visit: Open, page: Path) -> None:
    driver = visit(page)

    def names() -> list[str]:
        rows = driver.find_elements(By.CSS_SELECTOR, "#class-table tbody th")
        return [row.text for row in rows]

    def values(column: int) -> list[float]:
        cells = driver.find_elements(By.CSS_SELECTOR, f"#class-table tbody tr > :nth-child({column})")
        return [float(cell.get_attribute("data-value")) for cell in cells]

    assert names() == ["cat", "dog"]
    click(driver, "#class-table th:nth-child(1) button")
    assert names() == ["dog", "cat"]
    click(driver, "#class-table th:nth-child(4) button")
    assert values(4) == sorted(values(4), reverse=True)
    head = driver.find_element(By.CSS_SELECTOR, "#class-table th:nth-child(4)")
    assert head.get_attribute("aria-sort") == "descending"
    click(driver, "#class-table th:nth-child(4) button")
    assert values(4) == sorted(values(4))
    assert len(driver.find_elements(By.CSS_SELECTOR, "#class-table [aria-sort]")) == 1


def test_enlarging_arrow_keys_and_esc(visit: Open, page: Path) -> None:
    driver = visit(page)
    viewer = driver.find_element(By.ID, "viewer")
    assert not viewer.is_displayed()
    first = cards(driver)[0]
    driver.find_element(By.CSS_SELECTOR, ".card").send_keys(Keys.ENTER)
    assert viewer.is_displayed()
    assert driver.find_element(By.ID, "viewer-place").text == "1 of 12"
    assert len(viewer.find_elements(By.CSS_SELECTOR, ".panels svg")) == 4
    assert "JPEGImages/" in viewer.text
    assert driver.find_element(By.ID, "viewer-title").text.split()[0] in first
    keys = webdriver.ActionChains(driver)
    keys.send_keys(Keys.ARROW_RIGHT).send_keys(Keys.ARROW_RIGHT).perform()
    assert driver.find_element(By.ID, "viewer-place").text == "3 of 12"
    webdriver.ActionChains(driver).send_keys(Keys.ARROW_LEFT).perform()
    assert driver.find_element(By.ID, "viewer-place").text == "2 of 12"
    click(driver, "#next")
    assert driver.find_element(By.ID, "viewer-place").text == "3 of 12"
    webdriver.ActionChains(driver).send_keys(Keys.ESCAPE).perform()
    assert not viewer.is_displayed()
    # Back where one was; the browser tells the page of the closing a moment later.
    place = "return document.activeElement.dataset.place"
    WebDriverWait(driver, 10).until(lambda driver: driver.execute_script(place) == "2")


def test_the_ends_of_the_gallery(visit: Open, page: Path) -> None:
    driver = visit(page)
    driver.find_element(By.CSS_SELECTOR, ".card").send_keys(Keys.ENTER)
    assert not driver.find_element(By.ID, "previous").is_enabled()
    webdriver.ActionChains(driver).send_keys(*[Keys.ARROW_RIGHT] * 20).perform()
    assert driver.find_element(By.ID, "viewer-place").text == "12 of 12"
    assert not driver.find_element(By.ID, "next").is_enabled()
    click(driver, "#close")
    assert not driver.find_element(By.ID, "viewer").is_displayed()


def test_a_run_that_kept_no_pictures_says_so(visit: Open, page: Path) -> None:
    shutil.copytree(page.parent, page.parent.with_name("bare"))
    bare = page.parent.with_name("bare")
    shutil.rmtree(bare / "pictures")
    assert run_verb("report", [str(bare)]) == 0
    driver = visit(bare / "report.html")
    driver.find_element(By.ID, "filter-class").send_keys("cat")
    (card,) = [one for one in driver.find_elements(By.CSS_SELECTOR, ".card") if "02.jpg" in one.text]
    driver.execute_script("arguments[0].click()", card)
    assert "the run kept none" in driver.find_element(By.ID, "viewer-note").text


def pressed(driver: Driver) -> list[list[str]]:
    """Which buttons of each card's item are pressed."""
    script = """return [...document.querySelectorAll('.item')].map(item =>
        [...item.querySelectorAll('.mark[aria-pressed=true]')].map(one => one.textContent.slice(2)))"""
    marks: list[list[str]] = driver.execute_script(script)
    return marks


def test_marks_go_from_the_page_into_an_export(visit: Open, page: Path, tmp_path: Path) -> None:
    driver = visit(page)
    driver.execute_script("localStorage.clear()")
    driver = visit(page)
    save = driver.find_element(By.ID, "review-save")
    assert not save.is_enabled()
    items = driver.find_elements(By.CSS_SELECTOR, ".item")
    items[0].find_element(By.CSS_SELECTOR, ".mark.accepted").click()
    items[1].find_element(By.CSS_SELECTOR, ".mark.accepted").click()
    items[1].find_element(By.CSS_SELECTOR, ".card").send_keys("r")  # in place of the other mark
    items[2].find_element(By.CSS_SELECTOR, ".card").send_keys("a", "a")  # and taken away
    assert pressed(driver)[:4] == [["Accept"], ["Reject"], [], []]
    items[3].find_element(By.CSS_SELECTOR, ".card").send_keys(Keys.ENTER)
    webdriver.ActionChains(driver).send_keys("r").perform()
    assert driver.find_element(By.CSS_SELECTOR, "#viewer-marks .rejected").get_attribute("aria-pressed") == "true"
    # A button that has the focus keeps it from item to item.
    click(driver, "#viewer-marks .accepted")
    webdriver.ActionChains(driver).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_LEFT, "r", Keys.ESCAPE).perform()
    assert driver.find_element(By.ID, "review-count").text == "1 accepted, 2 rejected"
    group = items[0].find_element(By.CSS_SELECTOR, ".marks")
    assert (group.aria_role, group.accessible_name[:10]) == ("group", "Review of ")
    # What failed has no box to mark.
    click(driver, "[data-preset=failed]")
    assert driver.find_elements(By.CSS_SELECTOR, ".item .mark") == []

    driver = visit(page)
    assert pressed(driver)[:4] == [["Accept"], ["Reject"], [], ["Reject"]]
    driver.find_element(By.CSS_SELECTOR, "#filter-mark [value=rejected]").click()
    assert pressed(driver) == [["Reject"], ["Reject"]]
    rejected = [text.rsplit(" ", 1)[-1] for text in cards(driver)]
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    click(driver, "#review-save")
    file = tmp_path / "run-review.json"
    WebDriverWait(driver, 20).until(lambda _: file.exists())
    review = json.loads(file.read_text())
    assert [len(review[name]) for name in ("accepted", "rejected")] == [1, 2]
    assert all(any(entry["image_id"] in text for text in rejected) for entry in review["rejected"])

    out = tmp_path / "out"
    arguments = [str(page.parent), "--format", "coco", "--review", str(file), "--min-score", "1", "--out", str(out)]
    assert run_verb("export", arguments) in (0, 1)
    manifest = json.loads((out / "export.json").read_text())
    assert manifest["counts"]["boxes"] == 1
    assert manifest["counts"]["boxes_left_out"]["rejected in `review`"] == 2
    click(driver, "#reset")
    click(driver, "#review-clear")
    assert pressed(visit(page)) == [[]] * 12


def test_marks_of_other_boxes_are_not_taken_over(visit: Open, tmp_path: Path) -> None:
    """A run of the same name whose box of the item is another one."""
    pages = []
    for x1 in (40, 41):
        run = judged_run([found("a", "cat", (1, 1, x1, 40))], None)
        pages.append(tmp_path / f"{x1}.html")
        pages[-1].write_text(run_page(build_run_report(run, None, 9)))
    visit(pages[0]).execute_script("localStorage.clear()")
    click(visit(pages[0]), ".mark.rejected")
    assert pressed(visit(pages[1])) == [[]]
    assert pressed(visit(pages[0])) == [["Reject"]]


def test_most_certain_is_of_the_highest_quality(visit: Open, tmp_path: Path) -> None:
    scores = {"a": (0.9, 0.2), "b": (0.1, 0.8), "c": (0.5, 0.5)}
    run = judged_run(
        [found(name, "cat", (1, 1, 40, 40), probability=p, quality=q) for name, (p, q) in scores.items()], None
    )
    path = tmp_path / "blind.html"
    path.write_text(run_page(build_run_report(run, None, 9)))
    driver = visit(path)
    assert [text[-5:] for text in cards(driver)] == ["b.jpg", "c.jpg", "a.jpg"]
    click(driver, "[data-preset=worst]")
    assert [text[-5:] for text in cards(driver)] == ["a.jpg", "c.jpg", "b.jpg"]
    assert driver.find_element(By.CSS_SELECTOR, "#sort option").text == "quality, highest first"


def test_boxes_lie_where_they_belong(visit: Open, page: Path, voc_run: Path) -> None:
    driver = visit(page)
    records = [json.loads(line) for line in (voc_run / "localizations.jsonl").read_text().splitlines()]
    # All four sides must tell: the box that lies farthest from the upper and the left border.
    record = max(records[2:], key=lambda one: min(one["box_xyxy"][:2]))
    assert min(record["box_xyxy"][:2]) > 1
    script = """const all = [...document.querySelectorAll('.card')];
        const card = all.find(one => one.textContent.includes(arguments[0]));
        const box = card.querySelector('.box.found');
        const sides = ['x', 'y', 'width', 'height'].map(name => box.getAttribute(name));
        return [card.querySelector('svg').getAttribute('viewBox'), sides];"""
    view, box = driver.execute_script(script, record["file"])
    assert view == "0 0 {} {}".format(*record["size_wh"])
    x0, y0, x1, y1 = record["box_xyxy"]
    assert [float(value) for value in box] == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=0.2)


def test_pictures_are_shown(visit: Open, page: Path) -> None:
    """The policy of the page lets its own pictures through."""
    driver = visit(page)
    script = """const done = arguments[0];
        const widthOf = async (uri) => {
            const one = new Image(); one.src = uri; await one.decode(); return one.width;
        };
        const uris = [...document.querySelectorAll('.card image')].map(one => one.getAttribute('href'));
        Promise.all(uris.map(widthOf)).then(done, () => done([]));"""
    widths = driver.execute_async_script(script)
    assert len(widths) == 11
    assert min(widths) >= 60


def test_the_dark(visit: Open, page: Path) -> None:
    script = "return getComputedStyle(document.body).backgroundColor + getComputedStyle(document.body).color"
    light = visit(page).execute_script(script)
    dark = visit(page, dark=True).execute_script(script)
    assert light == "rgb(246, 246, 243)rgb(27, 29, 35)"
    assert dark == "rgb(18, 19, 23)rgb(232, 233, 237)"


def odd_page(folder: Path) -> Path:
    """Names that are markup, very long, or not Latin; many cards; no pictures."""
    names = [ODD, "قطة سوداء", "猫", "y" * 200, *map(str, range(60))]
    run = judged_run(
        [found(f"{n}", name, (1, 1, 40, 40), file=f"{name[:120]}.jpg") for n, name in enumerate(names)],
        [true_of(f"{n}", {name: [(1, 1, 40, 30)]}) for n, name in enumerate(names)],
        notes=(ODD,),
        problems=(ODD,),
        manifest={"command": ["wsloc", ODD], "device": ODD},
    )
    path = folder / "odd.html"
    path.write_text(run_page(build_run_report(run, None, 200)))
    return path


def several(folder: Path) -> Path:
    first = hand_run().contents
    truth = hand_run().truth
    assert truth is not None
    config = parse_localize([])
    missed = replace(first.localizations[0], box_xyxy=(60, 60, 70, 70))
    second = replace(first, path=folder / "b", localizations=(missed, *first.localizations[1:]))
    runs = [replace(first, path=folder / ("n" * 120)), second]
    path = folder / "several.html"
    path.write_text(comparison_page(build_comparison_report(runs, [config, config], truth.images, 10)))
    return path


@pytest.mark.parametrize("which", ["run", "odd", "several"])
def test_a_phone_need_not_scroll_sideways(visit: Open, page: Path, tmp_path: Path, which: str) -> None:
    path = {"run": lambda _: page, "odd": odd_page, "several": several}[which](tmp_path)
    driver = visit(path, width=360)
    script = "const all = document.documentElement; return [all.scrollWidth, document.body.scrollWidth, innerWidth]"
    assert driver.execute_script(script) == [360, 360, 360]
    driver.execute_script("document.querySelector('.card').click()")
    script = """const viewer = document.getElementById('viewer'), {left, right} = viewer.getBoundingClientRect();
        return [left, right, viewer.scrollWidth - viewer.clientWidth];"""
    left, right, over = driver.execute_script(script)
    assert 0 <= left < right <= 360
    assert over == 0


def test_a_phone_shows_the_whole_of_the_order_and_the_badge_beside_its_line(visit: Open, page: Path) -> None:
    driver = visit(page, width=360)
    script = """const select = document.getElementById('sort'), line = document.querySelector('.sub');
        const text = document.createElement('span'); text.style.font = getComputedStyle(select).font;
        text.textContent = 'probability, highest first'; text.style.whiteSpace = 'nowrap'; line.append(text);
        const wanted = text.offsetWidth; text.remove();
        const pill = document.querySelector('.pill').getBoundingClientRect();
        return [select.clientWidth - wanted, pill.left - line.getBoundingClientRect().left];"""
    room, indented = driver.execute_script(script)
    assert room >= 45  # its borders, and the arrow
    assert indented == 0


def test_a_phone_shows_the_difference(visit: Open, tmp_path: Path) -> None:
    driver = visit(several(tmp_path), width=400)
    script = """const cell = document.querySelector('#overview tbody td');
        return [cell.textContent.trim(), cell.getBoundingClientRect().right];"""
    text, right = driver.execute_script(script)
    assert text.startswith(("+", "-"))
    assert right <= 400


def test_names_are_never_markup(visit: Open, tmp_path: Path) -> None:
    driver = visit(odd_page(tmp_path))
    assert driver.find_elements(By.CSS_SELECTOR, "main script") == []
    driver.find_element(By.ID, "filter-class").send_keys("<script>")
    assert len(cards(driver)) == 1
    assert ODD in cards(driver)[0]
    driver.find_element(By.CSS_SELECTOR, ".card").send_keys(Keys.ENTER)
    assert ODD in driver.find_element(By.ID, "viewer-title").text


def test_more_cards_come_when_asked_for(visit: Open, tmp_path: Path) -> None:
    driver = visit(odd_page(tmp_path))
    assert len(cards(driver)) == 48
    more = driver.find_element(By.ID, "more")
    assert more.text == "Show 16 more"
    driver.execute_script("arguments[0].click()", more)
    assert len(cards(driver)) == 64
    assert not more.is_displayed()


def test_a_class_is_found_among_many(visit: Open, tmp_path: Path) -> None:
    driver = visit(odd_page(tmp_path))
    driver.find_element(By.CSS_SELECTOR, ".row-filter").send_keys("猫")
    rows = driver.find_elements(By.CSS_SELECTOR, "#class-table tbody tr")
    assert [row.find_element(By.TAG_NAME, "th").text for row in rows if row.is_displayed()] == ["猫"]


def test_several_runs_in_their_colors(visit: Open, tmp_path: Path) -> None:
    driver = visit(several(tmp_path))
    assert len(cards(driver)) == 3
    click(driver, "[data-preset=ahead-0]")
    (card,) = cards(driver)
    assert "1.00 · 0.00" in card
    assert driver.find_element(By.CSS_SELECTOR, "[data-preset=ahead-1]").get_attribute("disabled") == "true"
