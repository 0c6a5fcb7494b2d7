"""The network that a classifier is trained on, its own head taken off."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from wsloc.classifiers.architectures import build_architecture
from wsloc.classifiers.load_weights import load_weights
from wsloc.classifiers.pooled_head import AUXILIARY, check_pooling, head_name, remove_head
from wsloc.classifiers.preprocessing import Preprocessing, adjusted
from wsloc.errors import UserError
from wsloc.fitting.fitting_settings import FittingSettings


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """A network that returns features averaged over the image.

    Attributes:
        network: maps ``(N, C, H, W)`` to ``(N, channels)``; in evaluation mode, on the CPU.
        head: name of the attribute that its head goes to.
        channels: features of an image.
        arch: what a checkpoint calls the network.
        preprocessing: how an image becomes its input.
        has_weights: whether its weights were trained before.
    """

    network: nn.Module
    head: str
    channels: int
    arch: str
    preprocessing: Preprocessing
    has_weights: bool


def open_backbone(settings: FittingSettings, seed: int = 0) -> Backbone:
    """Build the network, load its weights and take off its head.

    Args:
        settings: which network.
        seed: of the weights of a network that has none yet.

    Raises:
        UserError: if the network or a file is missing, the weights belong to another network, its head does not read
            averaged features, or a network without weights is to stay as it is.
    """
    has_weights = settings.arch != "small_cnn" or settings.weights is not None
    if not has_weights and not settings.fine_tune:
        raise UserError(
            "small_cnn has no trained weights to keep; add `fine_tune=True`, or give `weights` or `arch='demo'`."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = build_architecture(settings.arch, pretrained=settings.weights is None, num_outputs=None)
    network = built.network
    head = head_name(network, settings.arch)
    remove_head(network, head)
    if settings.weights is not None:
        load_weights(network, settings.weights, settings.arch, without=(head, *AUXILIARY))
    preprocessing = adjusted(built.preprocessing, settings.mean, settings.std, settings.input_size, settings.resize)
    shape = (preprocessing.channels, *preprocessing.input_size_hw)
    channels = check_pooling(network.eval(), shape, settings.arch)
    # The demo's weights come with its name; a checkpoint brings its own.
    arch = "small_cnn" if settings.arch == "demo" else settings.arch
    return Backbone(network, head, channels, arch, preprocessing, has_weights)
