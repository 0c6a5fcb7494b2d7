"""Opening a picture that holds a mask."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from wsloc.errors import ItemError
from wsloc.images import open_known


@contextlib.contextmanager
def open_mask(path: Path, name: str) -> Iterator[Image.Image]:
    """A mask's picture, to be read inside the ``with`` block.

    Raises:
        ItemError: calling it by its name, if it is missing or damaged, or of none of the formats of images.
    """
    try:
        with open_known(path) as picture:
            yield picture
    except ItemError:
        raise
    except FileNotFoundError as error:
        raise ItemError(f"the {name} does not exist") from error
    except UnidentifiedImageError as error:
        raise ItemError(f"the {name} cannot be read: it is not an image that can be read") from error
    except OSError as error:
        raise ItemError(f"the {name} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # Pillow may raise anything for a damaged file
        raise ItemError(f"the {name} cannot be read: {error}") from error
