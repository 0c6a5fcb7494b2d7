"""An export from beginning to end: two passes over the run, few images in memory at a time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from wsloc.config_files import read_yaml
from wsloc.errors import UserError, counted
from wsloc.exporters.counts import NOT_USABLE, ClassCounts, Counts
from wsloc.exporters.export_folder import FORMAT_VERSION, MANIFEST, new_folder
from wsloc.exporters.export_settings import LayoutSettings, Media, SelectionSettings
from wsloc.exporters.first_pass import FirstPass, first_pass
from wsloc.exporters.formats import TRAIN, VAL, Export, Format, WriterContext
from wsloc.exporters.in_place import usual_media
from wsloc.exporters.media import UPRIGHT
from wsloc.exporters.read_boxes import iter_images
from wsloc.exporters.source import Source
from wsloc.exporters.stream import Stream
from wsloc.progress import Progress, silent
from wsloc.registries import FORMATS
from wsloc.runs.read_run import open_records, read_run_manifest


def export_run(
    run: Path,
    source: Source,
    format_name: str,
    out: Path | None = None,
    selection: SelectionSettings | None = None,
    layout: LayoutSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Export:
    """Write the boxes of a run, which may be unfinished, for a detector or an annotation tool.

    The folder gets the files of the format, ``images.csv`` (which image became which file), ``problems.txt`` (one line
    for each image that cannot be used, if there are any) and ``export.json``. It is there when all of it is written,
    and the same run and settings give the same bytes. Nothing else is changed.

    Args:
        run: its folder.
        source: its data set.
        format_name: one of :data:`wsloc.registries.FORMATS`.
        out: folder to write; None for ``exports/FORMAT`` in that of the run.
        selection: which boxes; None for all.
        layout: how they are laid out; None for what is usual with the format.
        overwrite: replace an export in ``out``.
        progress: counts the images of the run.

    Raises:
        UserError: if there is nothing to export, the settings do not fit the format, no image is there, or ``out``
            cannot be written.
    """
    out = out or run / "exports" / format_name.replace(":", "-")
    selection, layout = selection or SelectionSettings(), layout or LayoutSettings()
    kind: Format = FORMATS[format_name]
    _require_fit(format_name, selection, layout)
    run_manifest = read_run_manifest(run)
    run_fields = _run_fields(run, run_manifest)
    # Once: a run that is still being written grows between the passes.
    records = open_records(run)
    media_mode = layout.media or usual_media(kind, iter_images(records), source.root)
    found = first_pass(run, records, selection, layout.val_fraction)
    context = _context(source, found, layout, media_mode, _info(run, run_manifest))
    counts = Counts({name: ClassCounts() for name in context.class_names})
    with new_folder(out, overwrite) as folder:
        stream = Stream(records, source.root, kind, selection, layout, media_mode, found, folder, counts, progress)
        if media_mode != "none":
            for split in context.splits:
                (folder / kind.image_folders[split]).mkdir(parents=True, exist_ok=True)
        warnings = kind.write(folder, stream.images(), context)
        if not counts.images:
            raise UserError(_no_image(run, source, counts, stream.problem))
        moved = _why_moved(counts, media_mode) if layout.media is None and media_mode != kind.media else ()
        folders = {
            split: context.root if media_mode == "none" else kind.image_folders[split] for split in context.splits
        }
        manifest = {
            "format_version": FORMAT_VERSION,
            "format": format_name,
            "run": run_fields,
            "wsloc": context.info["wsloc"],
            "selection": dataclasses.asdict(selection),
            "layout": {**dataclasses.asdict(layout), "media": media_mode, "segmentation": context.outline},
            # Where the images are: relative to the export, or where the data set is.
            "image_folders": {split: relative.as_posix() for split, relative in folders.items()},
            "counts": counts.as_fields(),
            "warnings": [*counts.warnings(), *warnings, *moved, *_incomplete(run_manifest, context, counts, found)],
            "classes": counts.classes_as_fields(dict(zip(context.class_names, context.category_ids, strict=True))),
        }
        _write_manifest(folder, manifest)
    return Export(out, run, manifest, {split: out / relative for split, relative in folders.items()})


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest, indent=2, ensure_ascii=False, default=str, skipkeys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def _why_moved(counts: Counts, media_mode: Media) -> Iterator[str]:
    if media_mode == "copy":
        yield "The export has copies of the images, because they are in tars."
        return
    upright = counts.media[UPRIGHT]
    yield (
        f"The export has upright copies of {counted(upright, 'image')} with an EXIF orientation, from which boxes come "
        "back displaced, and links to the others."
        if upright
        else "The export has links of names that are read: some images differ by their suffix alone."
    )


def _incomplete(
    run_manifest: dict[str, Any], context: WriterContext, counts: Counts, found: FirstPass
) -> Iterator[str]:
    if not run_manifest.get("complete"):
        yield "The run is unfinished: only the images of its finished parts were exported."
    if VAL in context.splits and not (counts.images[TRAIN] and counts.images[VAL]):
        yield "One of the splits has no image; give another `val_fraction`."
    if found.unknown_marks:
        yield f"The review has {counted(found.unknown_marks, 'mark')} of items that have no box in the run."


def _no_image(run: Path, source: Source, counts: Counts, problem: str) -> str:
    # An image without a box is not even looked for.
    if not (missing := counts.images_left_out[NOT_USABLE]):
        return (
            f"No image of {run} has a box to learn from: all boxes that are left are uncertain; "
            "give a lower `ignore_below`, or `keep_empty=True`."
        )
    return (
        f"None of the {missing} images of {run} that were selected can be used from {source.root} ({problem}); "
        "`root` names their folder."
    )


def _require_fit(format_name: str, selection: SelectionSettings, layout: LayoutSettings) -> None:
    kind: Format = FORMATS[format_name]
    if selection.uncertain == "ignore" and not kind.ignores:
        raise UserError(f"`format={format_name!r}` has no regions to ignore; leave `uncertain='ignore'` out.")
    if layout.val_fraction and VAL not in kind.image_folders:
        raise UserError(f"`format={format_name!r}` has no splits; leave `val_fraction` out.")
    if layout.segmentation is not None and not kind.has_outlines:
        raise UserError(f"`format={format_name!r}` has only boxes; `segmentation` is only for `format='coco'`.")
    if (layout.media or kind.media) == "none" and kind.needs_images:
        raise UserError(
            f"`format={format_name!r}` needs its images next to the table; give `media='copy'` or `media='hardlink'`."
        )


def _context(
    source: Source, found: FirstPass, layout: LayoutSettings, media_mode: Media, info: dict[str, object]
) -> WriterContext:
    """Names and numbers: the data set's, then those of classes that it does not know, as with ``class_name``."""
    more = tuple(name for name in found.class_names if name not in source.class_names)
    first = source.category_ids or tuple(range(1, len(source.class_names) + 1))
    after = max(first, default=0) + 1
    return WriterContext(
        class_names=source.class_names + more,
        category_ids=first + tuple(range(after, after + len(more))),
        numeric_ids=source.category_ids is not None and found.numeric_ids,
        splits=(TRAIN, VAL) if layout.val_fraction else (TRAIN,),
        outline=layout.segmentation or "polygons",
        media=media_mode,
        root=source.root.resolve(),
        info=info,
    )


def _info(run: Path, manifest: dict[str, Any]) -> dict[str, object]:
    """Where the boxes come from; without a date, so that the same export has the same bytes."""
    return {
        "description": "Boxes made from image-level labels by wsloc",
        "version": str(FORMAT_VERSION),
        "wsloc": metadata.version("wsloc"),
        "run": run.resolve().name,
        "run_commit": manifest.get("commit"),
    }


def _run_fields(run: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    config = run / "config.yaml"
    return {
        "name": run.resolve().name,
        "complete": bool(manifest.get("complete", False)),
        "commit": manifest.get("commit"),
        "versions": manifest.get("versions"),
        "dataset_fingerprint": manifest.get("dataset_fingerprint"),
        "config": read_yaml(config) if config.is_file() else None,
    }
