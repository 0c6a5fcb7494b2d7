"""The logits in what a network returns, which need not be a plain tensor."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from wsloc.errors import UserError


def logits_of(output: Any, count: int) -> tuple[Tensor, str]:
    """The logits ``(count, O)`` of an output, and in words what was taken; an empty text for the whole output.

    Taken is a tensor ``(count, O)`` or ``(count, O, 1, 1)``; else such a tensor called ``logits``; else the first of
    a tuple or list, or the only one of a dict.

    Raises:
        UserError: if there is none.
    """
    if (plain := _rows(output, count)) is not None:
        return plain, "" if plain is output else f"its tensor {tuple(output.shape)} without the last sides"
    named = output.get("logits") if isinstance(output, dict) else getattr(output, "logits", None)
    if (rows := _rows(named, count)) is not None:
        return rows, "the part called logits"
    parts = (
        output.items() if isinstance(output, dict) else enumerate(output) if isinstance(output, (tuple, list)) else ()
    )
    found = [(key, rows) for key, part in parts if (rows := _rows(part, count)) is not None]
    if found and (len(found) == 1 or not isinstance(output, dict)):
        return found[0][1], f"part {found[0][0]!r}"
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise UserError(
        f"The network must return one row of logits per image, a tensor (N, outputs), but returned {shape} "
        f"for {count} images; wrap it in a module that does."
    )


def _rows(value: Any, count: int) -> Tensor | None:
    """The rows of a tensor of logits; None for anything else."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim < 2 or len(value) != count:
        return None
    if value.ndim == 4 and value.shape[2:].numel() == 1:
        return value.flatten(1)
    return value if value.ndim == 2 else None
