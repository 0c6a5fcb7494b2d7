"""The images of a list of web addresses, fetched into a folder that a run reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Event

from wsloc.datasets.image_files import find_images
from wsloc.datasets.url_list import ListedUrl
from wsloc.errors import ItemError, UserError
from wsloc.files.atomic import write_atomic
from wsloc.files.csv_lines import csv_lines
from wsloc.files.held_folder import LOCK, HeldFolder
from wsloc.files.http_get import FetchError, GetLimits, http_get
from wsloc.images import usual_suffix
from wsloc.ordered import ordered_map
from wsloc.progress import Progress, silent

IMAGES, LABELS, FAILURES = "images", "labels.csv", "failures.csv"
_FAILURE = ("url", "reason")
_PAUSES = (1.0, 4.0)
"""Seconds before the second and the third attempt."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of a list.

    Attributes:
        images: there now, those that were there before among them.
        known: that were there before.
        retries: attempts after the first, of all images.
        reasons: how many images are not there, by the reason.
    """

    images: int
    known: int
    retries: int
    reasons: Counter[str]


@dataclass(frozen=True, slots=True)
class _Answer:
    """The file of an image, or why there is none; and how often it was tried again."""

    file: str
    reason: str
    retries: int = 0


def fetch_images(
    rows: Sequence[ListedUrl], out: Path, limits: GetLimits, workers: int, progress: Progress = silent
) -> Fetched:
    """Fetch the images of a list, and write the list of those that are there.

    The folder gets ``images/``, an image being named by a hash of its address, ``labels.csv`` with the rows
    ``image,label,url``, and ``failures.csv`` with the rows ``url,reason``. What is there already is not fetched again.

    Args:
        rows: of the list.
        out: the folder, a new or empty one, or that of an earlier call.
        limits: of each image.
        workers: how many are fetched at once.
        progress: counts the images.

    Raises:
        UserError: if the folder cannot be written or holds something else, or none of the images can be fetched.
    """
    urls = list(dict.fromkeys(row.url for row in rows))
    with _held(out):
        known = {path.stem: path.relative_to(out).as_posix() for path in find_images(out / IMAGES).images}
        with _pool(workers) as (pool, stopped):
            found = ordered_map(pool, partial(_fetch, out, known, limits, stopped), urls, window=4 * workers)
            answers = dict(zip(urls, progress(found, "fetch", "image", len(urls)), strict=True))
        there = [[answers[row.url].file, row.labels, row.url] for row in rows if answers[row.url].file]
        missing = [[url, answer.reason] for url, answer in answers.items() if not answer.file]
        write_atomic(out / FAILURES, csv_lines([_FAILURE, *missing]))
        if not there:
            why = f" ({missing[0][1]})" if missing else ""
            raise UserError(f"None of the images can be fetched{why}; see {out / FAILURES}.")
        write_atomic(out / LABELS, csv_lines([["image", "label", "url"], *there]))
    return Fetched(
        len(urls) - len(missing),
        sum(_name(url) in known for url in urls),
        sum(answer.retries for answer in answers.values()),
        Counter(reason for _, reason in missing),
    )


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """A folder that no other process writes to meanwhile."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        others = sorted({path.name for path in out.iterdir()} - {LOCK})
        if others and FAILURES not in others:
            raise UserError(f"{out} is no folder of fetched images: it holds {others[0]}; give another `out`.")
        held = HeldFolder(out)
    except BlockingIOError as error:
        raise UserError(f"Another process is writing {out}; wait for it, or give another `out`.") from error
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}; give another `out`.") from error
    try:
        # Before the first image, for it says whose folder this is.
        if not others:
            write_atomic(out / FAILURES, csv_lines([_FAILURE]))
        yield
    finally:
        held.release()


@contextmanager
def _pool(workers: int) -> Iterator[tuple[ThreadPoolExecutor, Event]]:
    """Threads that, if the work is stopped, finish the request that they are at and begin no other; and what tells them
    so."""
    pool, stopped = ThreadPoolExecutor(workers), Event()
    try:
        yield pool, stopped
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


def _name(url: str) -> str:
    return sha256(url.encode(errors="surrogateescape")).hexdigest()[:32]


def _fetch(out: Path, known: dict[str, str], limits: GetLimits, stopped: Event, url: str) -> _Answer:
    name, retries = _name(url), 0
    if name in known:
        return _Answer(known[name], "")
    while True:
        try:
            content = http_get(url, limits)
            # Folders of a million files are slow.
            file = f"{IMAGES}/{name[:2]}/{name}{usual_suffix(content)}"
        except FetchError as error:
            if not error.may_pass or retries == len(_PAUSES) or stopped.wait(_PAUSES[retries]):
                return _Answer("", str(error), retries)
            retries += 1
        except ItemError:
            return _Answer("", "the content is not an image that can be read", retries)
        else:
            write_atomic(out / file, content)
            return _Answer(file, "", retries)
