"""``wsloc visualize``: an image that maximizes the score of a class."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from wsloc.cli.bars import noted_bar
from wsloc.config import ClassifierSettings
from wsloc.errors import ItemError, UserError
from wsloc.setting_checks import optional, require, require_range

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from wsloc.classifiers import Classifier, Preprocessing
    from wsloc.saliency.class_model import AscentStep


@dataclass(frozen=True)
class VisualizeConfig:
    """Find an image that maximizes the score of a class: what the network takes for the class."""

    class_name: Annotated[
        str | None, tyro.conf.arg(name="class", metavar="NAME", help_behavior_hint="(default: none)")
    ] = None
    """class to visualize; or give --layer and --unit"""
    start: Annotated[str, tyro.conf.arg(metavar="zero|noise|FILE")] = "zero"
    """image to start from: zero (the mean image), noise (uniform), or a photograph"""
    steps: int = 150
    """number of steps of the ascent (>= 1)"""
    learning_rate: float = 0.05
    """root mean square of the change in the first step, in units of the normalized image; falls to zero (> 0)"""
    penalty: float = 1e-3
    """lambda in S_c - lambda ||I||^2 (>= 0)"""
    jitter: int = 8
    """maximum shift of the image at each step, in pixels (>= 0; 0: none)"""
    blur: float = 1.0
    """sigma, in pixels, of the Gaussian that smooths the image during the ascent (0 to 20; 0: none)"""
    blur_every: int = 4
    """smooth after every N steps (>= 1)"""
    save_every: int = 10
    """write a picture every N steps (>= 1)"""
    out: Annotated[Path | None, optional("DIR", "runs/visualize-ARCH-CLASS-NNN")] = None
    """output folder, which must not exist"""
    seed: int = 0
    """seed of the noise and the shifts"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """device of the network (auto: cuda or mps if available)"""
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)

    def __post_init__(self) -> None:
        require(
            (self.class_name is None) != (self.classifier.layer is None),
            "Give what to visualize: either --class NAME, or --layer NAME and --unit K.",
        )
        for name in ("steps", "blur_every", "save_every"):
            require_range(self, name, 1)
        require(0 < self.learning_rate < float("inf"), f"--learning-rate must be above 0, not {self.learning_rate}.")
        require(0 <= self.penalty < float("inf"), f"--penalty must be at least 0, not {self.penalty}.")
        require_range(self, "jitter", 0)
        require_range(self, "blur", 0, 20, unit=" pixels")


def run(config: VisualizeConfig, _command: Sequence[str]) -> int:
    """Climb, and write a folder: image.png, steps/0010.png and so on, score.png, scores.csv, manifest.json."""
    if config.out is not None and config.out.exists():
        raise UserError(f"{config.out} exists; give another --out.")
    from wsloc.classifiers import load_classifier
    from wsloc.devices import choose_device
    from wsloc.threads import applied, plan_threads

    device = choose_device(config.device)
    with applied(plan_threads(device, 0)):
        classifier = load_classifier(config.classifier)
        steps = _ascent(config, classifier, device)
        # A bad start raises here, before there is a folder.
        first = next(steps)
        folder = _make_folder(config, classifier)
        if first.before_last_relu:
            print(
                "The score has no gradient at the start, so the score before the last ReLU is used instead.", flush=True
            )
        _write(config, classifier.preprocessing, first, steps, folder)
    return 0


def _ascent(config: VisualizeConfig, classifier: Classifier, device: torch.device) -> Iterator[AscentStep]:
    from wsloc.classifiers import check_network, make_scorer, resolve_label_map
    from wsloc.saliency.class_model import ascend

    start = _start(config, classifier.preprocessing)
    channels, height, width = start.shape
    num_outputs = check_network(make_scorer(classifier.network, [[0]], device=device), (channels, height, width))
    name = config.class_name or config.classifier.unit_name
    label_map = resolve_label_map((name,), num_outputs, classifier.output_names, config.classifier.label_map)
    if (reason := label_map.why_unusable(name)) is not None:
        raise UserError(reason)
    return ascend(
        make_scorer(classifier.network, label_map.outputs_of_class, classifier.activation, device),
        0,
        start,
        steps=config.steps,
        learning_rate=config.learning_rate,
        penalty=config.penalty,
        jitter=config.jitter,
        blur=config.blur,
        blur_every=config.blur_every,
        seed=config.seed,
    )


def _start(config: VisualizeConfig, preprocessing: Preprocessing) -> Tensor:
    import torch

    from wsloc.classifiers.preprocessing import whole
    from wsloc.images import read_image
    from wsloc.saliency.class_model import noise_start

    shape = (preprocessing.channels, *preprocessing.input_size_hw)
    if config.start == "zero":
        return torch.zeros(shape)
    if config.start == "noise":
        return noise_start(shape, config.seed)
    try:
        return whole(read_image(Path(config.start)), preprocessing).views[0].pixels
    except ItemError as error:
        raise UserError(f"--start: {error}; give zero, noise or a photograph.") from error


def _make_folder(config: VisualizeConfig, classifier: Classifier) -> Path:
    """Make the folder that --out names, or a numbered one."""
    from wsloc.runs.choose_folder import fresh_folder

    # A unit is part of the classifier's name.
    names = [classifier.name] if config.class_name is None else [classifier.name, config.class_name]
    stem = "-".join(["visualize", *(re.sub(r"[^\w.]+", "-", name) for name in names)])[:120]
    if config.out is None:
        return fresh_folder(Path("runs"), stem)
    try:
        config.out.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"The folder {config.out} cannot be made: {error.strerror}; give another --out.") from error
    return config.out


def _write(
    config: VisualizeConfig,
    preprocessing: Preprocessing,
    first: AscentStep,
    others: Iterator[AscentStep],
    folder: Path,
) -> None:
    from wsloc.files.atomic import write_atomic, write_picture
    from wsloc.saliency.class_model import picture
    from wsloc.visualization.curve import draw_curve

    (folder / "steps").mkdir()
    digits = max(4, len(str(config.steps)))
    scores = []
    rows = ["step,score,objective\n"]
    shown = noted_bar(
        others, "ascent", "step", config.steps, note=lambda step: f"score {step.score:.1f}", refresh=False
    )
    for step in chain([first], shown):
        scores.append(step.score)
        rows.append(f"{step.number},{step.score!r},{step.objective!r}\n")
        if step.number % config.save_every == 0:
            write_picture(folder / "steps" / f"{step.number:0{digits}d}.png", picture(step.image, preprocessing))
    write_picture(folder / "image.png", picture(step.image, preprocessing))
    label = "score before the last ReLU" if first.before_last_relu else "score before the softmax"
    write_picture(folder / "score.png", draw_curve(scores, "step", label))
    write_atomic(folder / "scores.csv", rows)
    manifest = {
        "settings": dataclasses.asdict(config),
        "score_before_last_relu": first.before_last_relu,
        "first_score": first.score,
        "last_score": step.score,
        "last_objective": step.objective,
        "complete": True,
    }
    write_atomic(folder / "manifest.json", json.dumps(manifest, indent=2, default=str) + "\n")
    print(f"Score {first.score:.1f} at the start, {step.score:.1f} after {config.steps} steps.\nFolder: {folder}")
