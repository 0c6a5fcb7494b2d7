"""``wsloc compare-methods``: the maps of one image by many methods, on one sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from wsloc.cli.bars import noted_bar
from wsloc.cli.flags import with_flags
from wsloc.cli.outputs import free_output
from wsloc.config import ClassifierSettings, Combination, ComputeSettings, LocalizeConfig, SaliencySettings
from wsloc.errors import ItemError, UserError
from wsloc.registries import METHODS
from wsloc.setting_checks import optional, require, require_above, require_range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wsloc.pipeline import Localizer
    from wsloc.pipeline.map_stage import MapStage
    from wsloc.pipeline.model import Model
    from wsloc.pipeline.read_stage import ReadImage


@dataclass(frozen=True)
class SettingsOfMethods(SaliencySettings):
    """The settings of all methods, without the choice of one."""

    method: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress] = "gradient"
    second_method: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    combine: Annotated[Combination, tyro.conf.Fixed, tyro.conf.Suppress] = "product"
    maps: Annotated[Path | None, tyro.conf.Fixed, tyro.conf.Suppress] = None


@dataclass(frozen=True)
class _ComputeOfOneImage(ComputeSettings):
    """There is nothing to do in parallel, and the image itself is shown."""

    decode_side: Annotated[int | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    workers: Annotated[int | None, tyro.conf.Fixed, tyro.conf.Suppress] = 0


@dataclass(frozen=True)
class CompareMethodsConfig:
    """Draw the maps of one image by many methods side by side in one picture."""

    image: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """the image"""
    class_names: Annotated[
        tuple[str, ...], tyro.conf.arg(name="class", metavar="NAME...", help_behavior_hint="(default: none)")
    ] = ()
    """classes to look for; each is a block of the sheet"""
    methods: Annotated[tuple[str, ...], tyro.conf.arg(metavar="METHOD...", help_behavior_hint="(default: all)")] = ()
    """saliency methods, in this order"""
    style: Literal["overlay", "color", "gray", "inverted-gray"] = "overlay"
    """map over the photograph in gray, or alone: in color, in gray (white is salient), or in inverted gray"""
    alpha: float = 0.55
    """overlay: opacity of the map (0 to 1)"""
    colormap: Literal["turbo", "viridis", "inferno", "jet"] = "turbo"
    """overlay, color: colormap"""
    top_percentile: float = 99.0
    """scale each map from its minimum to this percentile of its pixels (above 0, at most 100; 100: maximum)"""
    columns: int = 5
    """maximum number of tiles per row (1 to 100)"""
    tile: int = 224
    """longer side of each picture in pixels (32 to 2048)"""
    out: Annotated[Path | None, optional("FILE", "NAME-methods.png in the current folder")] = None
    """picture to write: .png, .jpg or .webp"""
    overwrite: bool = False
    """replace the picture if it exists"""
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)
    saliency: SettingsOfMethods = field(default_factory=SettingsOfMethods)
    compute: _ComputeOfOneImage = field(default_factory=_ComputeOfOneImage)

    def __post_init__(self) -> None:
        for name in self.methods:
            METHODS.require(name)
        require(
            bool(self.class_names) or self.classifier.layer is not None,
            "Nothing to look for: give --class NAME..., or --layer NAME and --unit K.",
        )
        require(
            not self.class_names or self.classifier.layer is None,
            "--layer uses a unit instead of classes: leave out --class.",
        )
        require_range(self, "alpha", 0, 1)
        require_range(self, "columns", 1, 100)
        require_range(self, "tile", 32, 2048, unit=" pixels")
        require_above(self, "top_percentile", 0, 100)
        require(
            self.out is None or self.out.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"),
            f"--out must end in .png, .jpg or .webp, not {self.out}.",
        )


@dataclass(eq=False)
class _Answers:
    """What the methods returned: maps by method and class, as large as a tile, or why there is none."""

    maps: dict[tuple[str, str], NDArray[np.float32]] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    probabilities: dict[str, float] = field(default_factory=dict)


def run(config: CompareMethodsConfig, _command: Sequence[str]) -> int:
    """Write the sheet. Returns 1 if a method gave no map of a class, else 0."""
    out = free_output(config.out or Path(f"{config.image.stem}-methods.png"), overwrite=config.overwrite)
    if out.resolve() == config.image.resolve():
        raise UserError(f"{out} is the image itself; give another --out.")
    import numpy as np
    from PIL import Image

    from wsloc.devices import choose_device
    from wsloc.files.atomic import write_picture
    from wsloc.images import read_image, scaled_wh
    from wsloc.threads import applied, plan_threads

    try:
        image_rgb = read_image(config.image)
    except ItemError as error:
        raise UserError(f"{error}.") from error
    tile_wh = scaled_wh((image_rgb.shape[1], image_rgb.shape[0]), config.tile)
    with applied(plan_threads(choose_device(config.compute.device), config.compute.workers)):
        localizer, read = _open(config)
        answers = _ask_all(config, localizer, read, tile_wh)
    photograph = np.asarray(Image.fromarray(image_rgb).resize(tile_wh, Image.Resampling.LANCZOS))
    write_picture(out, _sheet(config, read.class_names, photograph, answers))
    print(f"{localizer.model.classifier.name}: {len(answers.maps)} maps of {config.image}")
    for (method, class_name), reason in answers.reasons.items():
        print(f"  no map by {method} of {class_name}: {reason}")
    print(f"Sheet: {out}")
    return 1 if answers.reasons else 0


def _open(config: CompareMethodsConfig) -> tuple[Localizer, ReadImage]:
    """The pipeline for a data set of this one image, labeled with what to look for, and the image read."""
    from wsloc.pipeline import Failed, make_localizer
    from wsloc.records import ImageRecord

    named = config.class_names if config.classifier.layer is None else (config.classifier.unit_name,)
    labels = tuple(dict.fromkeys(named))
    image = ImageRecord(config.image.name, config.image.name, config.image, labels)
    settings = LocalizeConfig(classifier=config.classifier, saliency=config.saliency, compute=config.compute)
    localizer = make_localizer(settings, labels)
    for label in labels:
        if reason := localizer.maps.why_no_map(label):
            raise UserError(reason)
    (read,) = localizer.read([image])
    if isinstance(read, Failed):
        raise UserError(f"{read.reason}.")
    return localizer, read


def _ask_all(config: CompareMethodsConfig, localizer: Localizer, read: ReadImage, tile_wh: tuple[int, int]) -> _Answers:
    from wsloc.pipeline import Runner
    from wsloc.pipeline.map_stage import ImageMaps
    from wsloc.segmentation import working_map

    answers = _Answers()
    bound = _bind_all(config, localizer, read)
    for name, stage in noted_bar(bound, "maps", "method", len(_methods(config)), note=_cost, refresh=True):
        try:
            if isinstance(stage, UserError):
                raise stage
            (of_image,) = stage.compute([read], Runner())
        except UserError as error:
            answers.reasons |= {(name, class_name): with_flags(str(error)) for class_name in read.class_names}
            continue
        assert isinstance(of_image, ImageMaps)
        for class_name, saliency in of_image.maps.items():
            answers.probabilities.setdefault(class_name, of_image.probabilities[class_name])
            try:
                answers.maps[name, class_name] = working_map(saliency, tile_wh[::-1], smoothing=0)
            except ItemError as error:
                answers.reasons[name, class_name] = with_flags(f"{error}.")
    return answers


def _methods(config: CompareMethodsConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys(config.methods or METHODS))


def _bind_all(
    config: CompareMethodsConfig, localizer: Localizer, read: ReadImage
) -> Iterator[tuple[str, MapStage | UserError]]:
    """Each method's stage, or why there is none."""
    from wsloc.pipeline.model import each_method

    assert read.views is not None
    example = read.views.views[0].pixels[None]
    for name, model in each_method(localizer.network.model, _methods(config), config.saliency, example):
        yield name, model if isinstance(model, UserError) else _with_method(localizer, model, read)


