from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wsloc.errors import ItemError
from wsloc.segmentation import fit_color_models, grabcut, grabcut_plain, graphcut_2013
from wsloc.segmentation.seeds import BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND, PROBABLE_FOREGROUND

Image = NDArray[np.uint8]
BLUE, RED, GREEN = (20, 40, 200), (210, 60, 30), (40, 220, 60)


def _cut_2013(image: Image, trimap: Image) -> NDArray[np.bool_]:
    return graphcut_2013(image, trimap, trimap)


CUTS = pytest.mark.parametrize(
    "cut",
    [partial(grabcut, coarse_size=20), grabcut_plain, _cut_2013],
    ids=["grabcut", "grabcut-plain", "graphcut-2013"],
)


def _trimap(size_hw: tuple[int, int]) -> Image:
    """Background seeds in the two left columns, foreground seeds in the two right ones."""
    trimap = np.full(size_hw, PROBABLE_BACKGROUND, dtype=np.uint8)
    trimap[:, :2] = BACKGROUND
    trimap[:, -2:] = FOREGROUND
    return trimap


def _noisy_scene(seed: int) -> tuple[Image, Image]:
    """A reddish disc before a bluish ground, with seeds in the middle and along the border."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :50]
    distance = np.hypot(y - 20, x - 24)
    means = np.where((distance < 12)[..., None], RED, BLUE)
    image = np.clip(generator.normal(means, 30), 0, 255).astype(np.uint8)
    trimap = np.full(distance.shape, PROBABLE_BACKGROUND, dtype=np.uint8)
    trimap[distance < 5] = FOREGROUND
    trimap[distance > 18] = BACKGROUND
    return image, trimap


def _shades(seed: int) -> tuple[Image, Image]:
    """Colors that flow into each other, so that the first guess of the models shows in the mask."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (5, 6, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (50, 40), interpolation=cv2.INTER_CUBIC) + generator.normal(0, 10, (40, 50, 3))
    return np.clip(image, 0, 255).astype(np.uint8), _noisy_scene(seed)[1]


@CUTS
@pytest.mark.parametrize("size_hw", [(8, 9), (13, 31), (40, 20)])
@pytest.mark.parametrize("edge", [3, 5])
def test_two_colors_are_parted_along_their_edge(cut, size_hw: tuple[int, int], edge: int) -> None:
    image = np.full((*size_hw, 3), BLUE, dtype=np.uint8)
    image[:, edge:] = RED
    mask = cut(image, _trimap(size_hw))
    assert mask.dtype == bool
    assert np.array_equal(mask, np.broadcast_to(np.arange(size_hw[1]) >= edge, size_hw))


@CUTS
def test_a_noisy_disc_is_found(cut) -> None:
    image, trimap = _noisy_scene(seed=0)
    y, x = np.mgrid[:40, :50]
    disc = np.hypot(y - 20, x - 24) < 12
    mask = cut(image, trimap)
    assert (mask & disc).sum() / (mask | disc).sum() > 0.97


@CUTS
def test_seeds_keep_their_label_and_the_trimap_its_values(cut) -> None:
    image, _ = _noisy_scene(seed=1)
    generator = np.random.default_rng(2)
    # Seeds that contradict the colors, so that the cut would rather have them otherwise.
    trimap = generator.choice([BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND], size=(40, 50), p=[0.05, 0.05, 0.9])
    trimap = trimap.astype(np.uint8)
    before, image_before = trimap.copy(), image.copy()
    mask = cut(image, trimap)
    assert mask[trimap == FOREGROUND].all()
    assert not mask[trimap == BACKGROUND].any()
    assert np.array_equal(trimap, before)
    assert np.array_equal(image, image_before)


def test_graphcut_2013_may_relabel_seeds_that_are_no_clamps() -> None:
    image, trimap = _noisy_scene(seed=1)
    trimap[2, 2:8] = FOREGROUND  # six pixels of the ground
    free = np.full_like(trimap, PROBABLE_BACKGROUND)
    assert not graphcut_2013(image, trimap, free)[2, 2:8].any()
    assert graphcut_2013(image, trimap, trimap)[2, 2:8].all()


def test_clamps_say_no_more_than_their_seeds() -> None:
    """Whether an undecided pixel is probably this or that is nothing to the single cut."""
    image, trimap = _noisy_scene(seed=3)
    other = np.where(trimap == PROBABLE_BACKGROUND, PROBABLE_FOREGROUND, trimap).astype(np.uint8)
    assert np.array_equal(graphcut_2013(image, trimap, trimap), graphcut_2013(image, other, other))


