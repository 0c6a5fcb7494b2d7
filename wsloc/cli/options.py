"""From flags and YAML files to a configuration.

Precedence: defaults in the code < ``configs/<dataset>.yaml`` < ``--config FILE`` < flags. A YAML file
is the flags written down, so it is read by the same parser: each key is turned into its flag.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import tyro
import yaml

import wsloc
from wsloc.config import DatasetName, LocalizeConfig, MapKind, OutputSettings, RefinementSettings
from wsloc.errors import UserError, one_line

FLAG_OF_FIELD = {"class_name": "class"}
NOT_IN_FILES = frozenset({"config", "out", "resume", "overwrite", "workers", "download", "report", "export"})
"""Settings of one call, which no file may hold and which do not tell two configurations apart."""


def parse_localize(arguments: Sequence[str]) -> LocalizeConfig:
    """The configuration that a command line asks for.

    Raises:
        UserError: for a YAML file that is missing, malformed or holds an unknown key or a bad value.
        SystemExit: status 2 for bad flags, after a message with suggestions; 0 after ``--help``.
    """
    arguments = _with_map_kind(arguments)
    # The flags are judged only on top of the files: a quantile may be right there and wrong beside the defaults.
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config", type=Path, nargs="?")
    finder.add_argument("--dataset", nargs="?")
    finder.add_argument("--maps", type=Path, nargs="?")
    named, _ = finder.parse_known_args(arguments)
    dataset = named.dataset or (_read_yaml(named.config).get("dataset") if named.config else None)
    config = of_maps = LocalizeConfig() if named.maps is None else _settings_of_maps(named.maps)
    if (
        named.maps is None
        and isinstance(dataset, str)
        and dataset in get_args(DatasetName)
        and (shipped := shipped_config(dataset))
    ):
        config = _layer(shipped, config)
    if named.config:
        config = _without_unit_as_class(_layer(named.config, config))
    config = _with_unit_as_class(_parse(arguments, config))
    if named.maps is not None:
        _check_maps(config, of_maps)
    return config


def settings_of_run(
    folder: Path, root: Path | None = None, boxes: Path | None = None, masks: Path | None = None
) -> LocalizeConfig:
    """The settings that a run had.

    Args:
        folder: of the run.
        root: where its data set lies now; None for where the run had it.
        boxes: file of its true boxes; None for that of the run, if it had one.
        masks: folder of its true masks, likewise.

    Raises:
        UserError: if the folder is no run of this version, and as :func:`parse_localize`.
    """
    # Only now, so that --help answers at once.
    from wsloc.runs.read_run import read_run_manifest

    read_run_manifest(folder)
    given = {"--root": root, "--boxes": boxes, "--masks": masks}
    moved = [word for flag, path in given.items() if path is not None for word in (flag, str(path))]
    return parse_localize(["--config", str(folder / "config.yaml"), *moved])


def _settings_of_maps(run: Path) -> LocalizeConfig:
    """The settings of a run whose maps are cut again, all but what it wrote."""
    config = _without_unit_as_class(settings_of_run(run))
    saliency = dataclasses.replace(config.saliency, maps=run)
    return dataclasses.replace(config, saliency=saliency, refinement=RefinementSettings(), output=OutputSettings())


def _check_maps(config: LocalizeConfig, of_maps: LocalizeConfig) -> None:
    """Refuse settings that the maps of a run no longer follow."""
    fixed = dataclasses.fields(config.classifier) + dataclasses.fields(config.saliency)
    given, had = flatten(config), flatten(of_maps)
    for key in (*(field.name for field in fixed if field.name != "maps"), "targets"):
        if given[key] != had[key]:
            flag = key.replace("_", "-")
            raise UserError(f"{config.saliency.maps} made its maps with {flag} {had[key]}; leave out --{flag}.")


def _with_map_kind(arguments: Sequence[str]) -> list[str]:
    """A bare ``--save-maps`` means float32."""
    words = list(arguments)
    if "--save-maps" in words:
        place = words.index("--save-maps") + 1
        if place == len(words) or words[place].startswith("--"):
            words.insert(place, get_args(MapKind)[0])
    return words


def _with_unit_as_class(config: LocalizeConfig) -> LocalizeConfig:
    """A unit that is asked for stands where a class would, in every image."""
    if config.classifier.layer is None:
        return config
    name = config.classifier.unit_name
    if config.data.class_name not in (None, name) or config.data.targets != "labels":
        raise UserError("--layer asks for a unit in place of classes: leave out --class and --targets.")
    return dataclasses.replace(config, data=dataclasses.replace(config.data, class_name=name))


def _without_unit_as_class(config: LocalizeConfig) -> LocalizeConfig:
    """A file that a run wrote names its unit as the class, too; flags may ask for another unit."""
    if config.classifier.layer is None or config.data.class_name != config.classifier.unit_name:
        return config
    return dataclasses.replace(config, data=dataclasses.replace(config.data, class_name=None))


def shipped_config(name: str) -> Path | None:
    """The YAML file of that name that comes with the package, or None."""
    package = Path(wsloc.__file__).parent
    # In a wheel the files lie inside the package, in a checkout beside it.
    candidates = (package / "configs" / f"{name}.yaml", package.parent / "configs" / f"{name}.yaml")
    return next((path for path in candidates if path.is_file()), None)


def to_yaml(config: LocalizeConfig) -> str:
    """The resolved configuration as YAML text that ``--config`` reads back."""
    settings = {key: value for key, value in flatten(config).items() if key not in NOT_IN_FILES}
    return yaml.safe_dump({key: _plain(value) for key, value in settings.items()}, sort_keys=False)


def flatten(config: LocalizeConfig) -> dict[str, Any]:
    """All settings by their flag names, with underscores."""
    flat: dict[str, Any] = {}
    for group in dataclasses.fields(config):
        value = getattr(config, group.name)
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                flat[FLAG_OF_FIELD.get(field.name, field.name)] = getattr(value, field.name)
        else:
            flat[group.name] = value
    return flat


def _parse(arguments: Sequence[str], default: LocalizeConfig) -> LocalizeConfig:
    return tyro.cli(
        LocalizeConfig,
        prog="wsloc localize",
        args=list(arguments),
        default=default,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def _layer(path: Path, default: LocalizeConfig) -> LocalizeConfig:
    settings = _read_yaml(path)
    known = [key for key in flatten(default) if key not in NOT_IN_FILES]
    for key in settings:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]}?" if close else "wsloc localize --help lists the settings."
            raise UserError(f"{path}: unknown setting {key!r}; {hint}")
    arguments = [word for key, value in settings.items() for word in _as_flags(path, key, value)]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return _parse(arguments, default)
    except SystemExit:
        raise UserError(f"{path}: {_sentence(said.getvalue())}; wsloc localize --help says what it takes.") from None


def _sentence(box: str) -> str:
    """The first message in a frame that tyro drew."""
    lines = (line.strip("│╭╮╰╯─ \n") for line in box.splitlines()[1:])
    return " ".join(itertools.takewhile(bool, lines)).rstrip(".")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The configuration {path} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {one_line(error)}.") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise UserError(f"{path} must hold 'key: value' lines, not a {type(settings).__name__}.")
    return settings


def _as_flags(path: Path, key: str, value: object) -> list[str]:
    flag = "--" + key.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else "--no-" + flag[2:]]
    if isinstance(value, dict):
        raise UserError(f"{path}: {key} holds settings of its own, but all settings stand at the left margin.")
    if isinstance(value, list):
        return [flag, *map(str, value)]
    return [f"{flag}={value}"]


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
