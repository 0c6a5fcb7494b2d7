"""Every test of this folder needs a CUDA device, and without one is skipped by its own name."""

from __future__ import annotations

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "gpu":
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(autouse=True)
def cuda(request: pytest.FixtureRequest) -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip(f"{request.node.name} needs CUDA")
    return torch.device("cuda")
