import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import wsloc.classifiers
from wsloc.classifiers.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from wsloc.classifiers.preprocessing import Preprocessing
from wsloc.classifiers.small_cnn import SmallCNN
from wsloc.errors import UserError

INFO = CheckpointInfo(
    arch="small_cnn",
    class_names=("cat", "Tür"),
    preprocessing=Preprocessing((112, 96), (0.5, 0.4, 0.3), (0.25, 0.2, 0.1)),
    activation="sigmoid",
)


def test_round_trip(tmp_path: Path) -> None:
    network = SmallCNN(num_classes=2)
    save_checkpoint(tmp_path / "net.safetensors", network, INFO)
    tensors, info = load_checkpoint(tmp_path / "net.safetensors")
    assert info == INFO
    saved = network.state_dict()
    assert tensors.keys() == saved.keys()
    assert all(torch.equal(tensors[name], saved[name]) and tensors[name].dtype == saved[name].dtype for name in saved)
    SmallCNN(num_classes=2).load_state_dict(tensors)
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def _metadata(**changes: object) -> dict[str, str]:
    fields = {"arch": "small_cnn", "class_names": ["cat"], "input_size_hw": [112, 96], "activation": "sigmoid"}
    return {"wsloc": json.dumps(fields | {"mean": [0.5], "std": [0.25]} | changes)}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "holds weights, but not what wsloc needs"),
        ({"format": "pt"}, "holds weights, but not what wsloc needs"),
        ({"wsloc": "{"}, "cannot be read"),
        ({"wsloc": "[]"}, "cannot be read"),
        ({"wsloc": '{"arch": "small_cnn"}'}, "cannot be read"),
        (_metadata(input_size_hw=[112]), "cannot be read"),
        (_metadata(activation="tanh"), "tanh"),
        (_metadata(input_size_hw=[float("inf"), 96]), "cannot be read"),
        (_metadata(input_size_hw=[0, 96]), "of 96 x 0 pixels"),
        (_metadata(input_size_hw=[-1, -1]), "of -1 x -1 pixels"),
        (_metadata(input_size_hw=[20_000, 5_001]), "of 5001 x 20000 pixels"),
        (_metadata(mean=[float("nan")]), "must be finite"),
        (_metadata(std=[0]), "above 0"),
    ],
)
def test_metadata_refused(tmp_path: Path, metadata: dict[str, str] | None, message: str) -> None:
    path = tmp_path / "net.safetensors"
    save_file({"weight": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(UserError, match=message):
        load_checkpoint(path)


def test_other_files_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        load_checkpoint(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("these are not weights at all")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_checkpoint(tmp_path / "text.safetensors")
    (tmp_path / "empty.safetensors").touch()
    with pytest.raises(UserError, match="not a safetensors file"):
        load_checkpoint(tmp_path / "empty.safetensors")
    with pytest.raises(UserError):
        load_checkpoint(tmp_path)


def test_shipped_weights_fit_the_network() -> None:
    path = Path(wsloc.classifiers.__path__[0]) / "weights" / "demo.safetensors"
    assert path.stat().st_size <= 1_000_000
    tensors, info = load_checkpoint(path)
    network = SmallCNN(len(info.class_names)).eval()
    network.load_state_dict(tensors)
    assert network(torch.zeros(1, 3, *info.preprocessing.input_size_hw)).shape == (1, len(info.class_names))
    assert replace(info, class_names=()) == CheckpointInfo(
        "small_cnn", (), Preprocessing((112, 112), (0.45, 0.45, 0.45), (0.25, 0.25, 0.25)), "sigmoid"
    )
