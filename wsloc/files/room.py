"""How much a disk has left, and how that is shown."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def room(folder: Path) -> int:
    """Free bytes on the disk of a folder, which need not exist yet."""
    folder = folder.absolute()
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def written(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 if there is none."""
    return sum(found.stat().st_size for found in (path, *path.rglob("*")) if found.is_file())


def in_units(count: float) -> str:
    """``512 bytes``, ``1.5 KiB``, ``31.2 MiB``."""
    if count < 1024:
        return f"{count:.0f} bytes"
    power = min(int(math.log(count, 1024)), len(_UNITS))
    return f"{count / 1024**power:.1f} {_UNITS[power - 1]}"
