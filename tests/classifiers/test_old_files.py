"""Weights whose keys are spelled otherwise than the network's, and still mean the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wsloc.classifiers.load import load_classifier
from wsloc.config import ClassifierSettings

State = dict[str, Tensor]

RENAMINGS: dict[str, Callable[[State], State]] = {
    "before PyTorch 0.4.1": lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
    "torchvision's own file": lambda state: {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value for key, value in state.items()
    },
    "DataParallel": lambda state: {f"module.{key}": value for key, value in state.items()},
}


@pytest.mark.parametrize("origin", RENAMINGS)
def test_old_files_of_densenet(tmp_path: Path, origin: str) -> None:
    from torchvision.models import densenet121

    torch.manual_seed(0)
    trained = densenet121(num_classes=2).eval()
    renamed = RENAMINGS[origin](trained.state_dict())
    assert set(renamed) != set(trained.state_dict())
    torch.save(renamed, tmp_path / "old.pth")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    settings = ClassifierSettings("densenet121", tmp_path / "old.pth", classes_file=tmp_path / "names.txt")
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(load_classifier(settings).network.eval()(images), trained(images))


def test_a_network_with_a_part_called_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wrapped_net.py").write_text(
        "from torch import nn\n\n\nclass Wrapped(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.module = nn.Linear(3, 2)\n\n"
        "    def forward(self, images):\n        return self.module(images.mean(dim=(2, 3)))\n"
    )
    import wrapped_net  # type: ignore[import-not-found]

    network: nn.Module = wrapped_net.Wrapped()
    torch.save(network.state_dict(), tmp_path / "own.pth")
    loaded = load_classifier(ClassifierSettings("wrapped_net:Wrapped", tmp_path / "own.pth"))
    assert torch.equal(loaded.network.module.weight, network.module.weight)  # type: ignore[union-attr, arg-type]
