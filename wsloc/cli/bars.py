"""Progress bars in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tqdm import tqdm

if TYPE_CHECKING:
    from wsloc.training.loop import Step

T = TypeVar("T")


class _Bar(tqdm):  # type: ignore[type-arg]  # tqdm[T] is for type checkers alone
    """A bar that tells the remaining time by what came after the first items.

    They wait for the network and for batches to fill, so that by their rate a job of a minute would take an hour.
    """

    _first: tuple[float, float] | None = None
    """When the first items came, and how many they were."""

    def update(self, n: float | None = 1) -> bool | None:
        """Draw, if it is time to; only then take note of the first items."""
        drawn = super().update(n)
        if self._first is None and self.n > self.initial:
            self._first = (time.monotonic(), self.n)
        return drawn

    @property
    def format_dict(self) -> dict[str, Any]:
        """What is drawn."""
        drawn = dict(super().format_dict)
        if self.total and self.n < self.total:
            since, count = self._first or (0.0, self.n)
            if self.n > count:
                drawn["rate"] = (self.n - count) / max(time.monotonic() - since, 1e-9)
            else:
                drawn["bar_format"] = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<?{postfix}]"
        return drawn


def bar(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
    """A bar on standard error that disappears when the work is done; see :class:`wsloc.progress.Progress`."""
    return _Bar(items, desc=what, unit=unit, total=total, dynamic_ncols=True, leave=False)


def kept_bar(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
    """The same, but the bar stays: for the main work of a command."""
    return _Bar(items, desc=what, unit=unit, total=total, dynamic_ncols=True)


def noted_bar(
    items: Iterable[T], what: str, unit: str, total: int | None = None, *, note: Callable[[T], str], refresh: bool
) -> Iterable[T]:
    """The same with a note on the current item; ``refresh`` draws it before the item's work, not at the next tick."""
    shown = _Bar(items, desc=what, unit=unit, total=total, dynamic_ncols=True)
    for item in shown:
        shown.set_postfix_str(note(item), refresh=refresh)
        yield item


def training_bar(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
    """A bar that stays; next to the steps of a training it shows their loss and the last epoch's metrics."""
    if unit != "step":
        return kept_bar(items, what, unit, total)
    return noted_bar(items, what, unit, total, note=lambda item: _note(cast("Step", item)), refresh=False)


def print_above(line: str) -> None:
    """Print a line to standard output without breaking the bar below it."""
    tqdm.write(line)


def _note(step: Step) -> str:
    figures = {"loss": step.loss}
    if step.last is not None and step.last.val_loss is not None:
        figures |= {"val_loss": step.last.val_loss, **step.last.values}
    return f"epoch {step.epoch}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
