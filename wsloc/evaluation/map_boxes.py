"""All metrics of maps against boxes, in one pass: each map is asked for once, and none is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsloc.evaluation import box_curves, wsol
from wsloc.evaluation.box_curves import BoxCurves, MapCurve
from wsloc.evaluation.items import ItemValues
from wsloc.evaluation.judging import TrueBoxes
from wsloc.evaluation.map_source import Map, MapOf
from wsloc.evaluation.pointing import energy_inside, highest_point, judge_points
from wsloc.progress import Progress, silent
from wsloc.records import Pair

Protocol = Literal["wsloc", "wsol"]
"""``wsloc``: exact geometry at the map's resolution; ``wsol``: the arithmetic of the code of Choe et al. 2020."""
_CURVES: dict[Protocol, tuple[NDArray[np.float64], Callable[[Map, NDArray[np.float64], tuple[int, int]], MapCurve]]] = {
    "wsloc": (box_curves.THRESHOLDS, box_curves.curve_of_map),
    "wsol": (wsol.THRESHOLDS, wsol.curve_of_map),
}


@dataclass(frozen=True, slots=True, eq=False)
class JudgedMaps:
    """How well the maps of some items match true boxes.

    Attributes:
        curves: for MaxBoxAcc and MaxBoxAccV2.
        hits: 1 for each item that the pointing game counts as found, 0 for the others.
        energy: of the energy-based pointing game.
        without_map: indices of the items that have no map, and count as missed.
    """

    curves: BoxCurves
    hits: ItemValues
    energy: ItemValues
    without_map: tuple[int, ...]


def judge_maps(
    true: TrueBoxes,
    map_of: MapOf,
    protocol: Protocol = "wsloc",
    progress: Progress = silent,
) -> JudgedMaps:
    """Judge the maps of all items against their true boxes, difficult ones included.

    Args:
        true: what is judged.
        map_of: asked once for each item, in their order.
        protocol: of the curves; the two pointing games have one arithmetic.
        progress: counts the items.
    """
    items, pairs = true.items, true.items.pairs()
    thresholds, curve_of_map = _CURVES[protocol]
    largest, best = (np.zeros((len(items), len(thresholds)), dtype=np.float32) for _ in range(2))
    energy = np.zeros(len(items))
    points: dict[Pair, tuple[float, float]] = {}
    without_map = []
    order = np.argsort(true.item, kind="stable")
    starts = np.searchsorted(true.item[order], np.arange(len(items) + 1))
    for index in progress(range(len(items)), "maps", "item"):
        if (saliency := map_of(*pairs[index])) is None:
            without_map.append(index)
            continue
        own = true.boxes_xyxy[order[starts[index] : starts[index + 1]]]
        width, height = true.size_wh[items.image_index[index]].tolist()
        curve = curve_of_map(saliency, own, (width, height))
        largest[index], best[index] = curve.largest, curve.best
        energy[index] = energy_inside(saliency, own, (width, height))
        if (point := highest_point(saliency, (width, height))) is not None:
            points[pairs[index]] = point
    return JudgedMaps(
        BoxCurves(items, thresholds, largest, best),
        judge_points(true, points),
        ItemValues(items, energy),
        tuple(without_map),
    )
