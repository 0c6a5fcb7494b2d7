"""From flags and YAML files to a configuration.

Precedence: defaults in the code < ``configs/<dataset>.yaml`` < ``configs/<preset>.yaml`` < ``--maps RUN`` <
``--config FILE`` < flags. A YAML file is a list of flags, read by the same parser: each key becomes its flag.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from wsloc.cli.flags import flag_of
from wsloc.cli.parse import parse
from wsloc.config import LocalizeConfig, MapKind
from wsloc.config_files import OF_ONE_CALL, flatten, marked, read_yaml, settings_of_run, shipped_config
from wsloc.errors import UserError, did_you_mean
from wsloc.registries import DATASETS


def parse_localize(arguments: Sequence[str]) -> LocalizeConfig:
    """The configuration that a command line asks for.

    Raises:
        UserError: for bad flags, or a YAML file that is missing or malformed, or has an unknown key or a bad value.
        SystemExit: status 0, after ``--help``.
    """
    arguments = _with_map_kind(arguments)
    # Flags are validated only on top of the files: a quantile may be valid with theirs and not with the defaults.
    file, maps = _value_of("--config", arguments), _value_of("--maps", arguments)
    dataset = _value_of("--dataset", arguments) or (read_yaml(Path(file)).get("dataset") if file else None)
    config = LocalizeConfig()
    if maps and _value_of("--preset", arguments) not in (None, "default"):
        raise UserError("`maps` and `preset` exclude each other: the maps have the settings of their run.")
    for name in (
        dataset if isinstance(dataset, str) and dataset in DATASETS else None,
        _value_of("--preset", arguments),
    ):
        if isinstance(name, str) and (shipped := shipped_config(name)):
            config = _layer(shipped, config)
    if maps:
        settings = settings_of_run(Path(maps))
        config = dataclasses.replace(settings, refinement=config.refinement, output=config.output)
    if file:
        config = _layer(Path(file), config)
    config = _with_unit_as_class(parse(LocalizeConfig, "localize", arguments, _without_unit_as_class(config)))
    _refuse_other_maps(config)
    return config


def _value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """The word after a flag, or after its equals sign; of several the last."""
    found = None
    for word, following in zip(arguments, [*arguments[1:], "--"], strict=False):
        name, equals, value = word.partition("=")
        if name == flag and (equals or not following.startswith("-")):
            found = value if equals else following
    return found


def _refuse_other_maps(config: LocalizeConfig) -> None:
    """The maps of a run exist already: settings that would make different ones are a mistake."""
    if config.saliency.maps is None:
        return
    given, had = flatten(config), flatten(settings_of_run(config.saliency.maps))
    of_maps = flatten(config.classifier) | flatten(config.saliency) | {"targets": config.data.targets}
    for key in of_maps:
        if key != "maps" and given[key] != had[key]:
            raise UserError(f"{config.saliency.maps} computed its maps with {key} {had[key]}; leave out `{key}`.")


def _with_map_kind(arguments: Sequence[str]) -> list[str]:
    """A bare ``--save-maps`` means float32."""
    words = list(arguments)
    if "--save-maps" in words:
        index = words.index("--save-maps") + 1
        if index == len(words) or words[index].startswith("--"):
            words.insert(index, get_args(MapKind)[0])
    return words


def _with_unit_as_class(config: LocalizeConfig) -> LocalizeConfig:
    """A unit takes the place of the class, in every image."""
    if config.classifier.layer is None:
        return config
    name = config.classifier.unit_name
    if config.data.class_name not in (None, name) or config.data.targets != "labels":
        raise UserError("`layer` uses a unit instead of classes: leave out `class_name` and `targets`.")
    return dataclasses.replace(config, data=dataclasses.replace(config.data, class_name=name))


def _without_unit_as_class(config: LocalizeConfig) -> LocalizeConfig:
    """The settings of a run also name its unit as the class; flags may ask for another unit."""
    if config.classifier.layer is None or config.data.class_name != config.classifier.unit_name:
        return config
    return dataclasses.replace(config, data=dataclasses.replace(config.data, class_name=None))


def _layer(path: Path, default: LocalizeConfig) -> LocalizeConfig:
    settings = read_yaml(path)
    known = [key for key in flatten(default) if key not in OF_ONE_CALL]
    for key in settings:
        if key == "preset":
            raise UserError(f"{path}: `preset` is for the command line alone.")
        if key not in known:
            hint = did_you_mean(key, known, "wsloc localize --help lists the settings.")
            raise UserError(f"{path}: unknown setting {key!r}; {hint}")
    arguments = [word for key, value in settings.items() for word in _as_flags(path, key, value)]
    try:
        return marked(parse(LocalizeConfig, "localize", arguments, default), path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _as_flags(path: Path, key: str, value: object) -> list[str]:
    flag = flag_of(key)
    if isinstance(value, bool):
        return [flag if value else "--no-" + flag[2:]]
    if isinstance(value, dict):
        raise UserError(f"{path}: {key} has nested settings, but all settings must be at the top level.")
    if isinstance(value, list):
        return [flag, *map(str, value)]
    return [f"{flag}={value}"]
