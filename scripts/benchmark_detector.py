"""The section of docs/benchmarks.md on detectors of VOC photographs that learned from image-level labels.

Boxes on train by a classifier, an export of them, a detector on the export and one on the true boxes of the same
images, self-training, and with --retrain a detector on the boxes of its last round; all detectors are tested on val.
The classifiers that may make the boxes (ImageNet's with its label map, and that of --checkpoint) are compared on train,
and the better one's boxes are used. Runs what is missing (a killed benchmark resumes) and writes the tables into
docs/benchmarks.md between its markers. All figures come from the folders.

    python scripts/benchmark_detector.py --root data --weights-dir weights --checkpoint classifier.safetensors
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmark_runs import finished, weights_flags
from markdown_page import fill

from wsloc.cli.main import run_verb
from wsloc.cli.options import parse_localize
from wsloc.datasets import open_dataset, read_ground_truth
from wsloc.evaluation import BASELINES, estimate
from wsloc.evaluation.corloc import class_wise, image_wise, mean_iou, per_class_corloc
from wsloc.evaluation.items import judged_items
from wsloc.evaluation.judging import Judged, TrueBoxes, judge_baseline, judge_localizations, true_boxes
from wsloc.evaluation.table import format_interval
from wsloc.evaluation.voc_ap import ClassVocAp, voc_ap
from wsloc.records import GroundTruth
from wsloc.runs.read_run import read_run
from wsloc.runs.run_folder import read_manifest

NETWORK = "squeezenet1_0"
BACKBONE = "mobilenet_v2"
CLASSES = ("cat", "cow", "dog", "horse", "person", "sheep")
DETECTOR = ("--arch", "fasterrcnn_mobilenet_v2_320_fpn", "--batch-size", "4")
TRAINED_ON = {"pseudo": "pseudo-labels", "self-trained": "boxes of the last round", "truth": "true boxes"}
FIGURES = ("COCO AP", "COCO AP50", "COCO AP75", "VOC mAP, all points")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder that holds VOCdevkit")
    parser.add_argument("--weights-dir", type=Path, help="folder of NAME.pth files (default: torchvision's weights)")
    parser.add_argument("--checkpoint", type=Path, help="a classifier of wsloc train-classifier on train")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark-detector"), help="folder of all results")
    parser.add_argument("--image-size", default="192", help="shorter side of the images in the detector (default: 192)")
    parser.add_argument("--epochs", default="6", help="of each detector (default: 6)")
    parser.add_argument("--rounds", type=int, default=1, help="of self-training (default: 1)")
    parser.add_argument("--retrain", action="store_true", help="also test a detector of the last round's boxes")
    options = parser.parse_args()

    truth = read_truth(data_flags(options, "train"))
    on_train = true_boxes(judged_items(truth, CLASSES), truth)
    made = {name: judged(on_train, boxes(options, name)) for name in classifiers(options)}
    best = max(made, key=lambda name: per_class_corloc(made[name]).mean())
    export = exported(options, boxes(options, best))
    detectors = {
        "pseudo": detector(options, "pseudo", ["--boxes-from", str(export), "--classes", *CLASSES]),
        "truth": detector(options, "truth", ["--boxes-from", "truth", *data_flags(options, "train")]),
    }
    rounds = self_trained(options, boxes(options, best))
    if options.retrain:
        detectors["self-trained"] = detector(options, "self-trained", ["--boxes-from", str(rounds[-1])])
    # A detector gets no labels, so it is tested on all images of val.
    on_val = read_truth([*data_flags(options, "val"), "--targets", f"top{len(CLASSES)}"])
    table = [
        *box_table(on_train, made, best, [judged(on_train, folder) for folder in rounds]),
        "",
        *detector_table(detectors),
        "",
        *class_table(on_val, detectors),
    ]
    fill("benchmark_detector", "\n".join(table))
    print("\n".join(table))
    return 0


def data_flags(options: argparse.Namespace, split: str) -> list[str]:
    return [
        *("--dataset", "voc", "--year", "2012", "--root", str(options.root), "--split", split, "--classes", *CLASSES)
    ]


def read_truth(flags: list[str]) -> dict[str, GroundTruth]:
    data = parse_localize(flags).data
    truth = read_ground_truth(data, open_dataset(data))
    assert truth is not None
    return dict(truth.images)


def classifiers(options: argparse.Namespace) -> dict[str, list[str]]:
    """The flags of each classifier that can make boxes, by name."""
    found = {"ImageNet and label map": ["--arch", NETWORK, *weights_flags(options, NETWORK)]}
    if options.checkpoint:
        found["trained on image-level labels"] = ["--checkpoint", str(options.checkpoint)]
    return found


def boxes(options: argparse.Namespace, classifier: str) -> Path:
    folder = options.runs / f"boxes-{classifier.split()[0].lower()}"
    return finished(folder, "localize", [*data_flags(options, "train"), *classifiers(options)[classifier]])


def exported(options: argparse.Namespace, run: Path) -> Path:
    """The export, which appears whole or not at all; its images stay where they are."""
    folder: Path = options.runs / "export"
    flags = [str(run), "--format", "coco", "--media", "hardlink", "--segmentation", "boxes", "--out", str(folder)]
    if not folder.exists() and run_verb("export", flags) > 1:
        sys.exit(f"{folder} failed.")
    return folder


def training_flags(options: argparse.Namespace) -> list[str]:
    weights = weights_flags(options, BACKBONE, "--backbone")
    return [*DETECTOR, *weights, "--image-size", options.image_size, "--epochs", options.epochs]


def detector(options: argparse.Namespace, name: str, labels: list[str]) -> Path:
    test = [*("--test-dataset", "voc", "--test-year", "2012", "--test-root", str(options.root))]
    test += ["--test-split", "val", "--test-classes", *CLASSES]
    return finished(options.runs / name, "train-detector", [*labels, *training_flags(options), *test])


def self_trained(options: argparse.Namespace, run: Path) -> list[Path]:
    """The folders of all rounds."""
    flags = ["--boxes-from", str(run), *training_flags(options), "--rounds", str(options.rounds)]
    folder = finished(options.runs / "self-training", "self-train", flags)
    return [folder / f"round-{index}" for index in range(options.rounds + 1)]


def judged(true: TrueBoxes, folder: Path) -> Judged:
    return judge_localizations(true, read_run(folder).localizations)


def box_table(true: TrueBoxes, made: dict[str, Judged], best: str, rounds: list[Judged]) -> Iterator[str]:
    yield f"Boxes on {len(true.items)} items in {len(true.items.image_ids)} images of train, given their labels:"
    yield ""
    yield (
        f"| boxes from | {' | '.join(CLASSES)} | CorLoc class-wise | gain over round 0 | CorLoc image-wise | mean IoU |"
    )
    yield "|---|" + "---:|" * (len(CLASSES) + 4)
    for name, make_box in BASELINES.items():
        yield box_row(name, judge_baseline(true, make_box), None)
    for name, own in made.items():
        yield box_row(f"{NETWORK}, {name}" + (" (round 0)" if name == best else ""), own, None)
    for index, own in enumerate(rounds[1:], start=1):
        yield box_row(f"self-training, round {index}", own, rounds[0])


def box_row(name: str, own: Judged, before: Judged | None) -> str:
    corloc = dict(zip(own.items.class_names, per_class_corloc(own).tolist(), strict=True))
    cells = [f"{100 * corloc[class_name]:.0f}" for class_name in CLASSES]
    cells += [format_interval(estimate(class_wise, own))]
    cells += [format_interval(estimate(class_wise, own, before)) if before is not None else ""]
    cells += [format_interval(estimate(metric, own)) for metric in (image_wise, mean_iou)]
    return f"| {name} | {' | '.join(cells)} |"


def detector_table(folders: dict[str, Path]) -> Iterator[str]:
    found = {
        name: json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["average precision"]
        for name, folder in folders.items()
    }
    manifests = {name: read_manifest(folder) or {} for name, folder in folders.items()}
    yield f"Detectors on all {manifests['truth']['images']} images of val; percent:"
    yield ""
    yield "| trained on | images | boxes | " + " | ".join(FIGURES) + " | AP50, fraction of that by true boxes |"
    yield "|---|" + "---:|" * (len(FIGURES) + 3)
    for name in folders:
        counts = manifests[name]["labels"]
        cells = [
            str(counts["images"]),
            str(counts["boxes"]),
            *(f"{100 * found[name][figure]:.1f}" for figure in FIGURES),
        ]
        cells.append(f"{found[name]['COCO AP50'] / found['truth']['COCO AP50']:.2f}")
        yield f"| {TRAINED_ON[name]} | {' | '.join(cells)} |"


def class_table(truth: dict[str, GroundTruth], folders: dict[str, Path]) -> Iterator[str]:
    found = {name: by_class(truth, folder) for name, folder in folders.items()}
    yield "VOC AP (all points, IoU 0.5) by class, with the number of objects; percent:"
    yield ""
    yield f"| trained on | {' | '.join(f'{name} ({own.objects})' for name, own in found['truth'].items())} |"
    yield "|---|" + "---:|" * len(CLASSES)
    for name, classes in found.items():
        yield f"| {TRAINED_ON[name]} | {' | '.join(f'{100 * own.all_points:.1f}' for own in classes.values())} |"


def by_class(truth: dict[str, GroundTruth], folder: Path) -> dict[str, ClassVocAp]:
    found = voc_ap(truth, read_run(folder).localizations, lambda record: record.score_by("probability"), CLASSES)
    assert found is not None
    return {name: found.classes[name] for name in CLASSES}


if __name__ == "__main__":
    sys.exit(main())
