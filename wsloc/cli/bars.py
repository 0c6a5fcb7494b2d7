"""Progress bars in the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar, cast

from tqdm import tqdm

if TYPE_CHECKING:
    from wsloc.training.loop import Step

T = TypeVar("T")


def bar(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
    """A bar on standard error that disappears when the work is done; see :class:`wsloc.progress.Progress`."""
    return tqdm(items, desc=what, unit=unit, total=total, dynamic_ncols=True, leave=False)


def kept_bar(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
    """The same, but the bar stays: for the main work of a command."""
    return tqdm(items, desc=what, unit=unit, total=total, dynamic_ncols=True)


def training_bar(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
    """The same; during a training it also shows the loss and the metrics of the last epoch."""
    shown = tqdm(items, desc=what, unit=unit, total=total, dynamic_ncols=True)
    for item in shown:
        if unit == "step":
            shown.set_postfix_str(_note(cast("Step", item)), refresh=False)
        yield item


def _note(step: Step) -> str:
    figures = {"loss": step.loss}
    if step.last is not None and step.last.val_loss is not None:
        figures |= {"val_loss": step.last.val_loss, **step.last.values}
    return f"epoch {step.epoch}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
