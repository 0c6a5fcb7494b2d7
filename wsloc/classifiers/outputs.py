"""Which outputs of a network stand for the classes that a run asks for."""

from __future__ import annotations

from collections.abc import Sequence

from wsloc.classifiers.labelmap import LabelMap, MappedClass, identity_label_map, load_label_map
from wsloc.errors import UserError, listed

_IMAGENET_ENDS = ("tench", "toilet tissue")
"""Names of the first and the last output of an ImageNet-1k network."""


def resolve_label_map(
    class_names: Sequence[str],
    num_outputs: int,
    output_names: tuple[str, ...] | None,
    label_map: str | None = None,
    builtin: str | None = None,
    in_order: Sequence[str] = (),
    trained_here: bool = False,
) -> LabelMap:
    """The label map for some classes.

    A map that the user names comes first; then, for an ImageNet network, the data set's built-in map
    (COCO's kite is not ImageNet's). Without either, classes that the outputs are named after need no map, and
    an ImageNet network also knows the classes of COCO and VOC. Data sets that are numbered as their networks' outputs
    are ("in-order") need no map with a network of as many outputs, unless the outputs have other names.

    Args:
        class_names: the classes asked for; empty for all that the network (or the user's map) knows.
        num_outputs: of the network.
        output_names: of the network, or None.
        label_map: what the user named: ``voc``, ``coco``, ``imagenet`` or a file.
        builtin: the data set's own built-in map, or ``in-order``.
        in_order: all classes of the data set, for ``in-order``.
        trained_here: whether the outputs are classes that wsloc trained; a class that is not among them has no output
            then, with a note that says so.

    Raises:
        UserError: if a class cannot be mapped.
    """
    if output_names is not None and len(output_names) != num_outputs:
        raise UserError(
            f"The network has {num_outputs} outputs but {len(output_names)} names; "
            "`classes_file` needs one line for each output."
        )
    if label_map is not None:
        chosen = load_label_map(label_map, num_outputs, output_names)
        return chosen.restrict(class_names) if class_names else chosen
    if not class_names:
        return identity_label_map(output_names or [f"output {index}" for index in range(num_outputs)])
    is_imagenet = _is_imagenet(output_names)
    if builtin == "in-order":
        if len(in_order) == num_outputs and (output_names is None or is_imagenet):
            return identity_label_map(in_order).restrict(class_names)
    elif builtin is not None and (is_imagenet or (builtin == "imagenet" and output_names is None)):
        return load_label_map(builtin, num_outputs, output_names).restrict(class_names)
    own = identity_label_map(output_names) if output_names else None
    if own is not None and trained_here:
        return LabelMap(own.source, tuple(own.find(name) or _untrained(name, own) for name in class_names))
    if own is not None and all(own.find(name) for name in class_names):
        return own.restrict(class_names)
    if not is_imagenet:
        known = f"its outputs are {listed(output_names, 20)}" if output_names else "its outputs have no names"
        missing = next(name for name in class_names if own is None or name not in own.class_names)
        raise UserError(
            f"The network has {num_outputs} outputs and none is known to be {missing!r} ({known}); "
            "name the outputs with `classes_file`, or give `label_map` (voc, coco or imagenet for an ImageNet network)."
        )
    maps = (own, load_label_map("coco"), load_label_map("voc"))
    known_classes = {mapped.name: mapped for known_map in maps if known_map for mapped in known_map.classes}
    return LabelMap("of ImageNet's, COCO's and VOC's classes", tuple(known_classes.values())).restrict(class_names)


def _untrained(name: str, own: LabelMap) -> MappedClass:
    note = f"the checkpoint was not trained on it; its classes are {listed(own.class_names, 20)}"
    return MappedClass(name, (), "none", note)


def _is_imagenet(output_names: tuple[str, ...] | None) -> bool:
    return output_names is not None and (output_names[0], output_names[-1]) == _IMAGENET_ENDS
