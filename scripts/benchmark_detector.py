"""The section of docs/benchmarks.md on detectors of VOC photographs that learned from image-level labels.

Boxes on train by a classifier, self-training from them, and a detector on the true boxes of the same images; the
detectors of all rounds (the first has learned the classifier's boxes) and that of the true boxes are tested on val, for
each of --seeds. The classifiers that may make the boxes (ImageNet's with its label map, and that of --checkpoint) are
compared on train, and the better one's boxes are used. Runs what is missing (a killed benchmark resumes; other settings
need another --runs) and writes the tables into docs/benchmarks.md between its markers. All figures come from the
folders.

    python scripts/benchmark_detector.py --root data --weights-dir weights --network mobilenet_v2 --preset best \\
        --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from benchmark_runs import finished, weights_flags
from markdown_page import fill

from wsloc.cli.options import parse_localize
from wsloc.datasets import open_dataset, read_ground_truth
from wsloc.evaluation import BASELINES, estimate
from wsloc.evaluation.corloc import class_wise, mean_iou, per_class_corloc
from wsloc.evaluation.items import judged_items
from wsloc.evaluation.judging import Judged, TrueBoxes, judge_baseline, judge_localizations, true_boxes
from wsloc.evaluation.recall import precision, recall
from wsloc.evaluation.table import format_interval
from wsloc.evaluation.voc_ap import ClassVocAp, voc_ap
from wsloc.records import GroundTruth
from wsloc.runs.read_run import read_run
from wsloc.runs.run_folder import read_manifest

BACKBONE = "mobilenet_v2"
CLASSES = ("cat", "cow", "dog", "horse", "person", "sheep")
DETECTOR = ("--arch", "fasterrcnn_mobilenet_v2_320_fpn", "--batch-size", "4")
TRUTH = "true boxes"
RATIO = "AP50, fraction of that by true boxes"
FIGURES = ("COCO AP", "COCO AP50", "COCO AP75", "VOC mAP, all points")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder that holds VOCdevkit")
    parser.add_argument("--weights-dir", type=Path, help="folder of NAME.pth files (default: torchvision's weights)")
    parser.add_argument("--network", default="squeezenet1_0", help="that makes the boxes (default: squeezenet1_0)")
    parser.add_argument("--checkpoint", type=Path, help="a classifier of wsloc train-classifier on train")
    parser.add_argument("--preset", default="default", help="of wsloc localize (default: default)")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark-detector"), help="folder of all results")
    parser.add_argument("--image-size", default="192", help="shorter side of the images in the detector (default: 192)")
    parser.add_argument("--epochs", default="12", help="of each detector (default: 12)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the trainings (default: 0)")
    parser.add_argument("--limit", help="only the first N images of train and of val, which must show all classes")
    parser.add_argument("--folds", default="1", help="of self-training (default: 1)")
    parser.add_argument("--ignore-fraction", default="0", help="of pseudo-boxes (default: 0)")
    parser.add_argument("--ema-decay", default="0.99", help="in all trainings (default: 0.99)")
    parser.add_argument("--rounds", type=int, default=2, help="of self-training (default: 2)")
    options = parser.parse_args()

    truth = read_truth(data_flags(options, "train"))
    on_train = true_boxes(judged_items(truth, CLASSES), truth)
    made = {name: judged(on_train, boxes(options, name)) for name in classifiers(options)}
    best = max(made, key=lambda name: per_class_corloc(made[name]).mean())
    trained = [trainings(options, seed, boxes(options, best)) for seed in options.seeds]
    detectors = {name: [own[name] for own, _ in trained] for name in trained[0][0]}
    # A detector gets no labels, so it is tested on all images of val.
    on_val = read_truth([*data_flags(options, "val"), "--targets", f"top{len(CLASSES)}"])
    rounds = [[judged(on_train, folder) for folder in folders] for _, folders in trained]
    table = [
        *box_table(options, on_train, made, best, rounds),
        "",
        *detector_table(detectors),
        "",
        *class_table(on_val, detectors),
    ]
    fill("benchmark_detector", "\n".join(table))
    print("\n".join(table))
    return 0


def data_flags(options: argparse.Namespace, split: str, classes: Sequence[str] = CLASSES) -> list[str]:
    limit = ["--limit", options.limit] if options.limit else []
    data = ["--dataset", "voc", "--year", "2012", "--root", str(options.root), "--split", split]
    return [*data, *limit, *(["--classes", *classes] if classes else [])]


def read_truth(flags: list[str]) -> dict[str, GroundTruth]:
    data = parse_localize(flags).data
    truth = read_ground_truth(data, open_dataset(data))
    assert truth is not None
    return dict(truth.images)


def classifiers(options: argparse.Namespace) -> dict[str, list[str]]:
    """The flags of each classifier that can make boxes, by name."""
    found = {"ImageNet and label map": ["--arch", options.network, *weights_flags(options, options.network)]}
    if options.checkpoint:
        found["trained on image-level labels"] = ["--checkpoint", str(options.checkpoint)]
    return found


def boxes(options: argparse.Namespace, classifier: str) -> Path:
    folder = options.runs / f"boxes-{classifier.split()[0].lower()}"
    flags = [*data_flags(options, "train"), *classifiers(options)[classifier], "--preset", options.preset]
    return finished(folder, "localize", flags)


def trainings(options: argparse.Namespace, seed: int, run: Path) -> tuple[dict[str, Path], list[Path]]:
    """The detections on val of a seed's detectors by what these learned, and the rounds of its self-training."""
    folder = options.runs / f"seed-{seed}"
    flags = [*training_flags(options), "--seed", str(seed)]
    truth = ["--boxes-from", "truth", *data_flags(options, "train")]
    trained = {TRUTH: finished(folder / "truth", "train-detector", [*truth, *flags])}
    own = ["--boxes-from", str(run), "--ignore-fraction", options.ignore_fraction, "--folds", options.folds]
    path = finished(folder / "self-training", "self-train", [*own, "--rounds", str(options.rounds), *flags])
    rounds = [path / f"round-{index}" for index in range(options.rounds + 1)]
    trained |= {f"boxes of round {index}": rounds[index + 1] for index in range(options.rounds)}
    return {name: tested(options, folder, detector) for name, detector in trained.items()}, rounds


