"""What the device is called that a computation runs on."""

from __future__ import annotations

import platform

import torch


def device_name(device: torch.device) -> str:
    """The kind of a device and its model, such as ``cpu (x86_64)``."""
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{device.type} ({model})"
