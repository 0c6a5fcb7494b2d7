"""Which outputs of a classifier stand for each class of a data set.

A class's score is the maximum of the logits of its outputs, its probability the sum of their
softmax; both are computed elsewhere. This module knows names and indices only and imports no
torch, so that a configuration can be checked at once.

A label map is a YAML or JSON file. At its simplest it has one line per class, with indices or
names of the network's outputs::

    cat: [281, tiger cat]
    horse: 339

The built-in map ``imagenet`` names the outputs of an ImageNet-1k network by their WordNet ids. ``voc`` and ``coco`` use
the full form, which says how close the outputs come::

    num_outputs: 1000
    classes:
      pottedplant:
        relation: related
        note: the flowerpot, a part
        outputs:
          - {index: 738, wnid: n03991062, name: pot}
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from wsloc.errors import UserError, one_line
from wsloc.files.documents import parse_json, parse_yaml
from wsloc.files.reading import read_text

Relation = Literal["same", "related", "none"]

_RELATIONS: tuple[Relation, ...] = get_args(Relation)
_BUILTIN_FILES = {"coco": "coco_to_imagenet.yaml", "imagenet": "imagenet.json", "voc": "voc_to_imagenet.yaml"}
_WNID_AND_NAME = re.compile(r"(n\d{8}) ")
_MAP_KEYS = {"num_outputs", "classes"}
_CLASS_KEYS = {"relation", "note", "outputs"}
_OUTPUT_KEYS = {"index", "wnid", "name"}
_MAX_NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class MappedClass:
    """One data-set class and the outputs of the classifier that stand for it.

    Attributes:
        name: of the data-set class.
        outputs: 0-based indices of the network's outputs, each once; empty where ``relation`` is ``none``.
        relation: ``same`` where each output is the class or a kind of it, ``related`` where they are no
            true substitute (a narrower kind, a part, a close relative), ``none`` where no output comes close.
        note: one line on what the outputs are, or why there are none; may be empty.
    """

    name: str
    outputs: tuple[int, ...]
    relation: Relation = "same"
    note: str = ""


@dataclass(frozen=True, slots=True)
class LabelMap:
    """The classes of a data set in order, each with its outputs.

    Attributes:
        source: what messages call the map: the name of a built-in one, or its file.
        classes: one entry per class; names are unique.
    """

    source: str
    classes: tuple[MappedClass, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in order."""
        return tuple(mapped.name for mapped in self.classes)

    @property
    def outputs_of_class(self) -> tuple[tuple[int, ...], ...]:
        """For each class, in order, the indices of its outputs."""
        return tuple(mapped.outputs for mapped in self.classes)

    def find(self, class_name: str) -> MappedClass | None:
        """A class by its name, or None if the map lacks it.

        One whose name begins with a WordNet id ("n01440764 tench") is also found by that id alone.
        """
        wnid = _WNID_AND_NAME.match(class_name)
        for name in (class_name, wnid[1]) if wnid else (class_name,):
            for mapped in self.classes:
                if mapped.name == name:
                    return replace(mapped, name=class_name)
        return None

    def restrict(self, class_names: Sequence[str]) -> LabelMap:
        """The map of these classes alone, in their order; classes without any output stay in.

        Raises:
            UserError: if the map lacks a class; all that it lacks are named.
        """
        found = {name: self.find(name) for name in class_names}
        if missing := [name for name, mapped in found.items() if mapped is None]:
            raise UserError(
                f"The label map {self.source} lacks {_some(missing)}{_did_you_mean(missing[0], self.class_names)}; "
                "add a line 'class: outputs' for each to a file of your own (`label_map`), leave them out with "
                "`classes`, or train a classifier on them (wsloc train-classifier)."
            )
        return LabelMap(self.source, tuple(mapped for mapped in found.values() if mapped is not None))

    def usable(self) -> LabelMap:
        """The map without the classes that have no output: what can be scored."""
        return LabelMap(self.source, tuple(mapped for mapped in self.classes if mapped.outputs))

    def without_substitute(self) -> tuple[MappedClass, ...]:
        """The classes whose relation is not ``same``, for a summary to name with their notes."""
        return tuple(mapped for mapped in self.classes if mapped.relation != "same")

    def why_unusable(self, class_name: str) -> str | None:
        """One sentence on why a class has no output, fit for the record of a failure; None if it has one.

        Raises:
            UserError: if the map lacks the class.
        """
        (mapped,) = self.restrict([class_name]).classes
        if mapped.outputs:
            return None
        note = f": {mapped.note}" if mapped.note else ""
        return f"The label map {self.source} has no output of the classifier for class '{class_name}'{note}."


