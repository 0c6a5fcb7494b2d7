"""``wsloc classes``: what a network's outputs are called."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from wsloc.config import ClassifierSettings
from wsloc.errors import UserError, counted

_MAX_OUTPUTS_NAMED = 5
_MAX_NEAREST = 5


@dataclass(frozen=True)
class ClassesConfig:
    """List the outputs of a network, each with its index; weights are read only if a file is given."""

    word: Annotated[
        str | None, tyro.conf.Positional, tyro.conf.arg(metavar="WORD", help_behavior_hint="(default: all)")
    ] = None
    """only the outputs whose names contain this word; a whole name also says what it means as a class to look for"""
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)


def run(config: ClassesConfig, _command: Sequence[str]) -> int:
    """Print a line for each output. Returns 1 if no name fits the word, else 0."""
    from wsloc.classifiers import check_network, load_classifier, make_scorer

    classifier = load_classifier(config.classifier, fetch=False)
    size_hw = classifier.preprocessing.input_size_hw
    count = check_network(make_scorer(classifier.network, [[0]]), (classifier.preprocessing.channels, *size_hw))
    names = classifier.output_names or tuple(f"output {index}" for index in range(count))
    if len(names) != count:
        raise UserError(f"The network has {count} outputs but {len(names)} names; `classes_file` needs one line each.")
    print(f"{classifier.name}: {counted(count, 'output')}, input {size_hw[1]} x {size_hw[0]} pixels")
    word = config.word
    found = [(index, name) for index, name in enumerate(names) if word is None or word.lower() in name.lower()]
    for index, name in found:
        print(f"{index:>6}  {name}")
    if word is None:
        return 0
    meaning = _meaning(word, names, config.classifier.label_map, named=classifier.output_names is not None)
    if meaning:
        print(f"As a class to look for, {word!r} is {meaning}.")
    elif not found:
        close = difflib.get_close_matches(word.lower(), {name.lower(): None for name in names}, n=_MAX_NEAREST)
        nearest = [f"{index} {name}" for index, name in enumerate(names) if name.lower() in close]
        print(f"No output is called {word!r}" + (f"; the nearest are {', '.join(nearest)}." if nearest else "."))
    return 0 if found or meaning else 1


def _meaning(word: str, names: tuple[str, ...], label_map: str | None, *, named: bool) -> str:
    """Which outputs stand for a class of that name, in words; empty if none does."""
    from wsloc.classifiers import resolve_label_map

    try:
        (mapped,) = resolve_label_map([word], len(names), names if named else None, label_map).classes
    except UserError:
        return ""
    shown = ", ".join(str(index) for index in mapped.outputs[:_MAX_OUTPUTS_NAMED])
    more = ", ..." if len(mapped.outputs) > _MAX_OUTPUTS_NAMED else ""
    what = f"{counted(len(mapped.outputs), 'output')} ({shown}{more})" if mapped.outputs else "no output"
    return f"{what}: {mapped.note}" if mapped.note else what
