"""What a stage of the pipeline is: a batch in, as many answers out, in order; a bad item is a value."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from wsloc.records import ImageRecord

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Failed:
    """An image, or one of its classes, that a stage cannot process. Later stages pass it on.

    Attributes:
        image: the image.
        stage: name of the stage.
        reason: one sentence, without its period.
    """

    image: ImageRecord
    stage: str
    reason: str


class Stage(Protocol[In_contra, Out_co]):
    """One step of the pipeline, the same for the local runner and for a cluster engine.

    A stage is picklable: it is made from settings, and opens weights on first use. Items of a short batch give the
    same bytes as those of a full one.
    """

    @property
    def name(self) -> str:
        """What timings and failures call it."""

    @property
    def batch_size(self) -> int:
        """How many items it takes at once, at most."""

    @property
    def on_device(self) -> bool:
        """Whether it runs in the thread that owns the device; else in any thread, with one of PyTorch's."""

    def group(self, item: In_contra, /) -> Hashable:
        """Items of equal groups may share a batch."""

    def __call__(self, items: Sequence[In_contra], /) -> Sequence[Out_co | Failed]:
        """One answer per item, in their order."""
