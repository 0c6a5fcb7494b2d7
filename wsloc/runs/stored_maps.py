"""The stage that takes maps from a store, where another run asks the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from wsloc.config import LocalizeConfig
from wsloc.errors import ItemError, UserError
from wsloc.files.part_archive import ArchiveReader, archives
from wsloc.pipeline.localizer import Localizer, bound_cut, read_stage
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.pipeline.read_stage import ReadImage
from wsloc.pipeline.runner import Runner
from wsloc.pipeline.stage import Failed
from wsloc.runs import checks
from wsloc.runs.checks import checked_fields
from wsloc.runs.map_store import FEATURES, MAPS, SavedMaps, read_features
from wsloc.runs.read_run import read_run, read_run_manifest

_TOLD = {"probability": checks.number, "rank": checks.or_none(checks.rank)}


@dataclass(frozen=True, eq=False)
class StoredMaps:
    """Gives images the maps that a run kept, and the features where it kept any.

    The classes of an image without labels are those that the run found to be the classifier's best.

    Attributes:
        run: its folder.
        layers: whose features the maps come with.
        reasons: why classes have no map, by name, as the network's label map said.
    """

    run: Path
    layers: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    name: str = "saliency"
    batch_size: int = 1
    on_device: bool = False

    @cached_property
    def saved(self) -> SavedMaps:
        """The store, opened at the first call."""
        return SavedMaps(self.run / MAPS)

    @cached_property
    def features(self) -> ArchiveReader:
        """Likewise."""
        return ArchiveReader(self.run / FEATURES, ("image_id", "layer"))

    def compute(self, images: Iterable[ReadImage | Failed], runner: Runner) -> Iterator[ImageMaps | Failed]:
        """The maps of images, in order."""
        return runner.run(self, images)

    def why_no_map(self, class_name: str) -> str | None:
        """Why there is no map of a class."""
        return self.reasons.get(class_name, f"{self.run} kept no map of it")

    def __getstate__(self) -> dict[str, Any]:
        """Without the opened store, so that each process opens its own."""
        return {own.name: getattr(self, own.name) for own in fields(self)}

    def identity(self) -> dict[str, Any]:
        """That of the run which asked the network."""
        manifest = read_run_manifest(self.run)
        return {key: manifest.get(key) for key in ("network", "network_sha256", "device", "batch_size")}

    def without_substitute(self) -> list[tuple[str, str]]:
        """As that run said."""
        return [(name, note) for name, note in read_run_manifest(self.run).get("without_substitute") or ()]

    def ranked_classes(self) -> int | None:
        """As that run said."""
        return read_run_manifest(self.run).get("ranked_classes")

    def changes(self) -> dict[str, Any]:
        """None: no network runs."""
        return {}

    def group(self, _image: ReadImage) -> None:
        """Images are looked up one by one."""

    def __call__(self, images: Sequence[ReadImage]) -> list[ImageMaps | Failed]:
        """Look some images up; a damaged entry is a failure of its image."""
        return [self._looked_up(image) for image in images]

    def _looked_up(self, image: ReadImage) -> ImageMaps | Failed:
        image_id = image.image.image_id
        rows = self.saved.rows.get(image_id, {})
        if not image.class_names:
            image = replace(image, class_names=tuple(rows))
        names = [name for name in image.class_names if name in rows]
        try:
            found = {name: self.saved.read(image_id, name) for name in names}
            features = {layer: read_features(self.features, image_id, layer) for layer in self.layers if names}
            told = {name: checked_fields(rows[name], _TOLD) for name in names}
        except (ItemError, ValueError) as error:
            return Failed(image.image, self.name, str(error))
        maps = {name: values for name, values in found.items() if values is not None}
        probabilities = {name: told[name]["probability"] for name in maps}
        ranks = {name: told[name]["rank"] for name in maps}
        return ImageMaps(image, maps, probabilities, ranks, features)


def make_recutter(config: LocalizeConfig, run: Path) -> Localizer:
    """The stages that cut the maps of a run once more; no network is loaded.

    Raises:
        UserError: if the folder is not a run, or has no maps.
    """
    contents = read_run(run)
    if not archives(run / MAPS):
        raise UserError(f"{run} kept no maps that can be cut; run it with `save_maps='float32'`.")
    reasons = {failure.class_name: failure.reason for failure in contents.failures if failure.stage == "saliency"}
    return Localizer(
        read_stage(config, None),
        StoredMaps(run, reasons=reasons),
        bound_cut(config),
    )
