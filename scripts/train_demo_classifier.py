"""Train the demo's classifier on the image-level labels of the demo's training scenes, as train-classifier does."""

import argparse
import tempfile
from pathlib import Path

import wsloc.classifiers
from wsloc.classifiers.checkpoint import save_checkpoint
from wsloc.cli.bars import training_bar
from wsloc.config import DataSettings
from wsloc.fitting.fit import fit
from wsloc.fitting.fitting_settings import FittingSettings, TrainingCompute
from wsloc.fitting.open_task import open_task
from wsloc.threads import ThreadPlan, applied, available_cores

SHIPPED = Path(wsloc.classifiers.__path__[0]) / "weights" / "demo.safetensors"
SETTINGS = FittingSettings(
    arch="small_cnn",
    fine_tune=True,
    loss="bce",
    epochs=20,
    val_fraction=0,
    learning_rate=4e-3,
    crop_scale=0.75,
    input_size=112,
    mean=(0.45, 0.45, 0.45),
    std=(0.25, 0.25, 0.25),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SHIPPED, help="file to write (default: the weights wsloc ships)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first weights and of the training")
    arguments = parser.parse_args()
    # Sums, and so the weights, depend on the number of the network's threads.
    plan = ThreadPlan(network=1, workers=available_cores() - 1)
    with tempfile.TemporaryDirectory() as folder, applied(plan) as pool:
        data = DataSettings(dataset="demo", root=Path(folder) / "demo")
        compute = TrainingCompute(device="cpu", batch_size=32, seed=arguments.seed)
        task = open_task(data, "test", SETTINGS, compute)
        outcome = fit(task, Path(folder), pool, training_bar)
    print(f"training loss {outcome.history[-1].train_loss:.4f}")
    print(f"mean AP on the test split {outcome.figures()['test'].mean_ap.value:.3f}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(arguments.out, outcome.network, task.info())
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
