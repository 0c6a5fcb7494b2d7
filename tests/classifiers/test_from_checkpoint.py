"""A checkpoint of wsloc as a classifier: all that it needs is in the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import wsloc.classifiers
from wsloc.classifiers.checkpoint import CheckpointInfo, checkpoint_bytes, load_checkpoint, save_checkpoint
from wsloc.classifiers.load import load_classifier
from wsloc.classifiers.outputs import resolve_label_map
from wsloc.classifiers.preprocessing import Preprocessing
from wsloc.classifiers.small_cnn import SmallCNN
from wsloc.config import ClassifierSettings
from wsloc.errors import UserError

SHIPPED = Path(wsloc.classifiers.__path__[0]) / "weights" / "demo.safetensors"
PREPROCESSING = Preprocessing((48, 64), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "short-side", Image.Resampling.BICUBIC)
INFO = CheckpointInfo("small_cnn", ("cat", "dog"), PREPROCESSING, "sigmoid")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "net.safetensors", SmallCNN(2), INFO)
    return tmp_path / "net.safetensors"


def test_everything_comes_from_the_file(checkpoint: Path) -> None:
    classifier = load_classifier(ClassifierSettings(checkpoint=checkpoint))
    assert classifier.preprocessing == PREPROCESSING
    assert (classifier.output_names, classifier.activation) == (("cat", "dog"), "sigmoid")
    torch.manual_seed(0)
    images = torch.randn((2, 3, 48, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(classifier.network.eval()(images), SmallCNN(2).eval()(images))


def test_flags_come_before_the_file(checkpoint: Path) -> None:
    settings = ClassifierSettings(checkpoint=checkpoint, input_size=96, resize="squash", activation="softmax")
    classifier = load_classifier(settings)
    assert classifier.preprocessing.input_size_hw == (96, 96)
    assert (classifier.preprocessing.resize, classifier.activation) == ("squash", "softmax")


def test_the_shipped_weights_are_a_checkpoint_too_and_keep_their_bytes() -> None:
    images = torch.randn((2, 3, 112, 112), generator=torch.Generator().manual_seed(1))
    trained = load_classifier(ClassifierSettings(checkpoint=SHIPPED))
    demo = load_classifier(ClassifierSettings(arch="demo"))
    with torch.no_grad():
        assert torch.equal(trained.network.eval()(images), demo.network.eval()(images))
    assert trained.output_names == demo.output_names
    assert trained.preprocessing == demo.preprocessing
    assert checkpoint_bytes(demo.network, load_checkpoint(SHIPPED)[1]) == SHIPPED.read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("cat", "dog", "cow")}, r"do not fit a small_cnn with 3 classes .*; train it again\."),
        ({"arch": "squeezenet1_1"}, r"do not fit a squeezenet1_1 with 2 classes"),
        ({"arch": "no_such"}, "There is no network 'no_such' in torchvision"),
        ({"arch": "vit_b_16"}, "vit_b_16 has no layer called fc, classifier or head"),
        ({"resize": "crop"}, "resizes images by 'crop' and 'BICUBIC': wsloc knows squash and short-side"),
        ({"resample": "MAGIC"}, "resizes images by 'short-side' and 'MAGIC'"),
        ({"mean": (0.5, 0.5)}, "has 2 classes, 2 means and 3 standard deviations"),
        ({"class_names": ()}, "has 0 classes"),
    ],
)
def test_contradictions_are_a_users_error(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    written = {"arch": "small_cnn", "class_names": ["cat", "dog"], "input_size_hw": [48, 64], "activation": "sigmoid"}
    written |= {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "resize": "short-side", "resample": "BICUBIC"}
    save_file(SmallCNN(2).state_dict(), tmp_path / "net.safetensors", {"wsloc": json.dumps(written | changes)})
    with pytest.raises(UserError, match=message) as raised:
        load_classifier(ClassifierSettings(checkpoint=tmp_path / "net.safetensors"))
    assert "\n" not in str(raised.value)


def test_classes_of_the_data_set_that_it_lacks_have_no_output_and_a_note() -> None:
    label_map = resolve_label_map(("dog", "cow"), 2, ("cat", "dog"), builtin="voc", trained_here=True)
    assert label_map.outputs_of_class == ((1,), ())
    assert label_map.why_unusable("dog") is None
    reason = label_map.why_unusable("cow")
    assert reason is not None
    assert "the checkpoint was not trained on it; its classes are cat, dog" in reason
    # A network of the user's own, with a list of names that may be wrong, is refused as before.
    with pytest.raises(UserError, match="none is known to be 'cow'"):
        resolve_label_map(("dog", "cow"), 2, ("cat", "dog"), builtin="voc")
