from __future__ import annotations

from pathlib import Path

import pytest

from wsloc.classifiers.labelmap import load_label_map
from wsloc.classifiers.outputs import resolve_label_map
from wsloc.errors import UserError

IMAGENET_NAMES = ("tench", *(f"name {index}" for index in range(1, 999)), "toilet tissue")


def test_names_of_the_outputs_need_no_map() -> None:
    found = resolve_label_map(["dog", "cat"], 3, ("cat", "dog", "horse"))
    assert found.class_names == ("dog", "cat")
    assert found.outputs_of_class == ((1,), (0,))


def test_no_classes_mean_all_outputs() -> None:
    assert resolve_label_map([], 2, ("cat", "dog")).outputs_of_class == ((0,), (1,))
    assert resolve_label_map([], 2, None).class_names == ("output 0", "output 1")
    assert resolve_label_map([], 1000, None, "voc").class_names == load_label_map("voc").class_names


def test_a_users_map_goes_before_names_and_built_in_maps(tmp_path: Path) -> None:
    path = str(tmp_path / "map.yaml")
    Path(path).write_text("cat: 2\n")
    assert resolve_label_map(["cat"], 3, ("cat", "dog", "horse"), path).outputs_of_class == ((2,),)
    assert resolve_label_map(["cat"], 1000, None, path, builtin="voc").outputs_of_class == ((2,),)


def test_the_built_in_map_goes_before_the_names_of_an_imagenet_network() -> None:
    """An ImageNet output called 'kite' is a bird, COCO's kite is not."""
    names = (*IMAGENET_NAMES[:21], "kite", *IMAGENET_NAMES[22:])
    coco = load_label_map("coco").restrict(["kite"]).outputs_of_class
    assert resolve_label_map(["kite"], 1000, names, builtin="coco").outputs_of_class == coco
    assert resolve_label_map(["kite"], 1000, names).outputs_of_class == ((21,),)
    assert coco != ((21,),)


def test_the_built_in_map_is_not_for_other_networks() -> None:
    assert resolve_label_map(["cat"], 2, ("dog", "cat"), builtin="voc").outputs_of_class == ((1,),)


def test_an_imagenet_network_knows_the_classes_of_voc_and_coco() -> None:
    found = resolve_label_map(["cat", "pottedplant", "giraffe", "name 7"], 1000, IMAGENET_NAMES)
    assert found.outputs_of_class[0] == load_label_map("voc").restrict(["cat"]).outputs_of_class[0]
    assert found.outputs_of_class[3] == (7,)


@pytest.mark.parametrize(
    ("classes", "outputs", "names", "sentence"),
    [
        (["cat"], 3, ("cat", "dog"), "has 3 outputs but 2 names; --classes-file needs one line for each output"),
        (
            ["cat", "cow"],
            2,
            ("cat", "dog"),
            r"none is known to be 'cow' \(its outputs are cat, dog\); name the outputs",
        ),
        (["cow"], 2, None, r"none is known to be 'cow' \(its outputs have no names\)"),
        (["unicorn"], 1000, IMAGENET_NAMES, "lacks the class unicorn"),
    ],
)
def test_a_class_that_cannot_be_mapped(
    classes: list[str], outputs: int, names: tuple[str, ...] | None, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        resolve_label_map(classes, outputs, names)
