"""What to type after an export."""

from __future__ import annotations

import shlex
from pathlib import Path

from wsloc.exporters.formats import Commands, Export, Format
from wsloc.exporters.mask_pictures import FOLDER
from wsloc.exporters.writer_context import TRAIN
from wsloc.registries import FORMATS


def next_commands(export: Export) -> Commands:
    """What the tools that read an export take, for its format and for its mask pictures."""
    kind: Format = FORMATS[export.manifest["format"]]
    commands = kind.next_commands(export)
    if export.manifest["layout"]["mask_pictures"]:
        images, masks = quoted(export.image_folders[TRAIN]), quoted(export.path / FOLDER)
        # What lies in sub-folders of its class needs no labels; a copy does.
        command = f"wsloc localize --dataset folder --root {images} --labels CSV --masks {masks}"
        commands.append(("the masks as truth", command))
    return commands


def images_first(export: Export, folder: Path) -> Commands:
    """What to do before the rest where the images are not in the export."""
    if export.has_images:
        return []
    return [("first", f"put the images into {export.path / folder}, named as images.csv says")]


def quoted(path: Path) -> str:
    """A path for the shell."""
    return shlex.quote(str(path))
