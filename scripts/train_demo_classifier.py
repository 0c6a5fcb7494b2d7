"""Train the demo's classifier on the image-level labels of the demo's training scenes."""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor

import wsloc.classifiers
from wsloc.classifiers.checkpoint import CheckpointInfo, save_checkpoint
from wsloc.classifiers.preprocessing import Preprocessing, whole
from wsloc.classifiers.small_cnn import SmallCNN
from wsloc.classifiers.training import TrainingSettings, mean_average_precision, train_multilabel
from wsloc.datasets.demo import DEMO_CLASSES, open_demo
from wsloc.images import read_image

SHIPPED = Path(wsloc.classifiers.__path__[0]) / "weights" / "demo.safetensors"
INFO = CheckpointInfo(
    arch="small_cnn",
    class_names=DEMO_CLASSES,
    input_size_hw=(112, 112),
    mean=(0.45, 0.45, 0.45),
    std=(0.25, 0.25, 0.25),
    activation="sigmoid",
)


def load_split(root: Path, split: str) -> tuple[Tensor, Tensor]:
    """Network inputs float32 ``(N, 3, H, W)`` and labels float32 ``(N, K)``; no annotation is opened."""
    records = open_demo(root, split).images
    preprocessing = Preprocessing(INFO.input_size_hw, INFO.mean, INFO.std)
    images = torch.stack([whole(read_image(record.path), preprocessing).views[0].pixels for record in records])
    labels = torch.tensor([[name in record.labels for name in INFO.class_names] for record in records])
    return images, labels.float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SHIPPED, help="file to write (default: the weights wsloc ships)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first weights and of the training")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "demo"
        images, targets = load_split(root, "train")
        test_images, test_targets = load_split(root, "test")
    torch.set_num_threads(1)  # sums, and so the weights, depend on the number of threads
    torch.manual_seed(arguments.seed)
    network = SmallCNN(len(INFO.class_names))
    for record in train_multilabel(network, images, targets, TrainingSettings(seed=arguments.seed)):
        print(f"epoch {record.epoch:2d}/{record.epochs}  loss {record.loss:.4f}", flush=True)
    with torch.inference_mode():
        scores = network(test_images)
    print(f"mean AP on the test split {mean_average_precision(scores, test_targets):.3f}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(arguments.out, network, INFO)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
