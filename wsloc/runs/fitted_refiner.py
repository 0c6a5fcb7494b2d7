"""The refiner of a run: what it reads of a network, and the file that holds what it learned."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wsloc.classifiers.cell_order import probes, require_order
from wsloc.classifiers.preprocessing import MakeViews
from wsloc.classifiers.scorer import scoring_mode
from wsloc.config import RefinementSettings
from wsloc.errors import UserError, one_line
from wsloc.files.documents import parse_json
from wsloc.pipeline.features import require_whole_view, watched_features
from wsloc.pipeline.localizer import Localizer
from wsloc.pipeline.refine_stage import Refiner, RefinerKind, RefineStage
from wsloc.plugins import named_by_file
from wsloc.registries import REFINERS, VIEWS
from wsloc.runs import checks
from wsloc.runs.checks import checked_fields

FITTED = "refiner.safetensors"
"""File of a run that holds what its refiner learned."""
_ABOUT = "about"
"""Entry of its metadata that says what it was learned from, as JSON."""
_ABOUT_FIELDS = {**dict.fromkeys(("refiner", "network", "network_sha256"), checks.text), "layers": checks.texts}


def for_refiner(settings: RefinementSettings, localizer: Localizer, num_images: int) -> Localizer:
    """The stages with the features that a refiner reads, and with the refiner itself if it is fitted already.

    Args:
        settings: they name a refiner.
        localizer: the stages without one.
        num_images: of the set.

    Raises:
        UserError: if there is no such refiner, it is of another network, or the set is too small for it.
    """
    assert settings.refiner is not None
    if settings.fitted:
        path = Path(settings.refiner)
        layers = tuple(_read_about(path)["layers"])
        if settings.feature_layers not in ((), layers):
            raise UserError(f"{path} was learned from the layers {', '.join(layers)}; leave out `feature_layers`.")
        return with_fitted(localizer.with_layers(layers), path)
    kind: RefinerKind = REFINERS[settings.refiner]
    if num_images < kind.min_images:
        raise UserError(
            f"{settings.refiner} learns from {kind.min_images} images or more, but there are {num_images}; use "
            "`preset='default'`, or the refiner of a run on more images of the same classes."
        )
    scorer, own = localizer.model.scorer, localizer.model.classifier.preprocessing
    example = torch.zeros(1, own.channels, *own.input_size_hw, device=scorer.device)
    layers = settings.feature_layers or kind.layers(scorer, example)
    _check_features(localizer, layers, example)
    return localizer.with_layers(layers)


def _check_features(localizer: Localizer, layers: Sequence[str], example: Tensor) -> None:
    """Refuse layers and views that give no features of the whole image, before the first one."""
    scorer, preprocessing = localizer.model.scorer, localizer.model.classifier.preprocessing
    images = probes(example)
    with scoring_mode(scorer.network), torch.no_grad(), watched_features(scorer.network, images, layers) as features:
        scorer.logits(images)
        for layer, grids in features().items():
            require_order(grids, layer)
    assert localizer.read.views is not None
    make_views: MakeViews = VIEWS[localizer.read.views]
    require_whole_view(make_views(np.zeros((64, 96, 3), dtype=np.uint8), preprocessing))


def with_fitted(localizer: Localizer, path: Path, named: str | None = None) -> Localizer:
    """The stages with a refiner that was fitted before.

    Args:
        localizer: the stages without one.
        path: of the fitted refiner.
        named: what the settings call the refiner, so that its file need not be trusted; None if they name the file.

    Raises:
        UserError: if the file is missing, damaged, or of another network than the maps.
    """
    kept = _read_about(path)
    own = localizer.maps.identity()
    if kept["network_sha256"] != own["network_sha256"]:
        raise UserError(
            f"{path} was learned from features of {kept['network']}, with other weights than those of "
            f"{own['network']}; give the same network, or fit the refiner again."
        )
    fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
    name = named if named is not None and named == kept["refiner"] else named_by_file(kept["refiner"], path)
    kind: RefinerKind = REFINERS[name]
    return replace(localizer, refine=RefineStage(kind.load(path), fingerprint))


def _read_about(path: Path) -> dict[str, Any]:
    """What the file of a fitted refiner says about itself: ``refiner``, ``layers``, ``network``, ``network_sha256``.

    Raises:
        UserError: if the file is missing or damaged, or says nothing.
    """
    try:
        with safe_open(path, "np") as file:
            kept = (file.metadata() or {}).get(_ABOUT)
    except (OSError, SafetensorError) as error:
        raise UserError(f"The refiner {path} cannot be read: {one_line(error)}.") from error
    about: Any = None
    with contextlib.suppress(ValueError):
        about = parse_json(kept or "")
    try:
        checked_fields(about if isinstance(about, dict) else {}, _ABOUT_FIELDS)
    except ValueError as error:
        raise UserError(f"{path} is not a fitted refiner; use the {FITTED} of a run with `refiner`.") from error
    found: dict[str, Any] = about
    return found


def metadata_of(name: str, layers: Sequence[str], identity: Mapping[str, Any]) -> dict[str, str]:
    """What the file of a refiner says about itself; read back by :func:`with_fitted`.

    Args:
        name: of the refiner.
        layers: whose features it reads.
        identity: of the maps; ``network`` and ``network_sha256`` of it.
    """
    about = {"refiner": name, "layers": list(layers)}
    # One entry alone: safetensors writes several in random order.
    return {_ABOUT: json.dumps(about | {key: identity[key] for key in ("network", "network_sha256")})}


def save_fitted(refiner: Refiner, folder: Path, metadata: Mapping[str, str]) -> Path:
    """Write what a refiner learned into a run folder, all or nothing; the path of the file."""
    fitted = folder / FITTED
    temporary = fitted.with_name(f"{FITTED}.tmp")
    refiner.save(temporary, metadata)
    temporary.replace(fitted)
    return fitted
