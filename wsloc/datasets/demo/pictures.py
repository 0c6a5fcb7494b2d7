"""scikit-image's sample pictures, from its installed package."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import NDArray

from wsloc.errors import UserError
from wsloc.images import read_image

SHA256 = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "brick.png": "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    "cell.png": "8d23a7fb81f7cc877cd09f330357fc7f595651306e84e17252f6e0a1b3f61515",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "coins.png": "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
    "grass.png": "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    "gravel.png": "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    "ihc.png": "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    "retina.jpg": "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
}
"""Files used and their SHA-256, as in scikit-image 0.23 to 0.26."""

GRAY = frozenset({"brick.png", "camera.png", "cell.png", "coins.png", "grass.png", "gravel.png"})
"""Pictures without color, which get a random one: or the lack of color would give a class away."""


@cache
def load_picture(name: str) -> NDArray[np.float32]:
    """A sample picture as read-only RGB float32 ``(H, W, 3)`` in [0, 1].

    Args:
        name: a key of :data:`SHA256`.

    Raises:
        UserError: if scikit-image is not installed, lacks the picture or has another one under its name.
    """
    try:
        with as_file(files("skimage").joinpath("data", name)) as path:
            if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256[name]:
                raise UserError(
                    f"the installed scikit-image has another {name} than the demo was made for: "
                    "install scikit-image 0.23 to 0.26"
                )
            pixels = read_image(path)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise UserError(f"the demo needs {name} of scikit-image 0.23 to 0.26: install that version") from error
    picture = pixels.astype(np.float32) / np.float32(255)
    picture.flags.writeable = False
    return picture