def identity_label_map(class_names: Sequence[str]) -> LabelMap:
    """The map of a classifier trained on the data set itself: class k is output k.

    Raises:
        UserError: if a name is given twice.
    """
    if repeated := [name for name, count in Counter(class_names).items() if count > 1]:
        raise UserError(f"The classifier's classes name {_some(repeated)} more than once; give each its own name.")
    classes = (MappedClass(name, (index,)) for index, name in enumerate(class_names))
    return LabelMap("of the classifier's own classes", tuple(classes))


def load_label_map(
    path_or_name: Path | str,
    num_outputs: int | None = None,
    output_names: Sequence[str] | None = None,
) -> LabelMap:
    """Read a label map and check it against the network.

    Args:
        path_or_name: ``voc``, ``coco`` or ``imagenet`` for a built-in map (ImageNet-1k classifiers), else a file,
            JSON where its suffix is ``.json``, YAML otherwise.
        num_outputs: of the network; None if it is not known yet, then no upper bound is checked.
        output_names: the name of each output in order, which names in the map are looked up in. A name may
            list synonyms between commas ("n02123045, tabby, tabby cat"); each counts.

    Raises:
        UserError: if the file is missing or malformed, was made for a network with another number of
            outputs, or asks for an output that the network lacks or that cannot be told from its name.
    """
    if output_names is not None:
        if num_outputs is not None and len(output_names) != num_outputs:
            raise UserError(
                f"There are {len(output_names)} output names for a network of {num_outputs} outputs; "
                "give exactly one name for each output."
            )
        num_outputs = len(output_names)
    document, source = _read(path_or_name)
    if not isinstance(document, dict) or not document:
        raise UserError(
            f"The label map {source} is not a mapping from classes to outputs; write one line for each class, "
            "such as 'cat: [281, 282]'."
        )
    classes: Mapping[Any, Any] = document
    # A mapping under 'classes' marks the full form: in the simple form it would be a class of that name.
    if isinstance(document.get("classes"), dict):
        _refuse_unknown_keys(document, _MAP_KEYS, f"The label map {source}")
        classes = document["classes"]
        made_for = document.get("num_outputs")
        if None not in (made_for, num_outputs) and made_for != num_outputs:
            raise UserError(
                f"The label map {source} is made for a network of {made_for} outputs, but this one has "
                f"{num_outputs}; give a label map for this network."
            )
    resolver = _Resolver(source, num_outputs, _indices_by_name(output_names))
    return LabelMap(source, tuple(_parse_class(name, value, resolver) for name, value in classes.items()))


@dataclass(frozen=True, slots=True)
class _Resolver:
    """Turns what a label map writes for an output into its index.

    ``by_name`` is None if the network's output names are not known.
    """

    source: str
    num_outputs: int | None
    by_name: Mapping[str, tuple[int, ...]] | None

    def index(self, class_name: str, written: object) -> int:
        where = f"Class '{class_name}' of the label map {self.source}"
        if isinstance(written, dict):
            return self._index_of_entry(where, written)
        if isinstance(written, str):
            return self._index_of_name(where, written)
        if isinstance(written, bool) or not isinstance(written, int):
            raise UserError(f"{where} lists {written!r} as an output; write the index or the name of an output.")
        return self._checked(where, written)

    def _index_of_entry(self, where: str, entry: Mapping[str, object]) -> int:
        _refuse_unknown_keys(entry, _OUTPUT_KEYS, where)
        labels = [label for key in ("wnid", "name") if isinstance(label := entry.get(key), str)]
        index = entry.get("index")
        if index is None:
            if not labels:
                raise UserError(f"{where} has an output without index, wnid and name; give one of them.")
            known = [label for label in labels if label in (self.by_name or {})]
            return self._index_of_name(where, (known or labels)[0])
        if isinstance(index, bool) or not isinstance(index, int):
            raise UserError(f"{where} gives {index!r} as the index of an output; write a whole number.")
        # A network that lists the same outputs in another order would otherwise be misread silently.
        for label in labels:
            indices = (self.by_name or {}).get(label, (index,))
            if index not in indices:
                raise UserError(
                    f"{where} expects '{label}' at output {index}, but the network has it at output {indices[0]}; "
                    "give a label map for this network's order of outputs."
                )
        return self._checked(where, index)

    def _index_of_name(self, where: str, name: str) -> int:
        if self.by_name is None:
            raise UserError(
                f"{where} names the output '{name}', but the names of the network's outputs are not known; "
                "give its index instead."
            )
        indices = self.by_name.get(name, ())
        if not indices:
            raise UserError(
                f"{where} names the output '{name}', which the network lacks{_did_you_mean(name, self.by_name)}; "
                "give the exact name or the index of an output."
            )
        if len(indices) > 1:
            raise UserError(
                f"{where} names the output '{name}', which is the name of outputs {_listing(indices)}; "
                "give the index instead."
            )
        return indices[0]

    def _checked(self, where: str, index: int) -> int:
        if self.num_outputs is not None and not 0 <= index < self.num_outputs:
            raise UserError(
                f"{where} asks for output {index}, but the network has {self.num_outputs} outputs, "
                f"0 to {self.num_outputs - 1}; correct the index or give the label map of this network."
            )
        if index < 0:
            raise UserError(f"{where} asks for output {index}; indices of outputs start at 0.")
        return index


