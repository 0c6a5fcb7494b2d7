"""What the folder of every training contains, besides the results of its kind.

config.yaml     the settings
epochs.csv      learning rate, losses and held-out metrics of each epoch
state.pt        of an unfinished training, removed at the end
manifest.json   what ran; its ``complete: true`` is written last

:func:`wsloc.runs.choose_folder.open_run_folder` opens it, and decides whether an unfinished training may be resumed.
Everything but the manifest has the same bytes for any number of workers and any interruption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from wsloc.devices import device_name
from wsloc.runs.run_folder import SCHEMA_VERSION
from wsloc.versions import package_versions

_PACKAGES = ("wsloc", "torch", "torchvision", "numpy", "pillow")


def machine_identity(device: torch.device, threads: int) -> dict[str, object]:
    """What changes the weights besides settings and data: the same training elsewhere rounds differently.

    Args:
        device: of the network.
        threads: of PyTorch on the CPU.
    """
    return {"device": device_name(device), "network_threads": threads, "torch": torch.__version__}


def training_manifest(
    kind: str, command: Sequence[str], identity: Mapping[str, object], facts: Mapping[str, object]
) -> dict[str, Any]:
    """The manifest of a training that has not begun.

    Args:
        kind: of what is trained.
        command: the words of the command line.
        identity: what a resumed training must share.
        facts: anything else worth knowing.
    """
    head = {"schema_version": SCHEMA_VERSION, "kind": kind, "complete": False, "command": list(command)}
    return {**head, **identity, **facts, "versions": package_versions(_PACKAGES)}