def _cost(bound: tuple[str, MapStage | UserError]) -> str:
    name, stage = bound
    return name if isinstance(stage, UserError) else f"{name} ({stage.model.bound.method.cost})"


def _with_method(localizer: Localizer, model: Model, read: ReadImage) -> MapStage:
    """The stage of another method, with batches no larger than one image fills.

    A method that changes the image fills batches with the changed versions. Any other would compute empty rows, too.
    """
    assert read.views is not None
    stage, method = localizer.network, model.bound.method
    fills_batches = method.shares_passes and method.forward_passes > 1
    rows = len(read.views.views) * (1 if method.shares_passes else len(read.class_names))
    return replace(stage, model=model, batch_size=stage.batch_size if fills_batches else min(rows, stage.batch_size))


def _sheet(
    config: CompareMethodsConfig, class_names: Sequence[str], photograph: NDArray[np.uint8], answers: _Answers
) -> NDArray[np.uint8]:
    """A block for each class: the photograph, then the map of each method."""
    from wsloc.visualization import STYLES, Block, Tile, contact_sheet, stretch_map

    def tile(name: str, class_name: str) -> Tile:
        if (name, class_name) not in answers.maps:
            return Tile(name, None, answers.reasons[name, class_name])
        saliency = stretch_map(answers.maps[name, class_name], config.top_percentile)
        return Tile(name, STYLES[config.style](photograph, saliency, config.alpha, config.colormap))

    blocks = []
    for class_name in class_names:
        maps = (tile(name, class_name) for name in _methods(config))
        probability = answers.probabilities.get(class_name)
        # The activation of a unit is not a probability.
        note = _shown(probability) if probability is not None and config.classifier.layer is None else ""
        blocks.append(Block(class_name, note, (Tile("image", photograph), *maps)))
    return contact_sheet(blocks, (photograph.shape[1], photograph.shape[0]), config.columns)


def _shown(probability: float) -> str:
    return f"p = {probability:.2f}" if probability >= 0.01 else f"p = {probability:.1g}"