def _parse_class(name: object, value: object, resolver: _Resolver) -> MappedClass:
    if not isinstance(name, str):
        raise UserError(
            f"The label map {resolver.source} has the class name {name!r}, which YAML does not read as text; "
            "put it in quotes."
        )
    where = f"Class '{name}' of the label map {resolver.source}"
    relation_written: object = None
    note: object = ""
    if isinstance(value, dict):
        _refuse_unknown_keys(value, _CLASS_KEYS, where)
        relation_written, note = value.get("relation"), value.get("note", "")
        value = value.get("outputs", [])
    written = value if isinstance(value, list) else [value]
    outputs = tuple(resolver.index(name, item) for item in written)
    if repeated := [index for index, count in Counter(outputs).items() if count > 1]:
        raise UserError(f"{where} lists output {repeated[0]} more than once; list it once.")
    if relation_written is None:
        relation_written = "same" if outputs else "none"
    relation = next((known for known in _RELATIONS if known == relation_written), None)
    if relation is None:
        raise UserError(f"{where} has the relation {relation_written!r}; choose {_listing(_RELATIONS, 'or')}.")
    if (relation == "none") == bool(outputs):
        raise UserError(
            f"{where} has the relation '{relation}' and {len(outputs)} outputs; "
            "'none' takes no output, the other relations at least one."
        )
    if not isinstance(note, str):
        raise UserError(f"{where} has the note {note!r}; write it as text.")
    return MappedClass(name, outputs, relation, note)


def _read(path_or_name: Path | str) -> tuple[object, str]:
    """The parsed file, and what messages call it."""
    builtin = _BUILTIN_FILES.get(str(path_or_name))
    if builtin is not None:
        # Found from the top package, because the folder of the files is data, not a package.
        text = (resources.files("wsloc") / "classifiers" / "labelmaps" / builtin).read_text(encoding="utf-8")
        # JSON is read a hundred times as fast, which matters with a thousand classes.
        return parse_json(text) if builtin.endswith(".json") else parse_yaml(text, _StrictLoader), str(path_or_name)
    path = Path(path_or_name)
    missing = f"give a YAML or JSON file, or {_listing(_BUILTIN_FILES, 'or')} for a built-in one"
    text = read_text(path, "The label map", missing)
    try:
        if path.suffix.lower() == ".json":
            return parse_json(text, object_pairs_hook=_unique_dict), str(path)
        return parse_yaml(text, _StrictLoader), str(path)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UserError(f"The label map {path} cannot be parsed ({line}{error.problem}); correct it.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"The label map {path} cannot be parsed ({one_line(error)}); correct it.") from error


class _StrictLoader(yaml.SafeLoader):
    """Refuses a repeated key, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"'{key.value}' is given twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _unique_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if repeated := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise ValueError(f"'{repeated[0]}' is given twice")
    return dict(pairs)


def _indices_by_name(output_names: Sequence[str] | None) -> dict[str, tuple[int, ...]] | None:
    if output_names is None:
        return None
    by_name: dict[str, tuple[int, ...]] = {}
    for index, full_name in enumerate(output_names):
        for name in {full_name, *(synonym.strip() for synonym in full_name.split(","))}:
            by_name[name] = (*by_name.get(name, ()), index)
    return by_name


def _refuse_unknown_keys(mapping: Mapping[str, object], known: set[str], where: str) -> None:
    if unknown := [key for key in mapping if key not in known]:
        raise UserError(f"{where} has the unknown key '{unknown[0]}'; the keys are {_listing(sorted(known))}.")


def _did_you_mean(name: str, candidates: Iterable[str]) -> str:
    names = list(candidates)
    same_letters = [candidate for candidate in names if candidate.casefold() == name.casefold()]
    close = same_letters or difflib.get_close_matches(name, names, n=3)
    return f" (did you mean {_listing(close, 'or')}?)" if close else ""


def _some(names: Sequence[str]) -> str:
    """'the class a', or 'the 12 classes a, b, ...', cut after a readable number of names."""
    if len(names) == 1:
        return f"the class {names[0]}"
    more = ", ..." if len(names) > _MAX_NAMES_SHOWN else ""
    return f"the {len(names)} classes {', '.join(names[:_MAX_NAMES_SHOWN])}{more}"


def _listing(items: Iterable[object], joint: str = "and") -> str:
    *others, last = map(str, items)
    return f"{', '.join(others)} {joint} {last}" if others else last
