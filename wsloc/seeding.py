"""One run seed; a seed of its own for each item."""

import hashlib


def stable_hash(run_seed: int, image_id: str, class_name: str) -> int:
    """A 31-bit seed that depends on nothing but its arguments, never on order or worker.

    Args:
        run_seed: the seed of the run.
        image_id: id of the image.
        class_name: class that is localized in it.

    Returns:
        An integer in [0, 2**31).
    """
    text = f"{run_seed}\x1f{image_id}\x1f{class_name}".encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little") & 0x7FFFFFFF