def tested(options: argparse.Namespace, folder: Path, trained: Path) -> Path:
    """What the detector in a folder finds on val."""
    flags = [str(trained / "detector.safetensors"), *data_flags(options, "val", classes=())]
    return finished(folder / f"{trained.name}-on-val", "detect", flags)


def training_flags(options: argparse.Namespace) -> list[str]:
    weights = weights_flags(options, BACKBONE, "--backbone")
    size = ["--image-size", options.image_size, "--epochs", options.epochs, "--ema-decay", options.ema_decay]
    return [*DETECTOR, *weights, *size]


def judged(true: TrueBoxes, folder: Path) -> Judged:
    return judge_localizations(true, read_run(folder).localizations)


def box_table(
    options: argparse.Namespace, true: TrueBoxes, made: dict[str, Judged], best: str, rounds: list[list[Judged]]
) -> Iterator[str]:
    yield f"Boxes on {len(true.items)} items in {len(true.items.image_ids)} images of train, given their labels:"
    yield ""
    heads = [*CLASSES, "CorLoc class-wise", "gain over round 0", "mean IoU", "box recall", "box precision"]
    yield f"| boxes from | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * len(heads)
    for name, make_box in BASELINES.items():
        yield box_row(name, judge_baseline(true, make_box), None)
    for name, own in made.items():
        yield box_row(f"{options.network}, {name}" + (" (round 0)" if name == best else ""), own, None)
    for seed, of_seed in zip(options.seeds, rounds, strict=True):
        for index, own in enumerate(of_seed[1:], start=1):
            said = f"self-training, round {index}" + (f", seed {seed}" if len(rounds) > 1 else "")
            yield box_row(said, own, of_seed[0])


def box_row(name: str, own: Judged, before: Judged | None) -> str:
    corloc = dict(zip(own.items.class_names, per_class_corloc(own).tolist(), strict=True))
    cells = [f"{100 * corloc[class_name]:.0f}" for class_name in CLASSES]
    cells += [format_interval(estimate(class_wise, own))]
    cells += [format_interval(estimate(class_wise, own, before)) if before is not None else ""]
    pooled = (partial(recall, pooled=True), partial(precision, pooled=True))
    cells += [format_interval(estimate(metric, own)) for metric in (mean_iou, *pooled)]
    return f"| {name} | {' | '.join(cells)} |"


def detector_table(detectors: dict[str, list[Path]]) -> Iterator[str]:
    found = {name: [figures(folder) for folder in folders] for name, folders in detectors.items()}
    seeds = len(detectors[TRUTH])
    spread = f", mean and standard deviation of {seeds} seeds" if seeds > 1 else ""
    yield f"Detectors on all {(read_manifest(detectors[TRUTH][0]) or {})['images']} images of val; percent{spread}:"
    yield ""
    yield f"| trained on | {' | '.join(FIGURES)} | {RATIO} |"
    yield "|---|" + "---:|" * (len(FIGURES) + 1)
    for name, own in found.items():
        cells = [mean_of([100 * figure[of] for figure in own], 1) for of in FIGURES]
        pairs = zip(own, found[TRUTH], strict=True)
        cells.append(mean_of([figure["COCO AP50"] / true["COCO AP50"] for figure, true in pairs], 2))
        yield f"| {name} | {' | '.join(cells)} |"


def figures(folder: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["average precision"]
    return found


def mean_of(values: Sequence[float], digits: int) -> str:
    """The mean, and with several values their standard deviation."""
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def class_table(truth: dict[str, GroundTruth], detectors: dict[str, list[Path]]) -> Iterator[str]:
    found = {name: [by_class(truth, folder) for folder in folders] for name, folders in detectors.items()}
    yield "VOC AP (all points, IoU 0.5) by class, with the number of objects; percent, mean over the seeds:"
    yield ""
    yield f"| trained on | {' | '.join(f'{name} ({own.objects})' for name, own in found[TRUTH][0].items())} |"
    yield "|---|" + "---:|" * len(CLASSES)
    for name, seeds in found.items():
        means = (100 * np.mean([own[of].all_points for own in seeds]) for of in CLASSES)
        yield f"| {name} | {' | '.join(f'{mean:.1f}' for mean in means)} |"


def by_class(truth: dict[str, GroundTruth], folder: Path) -> dict[str, ClassVocAp]:
    found = voc_ap(truth, read_run(folder).localizations, lambda record: record.score_by("probability"), CLASSES)
    assert found is not None
    return {name: found.classes[name] for name in CLASSES}


if __name__ == "__main__":
    sys.exit(main())
