"""The stages as operators of Ray Data, on this machine or on a cluster; ``pip install 'wsloc[ray]'``.

Reading and cutting are tasks on CPUs, maps are made by actors that each hold the network, so that each of the three has
as many workers as it needs. What travels between them are pieces of a part, a few batches of images each.

Workers write nothing. The driver, which holds the run folder, gets the results in order and writes part by part as the
local engine does; so a worker that dies costs the piece that it had, which Ray gives to another, and nothing is there
twice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from wsloc.errors import UserError, one_line
from wsloc.pipeline.cut_stage import CutStage, cut_maps
from wsloc.pipeline.engine import Kept, Parts
from wsloc.pipeline.localizer import Localizer, MapSource
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.pipeline.read_stage import ReadImage
from wsloc.pipeline.refine_stage import RefineStage
from wsloc.pipeline.results import ImageResult
from wsloc.pipeline.runner import Runner
from wsloc.pipeline.stage import Failed
from wsloc.records import ImageRecord
from wsloc.threads import ThreadPlan, applied, available_cores

T = TypeVar("T")
Row = dict[str, Any]
"""Of a data set of Ray: the ``number`` of a piece and its pickled ``content``, a :class:`_Piece` or a UserError."""
_LOGICAL_CORES = 4
"""Fewer starve Ray Data's own actors on a local machine; they are places in a queue, not threads."""
_AHEAD = 16
"""Pieces that the driver holds before it has written them."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some images at one point between the stages, and the seconds of work so far."""

    items: Sequence[Any]
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RayEngine:
    """Ray Data; an :class:`~wsloc.pipeline.engine.Engine`.

    Attributes:
        plan: its threads of the network are those of each actor.
        on_gpu: whether an actor gets a GPU, else as many CPUs as it has threads, but at most half of all.
        address: of a cluster; None for ``RAY_ADDRESS``, or a local one that ends with the run.
        patience: seconds within which the next piece must come; Ray Data gives the piece of a worker that died to
            another as often as it takes.
        seconds: see :class:`~wsloc.pipeline.engine.Engine`.
    """

    plan: ThreadPlan
    on_gpu: bool
    address: str | None
    patience: float
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def maps(self, localizer: Localizer, parts: Parts) -> Generator[ImageMaps | Failed, None, None]:
        """See :class:`~wsloc.pipeline.engine.Engine`; images come without their pixels.

        Raises:
            UserError: if Ray is not there, its workers die again and again, or nothing comes for too long.
        """
        return self._stream(localizer, parts, _bare_maps)

    def results(self, localizer: Localizer, parts: Parts, kept: Kept) -> Generator[ImageResult, None, None]:
        """See :class:`~wsloc.pipeline.engine.Engine`; raises as :meth:`maps`, and if the cut needs the device."""
        if localizer.cut.on_device:
            name = localizer.cut.settings.segmenter
            raise UserError(f"`engine='ray'` cuts on CPUs, but `segmenter={name!r}` wants the device; leave out one.")
        labels = {label for images in parts for image in images for label in image.labels}
        reasons = {name: why for name in labels if (why := localizer.maps.why_no_map(name))}
        return self._stream(localizer, parts, _Cut(localizer.refine, localizer.cut, reasons, kept))

    def _stream(self, localizer: Localizer, parts: Parts, last: Callable[..., Iterable[T]]) -> Generator[T, None, None]:
        pieces = list(_pieces(parts, localizer.window))
        with _connected(self.address) as ray, _in_a_sentence(ray.exceptions.RayError):
            context = ray.data.DataContext.get_current().copy()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            context.execution_options.preserve_order = True
            with ray.data.DataContext.current(context):
                rows = self._operators(ray, localizer, pieces, last).iter_rows()
            for number, row in enumerate(_within(self.patience, rows)):
                assert row["number"] == number
                piece = pickle.loads(row["content"])
                if isinstance(piece, UserError):
                    raise piece
                for name, seconds in piece.seconds.items():
                    self.seconds[name] += seconds
                yield from piece.items

    def _operators(
        self, ray: Any, localizer: Localizer, pieces: Sequence[Sequence[ImageRecord]], last: Callable[..., Any]
    ) -> Any:
        """The data set of Ray that the results are rows of; nothing is done before they are asked for."""
        threads, window, read = self.plan.network, localizer.window, localizer.read

        def read_piece(row: Row) -> Row:
            return _worked(row, 1, window, lambda images, runner: runner.run(read, images))

        def cut_piece(row: Row) -> Row:
            return _worked(row, threads, window, last)

        rows = [{"number": number, "content": pickle.dumps(_Piece(images))} for number, images in enumerate(pieces)]
        kind = "GPU" if self.on_gpu else "CPU"
        available = ray.cluster_resources().get(kind, 0)
        # On CPUs half of them; with an actor on each of them nothing would be read or cut.
        cpus = 1 if self.on_gpu else max(1, min(threads, int(available / 2)))
        most = int(available) if self.on_gpu else int(available / (2 * cpus))
        return (
            ray.data.from_items(rows, override_num_blocks=len(rows))
            .map(read_piece, num_cpus=1)
            .map(
                _MapActor,
                fn_constructor_args=(localizer.maps, window, threads),
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, most)),
                num_cpus=cpus,
                num_gpus=1 if self.on_gpu else 0,
            )
            .map(cut_piece, num_cpus=1)
        )


