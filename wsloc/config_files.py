"""Settings by name: flat, as flags and YAML files have them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from wsloc.config import LocalizeConfig
from wsloc.errors import UserError


def with_settings(config: LocalizeConfig, settings: Mapping[str, Any]) -> LocalizeConfig:
    """A configuration with some settings changed, whatever group they belong to.

    Raises:
        UserError: if there is no such setting, or a value is out of its range.
    """
    group_of = {
        field.name: group.name
        for group in dataclasses.fields(config)
        if dataclasses.is_dataclass(of_group := getattr(config, group.name))
        for field in dataclasses.fields(of_group)
    }
    changed: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        if name not in group_of:
            close = difflib.get_close_matches(name, group_of, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(group_of))}."
            raise UserError(f"There is no setting {name!r}; {hint}")
        changed.setdefault(group_of[name], {})[name] = value
    groups = {name: dataclasses.replace(getattr(config, name), **fields) for name, fields in changed.items()}
    return dataclasses.replace(config, **groups)
