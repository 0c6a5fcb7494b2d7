"""The tables of docs/benchmarks.md on the speed of saliency: wsloc, other tools and the bare loop, in the same process.

In an environment of its own, which `make peers` sets up. In each round every tool makes the same maps once, one
after the other, so that a busy machine slows all alike; a ratio is the median over the rounds. Networks have random
weights, which are as fast as trained ones. What is measured is kept, so that the table may be measured in pieces.

    .venv-peers/bin/python scripts/benchmark_saliency.py
    .venv-peers/bin/python scripts/benchmark_saliency.py --networks resnet50 --batches 1 16   # minutes on a CPU
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from markdown_page import fill
from torch import Tensor, nn
from torchvision import models
from tqdm import tqdm

from wsloc.classifiers.scorer import make_scorer
from wsloc.config import SaliencySettings
from wsloc.registries import METHODS
from wsloc.saliency import BoundMethod, MethodContext, PairBatch

NETWORKS = ("resnet50", "densenet121", "vgg16")
BY_GRADIENT = ("gradient", "gradient-x-input", "deconvnet", "guided")
BY_FEATURES = ("cam", "grad-cam", "grad-cam++", "layer-cam", "xgrad-cam", "hires-cam")
WSLOC, CAPTUM, TORCH_CAM, GRAD_CAM = "wsloc", "captum", "torch-cam", "pytorch-grad-cam"
TOOLS = (WSLOC, CAPTUM, TORCH_CAM, GRAD_CAM)
PACKAGES = ("torch", "torchvision", "captum", "torchcam", "grad-cam")
OF_CAPTUM = {
    "gradient": "Saliency",
    "gradient-x-input": "InputXGradient",
    "deconvnet": "Deconvolution",
    "guided": "GuidedBackprop",
    "grad-cam": "LayerGradCam",
}
OF_TORCH_CAM = {
    "cam": "CAM",
    "grad-cam": "GradCAM",
    "grad-cam++": "GradCAMpp",
    "layer-cam": "LayerCAM",
    "xgrad-cam": "XGradCAM",
}
OF_GRAD_CAM = {
    "grad-cam": "GradCAM",
    "grad-cam++": "GradCAMPlusPlus",
    "layer-cam": "LayerCAM",
    "xgrad-cam": "XGradCAM",
    "hires-cam": "HiResCAM",
}
TARGET = {"resnet50": "layer4.2", "densenet121": "features.norm5", "vgg16": "features.29"}
"""The layer that other tools read; none of them finds it by itself."""
TRAINABLE = {**TARGET, "vgg16": "features.28"}
"""Other tools find gradients only where parameters are not frozen: these alone are not, so that they go no deeper."""
SEVERAL = 8
Work = Callable[[], object]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="only these")
    parser.add_argument("--batches", nargs="+", type=int, default=(1, 16, 64), help="images in a batch")
    parser.add_argument("--methods", nargs="+", choices=BY_GRADIENT + BY_FEATURES, default=BY_GRADIENT + BY_FEATURES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=224, help="of the images, in pixels")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark-saliency"))
    parser.add_argument("--no-table", action="store_true", help="compute, but leave the page alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for network in options.networks:
        for batch in options.batches:
            measure(options, network, batch)
        if SEVERAL not in options.batches:
            measure_several(options, network)
    text = "\n".join(table(read(options)))
    print(text)
    if not options.no_table:
        fill("benchmark_saliency", text)
    return 0


def measure(options: argparse.Namespace, name: str, count: int) -> None:
    """One row of the table for each method: a batch of so many images with one class each."""
    bench = Bench(options, name, count)
    references: dict[str, Work] = {"bare": bench.bare, "forward": bench.forward}
    candidates = {(method, tool): bench.works(method, tool) for method in options.methods for tool in TOOLS}
    present = {pair: make for pair, make in candidates.items() if make is not None}
    seconds: dict[Any, list[float]] = {key: [] for key in (*references, *present)}
    # The first round warms up.
    for _ in tqdm(range(options.rounds + 1), f"{name}, {count} images", unit="round", leave=False):
        for reference, work in references.items():
            seconds[reference].append(bench.seconds(work))
        for pair, make in present.items():
            with make() as work:
                seconds[pair].append(bench.seconds(work))
    for method in options.methods:
        reference = "bare" if method in BY_GRADIENT else "forward"
        ratios = {
            tool: statistics.median(a / b for a, b in zip(own[1:], seconds[reference][1:], strict=True))
            for tool in TOOLS
            if len(own := seconds.get((method, tool), [])) > 1
        }
        keep(options, {"network": name, "batch": count, "method": method, "of": reference, "ratios": ratios})


def measure_several(options: argparse.Namespace, name: str) -> None:
    """Several classes of one image, as a fraction of the time of as many images with one class each."""
    bench = Bench(options, name, SEVERAL)
    one_image = torch.zeros(SEVERAL, dtype=torch.int64, device=bench.images.device)
    of_one = PairBatch(bench.images[:1], one_image, bench.classes)
    for method in ("gradient", "grad-cam"):
        bound = bench.bound(method)
        ratios = [
            bench.seconds(lambda bound=bound: bound.compute(of_one))  # type: ignore[misc]
            / bench.seconds(lambda bound=bound: bound.compute(bench.pairs))  # type: ignore[misc]
            for _ in range(options.rounds + 1)
        ]
        kept = {WSLOC: statistics.median(ratios[1:])}
        keep(options, {"network": name, "batch": SEVERAL, "method": method, "of": "several", "ratios": kept})


class Bench:
    """A network and a batch, and what each tool does with them."""

    def __init__(self, options: argparse.Namespace, name: str, count: int) -> None:
        torch.manual_seed(0)
        self._network: nn.Module = models.get_model(name, weights=None).eval().to(options.device)
        for parameter in self._network.parameters():
            parameter.requires_grad_(False)
        for parameter in self._network.get_submodule(TRAINABLE[name]).parameters():
            parameter.requires_grad_(True)
        self._layer, self._layer_name = self._network.get_submodule(TARGET[name]), TARGET[name]
        self.images = torch.randn(count, 3, options.side, options.side, device=options.device)
        self.classes = torch.randint(1000, (count,), device=options.device)
        self.pairs = PairBatch(self.images, torch.arange(count, device=options.device), self.classes)
        self._scorer = make_scorer(self._network, [[index] for index in range(1000)], device=options.device)

    def seconds(self, work: Work) -> float:
        """Of the processor, on a CPU: others on the machine do not count. Else on the clock."""
        if self.images.device.type == "cpu":
            before = time.process_time()
            work()
            return time.process_time() - before
        torch.cuda.synchronize()
        before = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - before

    def forward(self) -> Tensor:
        """The network alone."""
        with torch.no_grad():
            answer: Tensor = self._network(self.images)
        return answer

    def bare(self) -> Tensor:
        """The gradient of the class scores, as plain PyTorch has it, every parameter frozen."""
        with frozen(self._network):
            images = self.images.detach().requires_grad_(True)
            scores = self._network(images).gather(1, self.classes[:, None]).sum()
            (gradients,) = torch.autograd.grad(scores, images)
        return gradients.abs().amax(dim=1)

    def bound(self, method: str) -> BoundMethod:
        bound: BoundMethod = METHODS[method](MethodContext(self._scorer, self.images[:1], SaliencySettings()))
        return bound

    def works(self, method: str, tool: str) -> Callable[[], contextlib.AbstractContextManager[Work]] | None:
        """What sets a tool up and takes its hooks off the network again; None if it lacks the method."""
        if method == "cam" and self._layer_name == TARGET["vgg16"]:
            return None  # It needs global pooling.
        if tool == WSLOC:
            bound = self.bound(method)
            return lambda: contextlib.nullcontext(lambda: bound.compute(self.pairs))
        names, make = {
            CAPTUM: (OF_CAPTUM, self._captum),
            TORCH_CAM: (OF_TORCH_CAM, self._torch_cam),
            GRAD_CAM: (OF_GRAD_CAM, self._grad_cam),
        }[tool]
        if method not in names:
            return None
        return lambda: make(names[method])

    @contextlib.contextmanager
    def _captum(self, name: str) -> Iterator[Work]:
        from captum import attr

        if name == "LayerGradCam":
            yield lambda: attr.LayerGradCam(self._network, self._layer).attribute(self.images, self.classes)
            return
        with frozen(self._network):
            method = getattr(attr, name)(self._network)
            yield lambda: method.attribute(self.images.detach().requires_grad_(True), self.classes)

    @contextlib.contextmanager
    def _torch_cam(self, name: str) -> Iterator[Work]:
        from torchcam import methods

        extractor = getattr(methods, name)(self._network, self._layer_name)
        try:
            yield lambda: extractor(self.classes.tolist(), self._network(self.images))
        finally:
            extractor.remove_hooks()

    @contextlib.contextmanager
    def _grad_cam(self, name: str) -> Iterator[Work]:
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        targets = [ClassifierOutputTarget(index) for index in self.classes.tolist()]
        with getattr(pytorch_grad_cam, name)(model=self._network, target_layers=[self._layer]) as method:
            yield lambda: method(input_tensor=self.images, targets=targets)


@contextlib.contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """No parameter asks for a gradient."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def keep(options: argparse.Namespace, measured: dict[str, Any]) -> None:
    """Add a row to what was measured, in place of an older one of its kind."""
    machine = torch.cuda.get_device_name() if options.device == "cuda" else f"{platform.machine()}, one core"
    measured |= {"machine": machine, "side": options.side, "rounds": options.rounds}
    measured["versions"] = {name: version(name) for name in PACKAGES}
    names = ("network", "batch", "method", "of")
    others = [row for row in read(options) if any(row[name] != measured[name] for name in names)]
    options.runs.mkdir(parents=True, exist_ok=True)
    (options.runs / "rows.json").write_text(json.dumps([*others, measured], indent=1), encoding="utf-8")


