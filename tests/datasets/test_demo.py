import json
from pathlib import Path

import numpy as np
import pytest
import torch

import wsloc.classifiers
from wsloc import boxes
from wsloc.boxes import mask_box
from wsloc.classifiers.checkpoint import load_checkpoint
from wsloc.classifiers.preprocessing import whole
from wsloc.classifiers.small_cnn import SmallCNN
from wsloc.datasets.dataset import Dataset
from wsloc.datasets.demo import (
    DEMO_CLASSES,
    DEMO_VERSION,
    DemoMarker,
    generate,
    generate_demo,
    open_demo,
    pictures,
    read_marker,
)
from wsloc.datasets.demo.backgrounds import TEST_REGIONS, TRAIN_REGIONS
from wsloc.datasets.demo.compose import Layer, compose, opaque_masks, visible_masks
from wsloc.datasets.demo.cutouts import draw_object
from wsloc.datasets.demo.outlines import load_outlines, rasterize
from wsloc.datasets.demo.scenes import SCENE_SIDE, TEST_TILT, draw_scene
from wsloc.datasets.voc import read_voc_ground_truth
from wsloc.errors import UserError
from wsloc.fitting.scoring import ScoredImages, score_images
from wsloc.images import read_image


@pytest.fixture(scope="module")
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "demo"
    generate_demo(root, seed=3, train=20, test=100)
    return root


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_regeneration_is_byte_identical(tmp_path: Path) -> None:
    for name in ("a", "b"):
        generate_demo(tmp_path / name, seed=5, train=4, test=3)
    assert _files(tmp_path / "a") == _files(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_scenes_do_not_depend_on_the_counts_but_on_the_seed(tmp_path: Path) -> None:
    generate_demo(tmp_path / "few", seed=5, train=2, test=1)
    generate_demo(tmp_path / "more", seed=5, train=3, test=2)
    generate_demo(tmp_path / "other", seed=6, train=2, test=1)
    few, more, other = (_files(tmp_path / name) for name in ("few", "more", "other"))
    scenes = [name for name in few if name.endswith((".jpg", ".xml"))]
    assert len(scenes) == 6
    assert all(few[name] == more[name] for name in scenes)
    assert all(few[name] != other[name] for name in scenes if name.endswith(".jpg"))


def test_layout_is_read_as_voc(demo_root: Path) -> None:
    train, test = open_demo(demo_root, "train"), open_demo(demo_root, "test")
    assert (len(train.images), len(test.images)) == (20, 100)
    assert train.class_names == test.class_names == DEMO_CLASSES
    assert not {image.image_id for image in train.images} & {image.image_id for image in test.images}
    assert read_image(train.images[0].path).shape == (224, 224, 3)


def test_labels_are_the_classes_of_the_boxes(demo_root: Path) -> None:
    dataset = open_demo(demo_root, "test")
    truth = read_voc_ground_truth(dataset)
    assert truth.problems == ()
    for image in dataset.images:
        assert set(image.labels) == set(truth.images[image.image_id].class_names)


def test_lists_have_the_format_of_voc(demo_root: Path) -> None:
    lists = demo_root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main"
    assert (lists / "train.txt").read_bytes().startswith(b"train_000000\ntrain_000001\n")
    lines = (lists / "cat_train.txt").read_bytes().decode().splitlines()
    assert set(lines) <= {f"train_{index:06d} {sign}" for index in range(20) for sign in (" 1", "-1")}


def test_boxes_of_a_scene_survive_the_annotation(demo_root: Path) -> None:
    dataset = open_demo(demo_root, "test")
    truth = read_voc_ground_truth(dataset)
    for index in range(10):
        scene = draw_scene(np.random.default_rng([3, 1, index]), "test")
        boxes_read = truth.images[f"test_{index:06d}"].boxes_xyxy
        np.testing.assert_array_equal(boxes_read, boxes.as_boxes(scene.boxes_xyxy))


def _layer(height: int, width: int, left: int, top: int, color: float) -> Layer:
    rgba = np.full((height, width, 4), [color, color, color, 1], dtype=np.float32)
    return Layer(rgba, left, top)


def test_composition_by_hand() -> None:
    below = _layer(height=4, width=6, left=1, top=2, color=0.5)  # columns 1 to 6, rows 2 to 5
    above = _layer(height=6, width=3, left=5, top=1, color=1.0)  # columns 5 to 7, rows 1 to 6
    opaque = opaque_masks([below, above], (8, 10))
    visible = visible_masks(opaque)
    assert [mask_box(mask) for mask in opaque] == [(1, 2, 7, 6), (5, 1, 8, 7)]
    assert [mask_box(mask) for mask in visible] == [(1, 2, 5, 6), (5, 1, 8, 7)]
    scene = compose(np.zeros((8, 10, 3), dtype=np.float32), [below, above])
    np.testing.assert_array_equal(scene[3, :, 0], [0, 0.5, 0.5, 0.5, 0.5, 1, 1, 1, 0, 0])


def test_half_transparent_pixels_mix_and_count_as_background() -> None:
    rgba = np.array([[[0.25, 0.25, 0.25, 0.5], [1, 1, 1, 1]]], dtype=np.float32)
    layer = Layer(rgba, left=0, top=0)
    scene = compose(np.ones((1, 2, 3), dtype=np.float32), [layer])
    np.testing.assert_allclose(scene[0, :, 0], [0.75, 1])
    assert mask_box(opaque_masks([layer], (1, 2))[0]) == (1, 0, 2, 1)


def test_nothing_hides_the_last_of_three_layers() -> None:
    layers = [_layer(height=2, width=2, left=left, top=0, color=1) for left in (0, 1, 2)]
    visible = visible_masks(opaque_masks(layers, (2, 4)))
    assert [mask_box(mask) for mask in visible] == [(0, 0, 1, 2), (1, 0, 2, 2), (2, 0, 4, 2)]


def test_an_empty_mask_has_no_box() -> None:
    with pytest.raises(ValueError, match="empty mask"):
        mask_box(np.zeros((3, 3), dtype=bool))


def test_rasterized_ring_covers_known_pixels() -> None:
    outer = np.array([[2, 3], [9, 3], [9, 8], [2, 8]], dtype=np.float64)
    hole = np.array([[4, 4], [7, 4], [7, 7], [4, 7]], dtype=np.float64)
    expected = np.zeros((12, 12), dtype=bool)
    expected[3:8, 2:9] = True
    expected[4:7, 4:7] = False
    np.testing.assert_array_equal(rasterize((outer, hole), (12, 12)), expected)


@pytest.mark.parametrize("name", DEMO_CLASSES)
def test_the_largest_objects_fit_into_a_scene(name: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rgba = draw_object(rng, name, 0.8 * SCENE_SIDE, TEST_TILT)
        assert max(rgba.shape[:2]) <= SCENE_SIDE
        assert (rgba[..., :3] <= rgba[..., 3:] + 1e-6).all()


def test_outlines_are_traced_finely_and_lie_in_their_pictures() -> None:
    outlines = load_outlines()
    assert tuple(outlines) == DEMO_CLASSES
    for outline in outlines.values():
        height, width = pictures.load_picture(outline.picture).shape[:2]
        vertices = np.concatenate(outline.rings_xy)
        assert 35 <= len(vertices) <= 240
        assert (vertices >= 0).all()
        assert (vertices <= [width, height]).all()


def test_training_and_test_backgrounds_share_no_pixel_and_show_no_object() -> None:
    outlines = load_outlines().values()
    for picture, box in TRAIN_REGIONS:
        assert all(boxes.iou_matrix(box, other)[0, 0] == 0 for name, other in TEST_REGIONS if name == picture)
    for picture, (x0, y0, x1, y1) in TRAIN_REGIONS + TEST_REGIONS:
        for outline in outlines:
            if outline.picture == picture:
                mask = rasterize(outline.rings_xy, pictures.load_picture(picture).shape[:2])
                assert not mask[y0:y1, x0:x1].any(), (picture, outline.name)


def _corloc(dataset: Dataset, box_xyxy: boxes.Boxes) -> float:
    truth = read_voc_ground_truth(dataset).images
    hits: dict[str, list[bool]] = {name: [] for name in dataset.class_names}
    for objects in truth.values():
        for name, true_box in zip(objects.class_names, objects.boxes_xyxy, strict=True):
            hits[name].append(bool(boxes.iou_matrix(box_xyxy, true_box)[0, 0] > 0.5))
    return float(np.mean([np.mean(found) for found in hits.values()]))


def test_a_fixed_box_localizes_little(demo_root: Path) -> None:
    dataset = open_demo(demo_root, "test")
    assert _corloc(dataset, boxes.centered((224, 224))) < 0.3
    assert _corloc(dataset, boxes.full_image((224, 224))) < 0.3


def test_shipped_weights_know_the_classes(tmp_path: Path) -> None:
    generate_demo(tmp_path / "demo", train=1, test=100)
    tensors, info = load_checkpoint(Path(wsloc.classifiers.__path__[0]) / "weights" / "demo.safetensors")
    assert info.class_names == DEMO_CLASSES
    network = SmallCNN(len(DEMO_CLASSES)).eval()
    network.load_state_dict(tensors)
    records = open_demo(tmp_path / "demo", "test").images
    inputs = torch.stack([whole(read_image(record.path), info.preprocessing).views[0].pixels for record in records])
    present = np.array([[name in record.labels for name in DEMO_CLASSES] for record in records])
    with torch.inference_mode():
        scores = network(inputs).numpy()
    assert score_images(ScoredImages(scores, present)).mean_ap.value > 0.95


def test_marker_tells_what_was_made(demo_root: Path, tmp_path: Path) -> None:
    assert read_marker(demo_root) == DemoMarker(DEMO_VERSION, seed=3, train=20, test=100)
    assert read_marker(tmp_path) is None
    (tmp_path / "demo.json").write_text('{"version": 1}')
    assert read_marker(tmp_path) is None


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        generate_demo(tmp_path, train=1, test=1)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_another_version_is_refused(tmp_path: Path) -> None:
    generate_demo(tmp_path / "demo", train=1, test=1)
    old = {"version": 0, "seed": 0, "train": 1, "test": 1}
    (tmp_path / "demo" / "demo.json").write_text(json.dumps(old))
    with pytest.raises(UserError, match="version 0"):
        open_demo(tmp_path / "demo", "test")


def test_an_error_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(generate, "_annotation", fail)
    with pytest.raises(UserError, match="disk full"):
        generate_demo(tmp_path / "demo", train=1, test=1)
    assert list(tmp_path.iterdir()) == []


def test_another_picture_of_the_same_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pictures.SHA256, "brick.png", "0" * 64)
    pictures.load_picture.cache_clear()
    with pytest.raises(UserError, match=r"brick\.png.*install scikit-image"):
        pictures.load_picture("brick.png")
    pictures.load_picture.cache_clear()