class _MapActor:
    """Holds a source of maps: the network, or the archives of a run."""

    def __init__(self, source: MapSource, window: int, threads: int) -> None:
        self._source, self._window, self._threads = source, window, threads

    def __call__(self, row: Row) -> Row:
        return _worked(row, self._threads, self._window, self._maps)

    def _maps(self, images: Iterable[ReadImage | Failed], runner: Runner) -> Iterator[ImageMaps | Failed]:
        for image in self._source.compute(images, runner):
            # The network's inputs are done with, and are most of the bytes.
            yield image if isinstance(image, Failed) else replace(image, read=replace(image.read, views=None))
        if changed := self._source.changes():
            # Other workers go on with the old size, and maps differ in their last bits between the two.
            raise UserError(
                f"A worker's device holds only batches of {changed['batch_size']}; start again with "
                f"`batch_size={changed['batch_size']}`."
            )


@dataclass(frozen=True, slots=True)
class _Cut:
    """From maps to results, without what is not kept."""

    refine: RefineStage | None
    cut: CutStage
    reasons: Mapping[str, str]
    kept: Kept

    def __call__(self, maps: Iterable[ImageMaps | Failed], runner: Runner) -> Iterator[ImageResult]:
        refined = maps if self.refine is None else runner.run(self.refine, maps)
        for result in cut_maps(self.cut, refined, runner, self.reasons.get):
            found = None if result.maps is None or not self.kept.maps else _without_pixels(result.maps)
            items = result.items
            if result.image.image_id not in self.kept.traces:
                items = tuple(replace(item, trace=None) for item in items)
            yield replace(result, items=items, maps=found)


def _bare_maps(maps: Iterable[ImageMaps | Failed], _runner: Runner) -> Iterator[ImageMaps | Failed]:
    for image in maps:
        yield image if isinstance(image, Failed) else _without_pixels(image)


def _without_pixels(image: ImageMaps) -> ImageMaps:
    return replace(image, read=replace(image.read, working_rgb=np.zeros((0, 0, 3), np.uint8), views=None))


def _worked(row: Row, threads: int, window: int, work: Callable[..., Iterable[Any]]) -> Row:
    """A row after some work on its piece; what the user can fix travels to the driver as a value."""
    piece = pickle.loads(row["content"])
    if isinstance(piece, UserError):
        return row
    done: _Piece | UserError
    with applied(ThreadPlan(threads, workers=0)):
        runner = Runner(None, window, seconds=defaultdict(float, piece.seconds))
        try:
            done = _Piece(list(work(piece.items, runner)), dict(runner.seconds))
        except UserError as error:
            done = error
    return {"number": row["number"], "content": pickle.dumps(done)}


def _pieces(parts: Parts, size: int) -> Iterator[Sequence[ImageRecord]]:
    """A part is cut into pieces of its own, so that it does not wait for images of the next one."""
    for images in parts:
        yield from (images[start : start + size] for start in range(0, len(images), size))


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, as it runs in this process already, or connected to a cluster, or started for as long as it is needed."""
    # Ray's own processes write what only its developers need to standard error.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError("`engine='ray'` needs Ray: pip install 'wsloc[ray]'.") from error
    if ray.is_initialized():
        yield ray
        return
    where = address or os.environ.get("RAY_ADDRESS")
    local = {} if where else {"num_cpus": max(_LOGICAL_CORES, available_cores()), "include_dashboard": False}
    try:
        ray.init(where, logging_level="ERROR", log_to_driver=False, **local)
    except (ConnectionError, OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(f"Ray cannot be used at {where or 'this machine'}: {one_line(error)}.") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _in_a_sentence(errors_of_ray: type[Exception]) -> Iterator[None]:
    """Errors of Ray itself, wherever it is asked for something, become a UserError."""
    try:
        yield
    except errors_of_ray as error:
        raise UserError(
            f"Ray gave up: {one_line(error)[:300]}; what is written is kept, and `resume=True` continues."
        ) from error


def _within(limit: float, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, each waited for so long at most; Ray itself has no limit.

    Args:
        limit: seconds.
        rows: are fetched in a thread of their own.

    Raises:
        UserError: if a row takes longer.
    """
    came: queue.Queue[Row | BaseException | None] = queue.Queue(_AHEAD)
    left = threading.Event()

    def put(row: Row | BaseException | None) -> None:
        while not left.is_set():
            with contextlib.suppress(queue.Full):
                came.put(row, timeout=1)
                return

    def fetch() -> None:
        try:
            for row in rows:
                put(row)
                if left.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    threading.Thread(target=fetch, name="wsloc-ray", daemon=True).start()
    try:
        while (row := came.get(timeout=limit)) is not None:
            if isinstance(row, BaseException):
                raise row
            yield row
    except queue.Empty as error:
        raise UserError(
            f"Ray has given no result for {limit:g} seconds (`ray_timeout`); see that the cluster has a free "
            "machine, then continue with `resume=True`."
        ) from error
    finally:
        left.set()