def read(options: argparse.Namespace) -> list[dict[str, Any]]:
    path: Path = options.runs / "rows.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def table(rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    order = {name: index for index, name in enumerate((*NETWORKS, *BY_GRADIENT, *BY_FEATURES))}
    rows = sorted(rows, key=lambda row: (order[row["network"]], row["batch"], order[row["method"]]))
    for row in {row["machine"]: row for row in rows}.values():
        versions = ", ".join(f"{name} {number}" for name, number in row["versions"].items())
        yield f"{row['machine']}; images of {row['side']} px, median of {row['rounds']} rounds; {versions}."
    yield ""
    yield f"| network | images | method | ratio to | {' | '.join(TOOLS)} |"
    yield "|---|---:|---|---|" + "---:|" * len(TOOLS)
    titles = {"bare": "the bare loop", "forward": "a forward pass"}
    for row in rows:
        if row["of"] in titles:
            cells = [f"{row['ratios'][tool]:.2f}" if tool in row["ratios"] else "" for tool in TOOLS]
            cells = [row["network"], str(row["batch"]), row["method"], titles[row["of"]], *cells]
            yield f"| {' | '.join(cells)} |"
    yield ""
    yield f"| network | method | {SEVERAL} classes of one image, of the time of {SEVERAL} images |"
    yield "|---|---|---:|"
    for row in rows:
        if row["of"] == "several":
            yield f"| {row['network']} | {row['method']} | {row['ratios'][WSLOC]:.2f} |"


if __name__ == "__main__":
    sys.exit(main())
