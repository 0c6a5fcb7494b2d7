"""What changes the results of a run besides its settings: what its resumption and its shards must share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Looking at a manifest must not load torch.
    from wsloc.datasets import Dataset
    from wsloc.pipeline.localizer import Localizer
    from wsloc.threads import ThreadPlan


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """As the manifest of a run holds it.

    Attributes:
        dataset_fingerprint: of images and labels.
        network: name of the classifier; None where maps of an old run are cut.
        network_sha256: of its weights.
        device: where it computes.
        batch_size: rows in a batch.
        network_threads: sums over another number of threads round differently.
        feature_layers: whose features a refiner reads; None without one.
        refiner_sha256: of the file of a refiner that was fitted before; None without one.
    """

    dataset_fingerprint: str
    network: str | None
    network_sha256: str | None
    device: str | None
    batch_size: int | None
    network_threads: int
    feature_layers: list[str] | None
    refiner_sha256: str | None


def identity_of(dataset: Dataset, localizer: Localizer, plan: ThreadPlan) -> dict[str, Any]:
    """What identifies a run of these stages over these images, for its manifest."""
    identity = RunIdentity(
        dataset.fingerprint(),
        **localizer.maps.identity(),
        network_threads=plan.network,
        feature_layers=list(localizer.maps.layers) or None,
        refiner_sha256=localizer.refine.fingerprint if localizer.refine else None,
    )
    return asdict(identity)


def identity_in(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies the run of a manifest."""
    return {field.name: manifest.get(field.name) for field in fields(RunIdentity)}


def first_difference(identity: Mapping[str, object], manifest: Mapping[str, object]) -> str | None:
    """What of an identity is another in a manifest, in words; None if nothing is."""
    changed = next((key for key, value in identity.items() if manifest.get(key) != value), None)
    return None if changed is None else changed.removesuffix("_sha256").replace("_", " ")
