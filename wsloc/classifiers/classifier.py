"""What a classifier is to whoever asks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from wsloc.classifiers.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A network that is ready to be asked.

    Attributes:
        network: maps float32 ``(N, C, H, W)``, normalized, to ``(N, outputs)``.
        preprocessing: how an image becomes its input.
        output_names: one for each output, or None.
        activation: what makes probabilities of its outputs.
        name: short, for run folders and tables.
        trained_here: whether it is a checkpoint of wsloc, whose classes are those of a data set.
    """

    network: nn.Module
    preprocessing: Preprocessing
    output_names: tuple[str, ...] | None
    activation: Literal["softmax", "sigmoid"]
    name: str
    trained_here: bool = False
