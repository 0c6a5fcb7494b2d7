"""The device that a computation runs on: chosen by the settings, and what it is called."""

from __future__ import annotations

import platform

import torch

from wsloc.errors import UserError


def choose_device(name: str) -> torch.device:
    """The device that the settings name; ``auto`` takes CUDA or MPS where there is one.

    Raises:
        UserError: if it is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available[name]:
        raise UserError(f"`device={name!r}`: there is no such device; use `device='auto'` or `device='cpu'`.")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """The kind of a device and its model, such as ``cpu (x86_64)``."""
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{device.type} ({model})"
