"""Settings by name: flat, as files have them, and the settings that a run was made with."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import tyro
import yaml

import wsloc
from wsloc.config import LocalizeConfig
from wsloc.errors import UserError, did_you_mean, one_line
from wsloc.files.documents import parse_yaml
from wsloc.files.reading import read_text
from wsloc.plugins import named_by_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")
KEY_OF_SETTING = {"class_name": "class"}
"""Settings that files and flags call by another name."""
OF_ONE_CALL = frozenset(
    {
        "config",
        "preset",
        "out",
        "resume",
        "overwrite",
        "dry_run",
        "log_level",
        "workers",
        "download",
        "report",
        "export",
        "shard",
        "engine",
        "ray_address",
        "ray_timeout",
    }
)
"""Settings that no file may contain and that do not distinguish two configurations."""
_OF_COMMANDS = frozenset({"config", "dry_run", "log_level"})
"""Settings of the command line alone."""
_NAMES_OF_CODE = ("dataset", "arch", "method", "second_method", "views", "segmenter", "refiner")
_RENAMED = {"rise_share": "rise_fraction", "component_area_share": "component_area_fraction"}
"""What files of version 0.1.0 call settings, and what they are called now."""


def make_config(kind: type[Config], settings: Mapping[str, Any]) -> Config:
    """The configuration of a verb from some of its settings, whatever group they belong to; others have their defaults.

    Paths may be text, tuples may be lists. A preset gives the settings that are not given.

    Raises:
        UserError: if there is no such setting, or a value is out of its range.
    """
    if (file := shipped_config(str(settings["preset"])) if "preset" in settings else None) is not None:
        settings = read_yaml(file) | dict(settings)
    groups: dict[str, Any] = {
        field.name: field.default_factory for field in dataclasses.fields(kind) if _is_group(field)
    }
    owner = {name: kind for name in _own_settings(kind) if name not in groups}
    owner |= {name: group for group in groups.values() for name in _own_settings(group)}
    changed: dict[Any, dict[str, Any]] = {group: {} for group in (kind, *groups.values())}
    for name, value in settings.items():
        if name not in owner:
            hint = did_you_mean(name, owner, f"there are {', '.join(sorted(owner))}.")
            raise UserError(f"There is no setting {name!r}; {hint}")
        changed[owner[name]][name] = _typed(owner[name], name, value)
    made = {name: group(**changed[group]) for name, group in groups.items()}
    return kind(**made, **changed[kind])


def _is_group(field: dataclasses.Field[Any]) -> bool:
    return isinstance(field.default_factory, type) and dataclasses.is_dataclass(field.default_factory)


def _own_settings(group: Any) -> list[str]:
    """The settings of a dataclass that can be given: not those that a verb fixes, nor those of the command line."""
    hints = typing.get_type_hints(group, include_extras=True)
    fixed = {name for name, hint in hints.items() if tyro.conf.Fixed in getattr(hint, "__metadata__", ())}
    return [field.name for field in dataclasses.fields(group) if field.name not in fixed | _OF_COMMANDS]


def shipped_config(name: str) -> Path | None:
    """The YAML file of that name that comes with the package, or None."""
    package = Path(wsloc.__file__).parent
    # A wheel has the files inside the package, a checkout has them next to it.
    candidates = (package / "configs" / f"{name}.yaml", package.parent / "configs" / f"{name}.yaml")
    return next((path for path in candidates if path.is_file()), None)


def preset_is_used(config: LocalizeConfig) -> bool:
    """Whether the preset of a configuration does anything: it learns if it should, and some setting of it holds."""
    file = shipped_config(config.preset)
    wanted, settings = {} if file is None else read_yaml(file), flatten(config)
    if "refiner" in wanted:
        return settings["refiner"] is not None
    return not wanted or any(settings[key] == value for key, value in wanted.items())


def flatten(config: Any) -> dict[str, Any]:
    """All settings of a verb by the keys of files."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value)
        else:
            flat[KEY_OF_SETTING.get(field.name, field.name)] = value
    return flat


def to_plain(config: Any) -> dict[str, Any]:
    """The resolved settings of a verb, or of a group, as YAML has them, without what belongs to one call."""
    return {key: _plain(value) for key, value in flatten(config).items() if key not in OF_ONE_CALL}


def to_yaml(config: Any) -> str:
    """The same as YAML text."""
    return yaml.safe_dump(to_plain(config), sort_keys=False)


def to_comments(config: Any) -> str:
    """The same as comments, for a YAML file whose readers look for something else."""
    return "".join(f"# {line}\n" for line in to_yaml(config).splitlines())


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file; none for an empty one.

    Raises:
        UserError: if it is missing, malformed, or holds no keys.
    """
    try:
        settings = parse_yaml(read_text(path, "The configuration"))
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path} is not valid YAML: {one_line(error)}.") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise UserError(f"{path} must hold 'key: value' lines, not a {type(settings).__name__}.")
    return {_RENAMED.get(str(key), str(key)): value for key, value in settings.items()}


def settings_of_run(folder: Path, **moved: Path | str | None) -> LocalizeConfig:
    """The settings that a run had; of a detector's run those of its images alone.

    Args:
        folder: of the run.
        moved: settings of the data that have changed since, such as ``root``; None for none.

    Raises:
        UserError: if the folder is not a readable run, or its settings are damaged.
    """
    # Only now, so that reading settings does not load NumPy.
    from wsloc.runs.read_run import read_run_manifest

    manifest, file = read_run_manifest(folder), folder / "config.yaml"
    stored = read_yaml(file)
    if manifest.get("kind") is not None and manifest["schema_version"] != 1:
        stored = stored.get("data") or {}
    setting_of = {key: name for name, key in KEY_OF_SETTING.items()}
    named = {setting_of.get(key, key): value for key, value in stored.items()}
    given = {name: value for name, value in moved.items() if value is not None}
    try:
        return marked(make_config(LocalizeConfig, named | given), file)
    except (TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise UserError(f"{file} is damaged: {one_line(error)}.") from error


def marked(config: Config, file: Path) -> Config:
    """The configuration that a file gave, in which it names no code unless files are trusted."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changed[field.name] = marked(value, file)
        elif type(value) is str:
            changed[field.name] = named_by_file(value, file)
    return dataclasses.replace(config, **changed)


def names_code(config: Any) -> bool:
    """Whether settings name code of the user's own, so that a file of them must be trusted."""
    values = flatten(config)
    return any(":" in (values[name] or "") and not values[name].startswith("timm:") for name in _NAMES_OF_CODE)


def settings_of_runs(folders: Sequence[Path], **moved: Path | str | None) -> list[LocalizeConfig]:
    """The same for runs on one data set; what has moved is told once, for the first of them."""
    return [settings_of_run(folder, **(moved if index == 0 else {})) for index, folder in enumerate(folders)]


def _typed(group: type[Any], name: str, value: Any) -> Any:
    """A value from a file, or a person, in the type of its setting."""
    hint = typing.get_type_hints(group)[name]
    kinds = (hint, *typing.get_args(hint))
    if isinstance(value, str) and Path in kinds:
        return Path(value)
    if isinstance(value, list):
        return tuple(value)
    choices = [choice for kind in kinds if typing.get_origin(kind) is Literal for choice in typing.get_args(kind)]
    # A number or a word: its group says what is wrong with it.
    if isinstance(value, str) and choices and int not in kinds and value not in choices:
        close = did_you_mean(value, choices)
        raise UserError(f"`{name}` must be one of {', '.join(choices)}, not {value!r}{f'; {close}' if close else '.'}")
    return value


def _plain(value: object) -> object:
    if isinstance(value, Path | str):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
