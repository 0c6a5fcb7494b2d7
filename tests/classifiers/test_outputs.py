from __future__ import annotations

from pathlib import Path

import pytest
from torchvision.models._meta import _IMAGENET_CATEGORIES

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


def test_the_classes_of_imagenet_need_no_flag_with_a_torchvision_network() -> None:
    """Two outputs are cranes; WordNet ids tell them apart. A network without names has them in the same order."""
    names = ("n03126707 crane", "n02012849 crane", "n15075141 toilet tissue")
    categories = tuple(_IMAGENET_CATEGORIES)
    for output_names in (categories, None):
        found = resolve_label_map(names, 1000, output_names, builtin="imagenet")
        assert found.outputs_of_class == ((517,), (134,), (999,))
        assert found.class_names == names
    with pytest.raises(UserError, match="made for a network of 1000 outputs, but this one has 10"):
        resolve_label_map(names, 10, None, builtin="imagenet")


def test_outputs_may_be_named_by_wordnet_ids() -> None:
    outputs = ("n03126707", "n02012849")
    assert resolve_label_map(["n02012849 crane"], 2, outputs, builtin="imagenet").outputs_of_class == ((1,),)


@pytest.mark.parametrize(
    ("num_outputs", "names", "outputs"),
    [
        (3, None, ((2,), (0,))),
        # Names of the user's own go before the order.
        (3, ("2", "1", "0"), ((0,), (2,))),
        (4, None, None),
        (3, ("cat", "dog", "cow"), None),
        (1000, IMAGENET_NAMES, None),
    ],
    ids=["nameless", "named", "more-outputs", "other-names", "imagenet"],
)
def test_classes_in_the_order_of_the_outputs(
    num_outputs: int, names: tuple[str, ...] | None, outputs: tuple[tuple[int], ...] | None
) -> None:
    """A network with another number of outputs, or with other names, was trained on other classes."""
    if outputs is not None:
        found = resolve_label_map(["2", "0"], num_outputs, names, builtin="in-order", in_order=("0", "1", "2"))
        assert found.outputs_of_class == outputs
        return
    with pytest.raises(UserError):
        resolve_label_map(["2", "0"], num_outputs, names, builtin="in-order", in_order=("0", "1", "2"))


def test_a_thousand_numbered_classes_are_the_outputs_of_an_imagenet_network() -> None:
    numbers = [str(number) for number in range(1000)]
    found = resolve_label_map(["17"], 1000, IMAGENET_NAMES, builtin="in-order", in_order=numbers)
    assert found.outputs_of_class == ((17,),)


def test_an_imagenet_network_knows_the_classes_of_voc_and_coco() -> None:
    found = resolve_label_map(["cat", "pottedplant", "giraffe", "name 7"], 1000, IMAGENET_NAMES)
    assert found.outputs_of_class[0] == load_label_map("voc").restrict(["cat"]).outputs_of_class[0]
    assert found.outputs_of_class[3] == (7,)


@pytest.mark.parametrize(
    ("classes", "outputs", "names", "sentence"),
    [
        (["cat"], 3, ("cat", "dog"), "has 3 outputs but 2 names; `classes_file` needs one line for each output"),
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
