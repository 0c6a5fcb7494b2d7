"""``wsloc methods``: which saliency methods fit a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from wsloc.cli.compare_methods import SettingsOfMethods
from wsloc.cli.flags import with_flags
from wsloc.config import ClassifierSettings, ComputeSettings
from wsloc.errors import UserError
from wsloc.registries import METHODS


@dataclass(frozen=True)
class MethodsConfig:
    """List which saliency methods fit a network and why others do not; weights are read only if a file is given."""

    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)
    saliency: SettingsOfMethods = field(default_factory=SettingsOfMethods)


def run(config: MethodsConfig, _command: Sequence[str]) -> int:
    """Bind each method, and print its cost or the reason of its refusal. Returns 1 if none fits, else 0."""
    import torch

    from wsloc.classifiers import load_classifier
    from wsloc.pipeline.model import Model, each_method
    from wsloc.records import AskedClasses

    classifier = load_classifier(config.classifier, fetch=False)
    model = Model(config.classifier, config.saliency, ComputeSettings(), AskedClasses(()), classifier)
    size_hw = classifier.preprocessing.input_size_hw
    generator = torch.Generator().manual_seed(0)
    example = torch.randn((1, classifier.preprocessing.channels, *size_hw), generator=generator)
    print(f"{model.bound.classifier.name}, input {size_hw[1]} x {size_hw[0]} pixels:")
    width, fitting = max(map(len, METHODS)), 0
    for name, found in each_method(model, METHODS, config.saliency, example):
        if isinstance(found, UserError):
            print(f"  no   {name:<{width}}  {with_flags(str(found))}")
            continue
        fitting += 1
        method = found.bound.method
        print(f"  yes  {name:<{width}}  {method.cost} per {'view' if method.shares_passes else 'view and class'}")
    return 0 if fitting else 1
