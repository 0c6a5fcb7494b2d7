"""Turns settings into flags in the messages of library code."""

from __future__ import annotations

import dataclasses
import functools
import re
import shlex
from collections.abc import Iterator
from typing import Any

from wsloc.cli.verbs import VERBS, config_of
from wsloc.config_files import KEY_OF_SETTING

TRUST = "trust"
"""The flag that lets files name code to run."""
_SETTING = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")


def with_flags(text: str) -> str:
    """The text, with settings in backquotes turned into flags: ```resize='squash'``` becomes ``--resize squash``.

    Text in backquotes that is not a setting of any verb stays.
    """
    return _SETTING.sub(_flag, text)


def _flag(match: re.Match[str]) -> str:
    name, value = match.groups()
    if name not in _settings():
        return match[0]
    flag = flag_of(name)
    if value == "False":
        return f"--no-{flag[2:]}"
    return flag if value in (None, "True") else f"{flag} {shlex.quote(value.strip(chr(39)))}"


@functools.cache
def _settings() -> frozenset[str]:
    """The names of all settings of all verbs, and of the flag that each of them takes."""
    return frozenset({TRUST, *(field.name for verb in VERBS for field in fields(config_of(verb)))})


def fields(config: Any) -> Iterator[dataclasses.Field[Any]]:
    """The settings of a configuration: those of its groups in place of the groups."""
    for field in dataclasses.fields(config):
        group = field.default_factory
        if isinstance(group, type) and dataclasses.is_dataclass(group):
            yield from fields(group)
        else:
            yield field


def flag_of(name: str) -> str:
    """``--class`` for ``class_name``, ``--val-fraction`` for ``val_fraction``."""
    return "--" + KEY_OF_SETTING.get(name, name).replace("_", "-")