@CUTS
def test_the_same_bits_whatever_ran_before_and_in_any_thread(cut) -> None:
    scenes = [_shades(seed) for seed in (1, 4, 3, 5)] * 4
    alone = [cut(image, trimap) for image, trimap in scenes[:4]] * 4
    for state in range(10):
        cv2.setRNGSeed(state)
        assert np.array_equal(cut(*scenes[0]), alone[0])

    def run(number: int) -> NDArray[np.bool_]:
        cv2.setRNGSeed(number)
        return cut(*scenes[number])

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, range(16)))
    for expected, mask in zip(alone, together, strict=True):
        assert np.array_equal(expected, mask)


def _watch_grabcut(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[NDArray], list[NDArray]]]:
    """For each later call of OpenCV its mode, and labels and both models before and after."""
    calls = []

    def watched(original, *arguments: object) -> object:
        before = [arguments[place].copy() for place in (1, 3, 4)]
        answer = original(*arguments)
        calls.append((arguments[6], before, [arguments[place].copy() for place in (1, 3, 4)]))
        return answer

    monkeypatch.setattr(cv2, "grabCut", partial(watched, cv2.grabCut))
    return calls


@pytest.mark.parametrize("most", [1, 2, 50])
def test_grabcut_iterates_until_the_labeling_stays(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    calls = _watch_grabcut(monkeypatch)
    mask = grabcut_plain(*_shades(5), max_iterations=most)
    assert {mode for mode, _, _ in calls} == {cv2.GC_EVAL}
    changed = [not np.array_equal(before[0], after[0]) for _, before, after in calls]
    assert all(changed[:-1])
    assert len(calls) == {1: 1, 2: 2, 50: 3}[most]
    assert changed[-1] == (most < 50)
    assert np.array_equal(mask, calls[-1][2][0] % 2 == 1)


@CUTS
@pytest.mark.parametrize("count", [0, 4])
@pytest.mark.parametrize(("label", "name"), [(FOREGROUND, "foreground"), (BACKGROUND, "background")])
def test_too_few_seeds(cut, count: int, label: int, name: str) -> None:
    image, _ = _noisy_scene(seed=0)
    # Without probable pixels, so that grabcut has no more samples than there are seeds.
    trimap = np.full((40, 50), BACKGROUND if label == FOREGROUND else FOREGROUND, dtype=np.uint8)
    trimap.reshape(-1)[:count] = label
    with pytest.raises(ItemError, match=f"{count} {name} seeds"):
        cut(image, trimap)


@CUTS
@pytest.mark.parametrize("label", [FOREGROUND, BACKGROUND])
def test_five_seeds_of_a_kind_are_enough(cut, label: int) -> None:
    image, _ = _noisy_scene(seed=0)
    trimap = np.full((40, 50), BACKGROUND if label == FOREGROUND else FOREGROUND, dtype=np.uint8)
    trimap.reshape(-1)[:5] = label
    assert cut(image, trimap).sum() == (5 if label == FOREGROUND else 40 * 50 - 5)


def test_models_are_not_changed_by_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    image, trimap = _noisy_scene(seed=0)
    calls = _watch_grabcut(monkeypatch)
    graphcut_2013(image, trimap, trimap)
    ((mode, before, after),) = calls
    assert mode == cv2.GC_EVAL_FREEZE_MODEL
    chosen = (trimap == FOREGROUND) | (trimap == BACKGROUND)
    models = fit_color_models(image[chosen], trimap[chosen] == FOREGROUND)
    for ours, given, left in zip(models, before[1:], after[1:], strict=True):
        assert ours.tobytes() == given.tobytes() == left.tobytes()


@pytest.mark.parametrize(("speck", "is_foreground"), [((200, 90, 60), True), ((30, 60, 190), False)])
def test_a_color_unknown_to_both_models_goes_to_the_nearer(speck: tuple[int, int, int], is_foreground: bool) -> None:
    """Under two models of one color each, the likelihood of a third color is 0 in floating point.

    OpenCV then subtracts infinity from infinity, and the pixel was foreground for certain.
    """
    image = np.full((12, 20, 3), BLUE, dtype=np.uint8)
    image[:, 10:] = RED
    image[4:8, 8:12] = speck
    expected = np.broadcast_to(np.arange(20) >= 10, (12, 20)).copy()
    expected[4:8, 8:12] = is_foreground
    assert np.array_equal(_cut_2013(image, _trimap((12, 20))), expected)
