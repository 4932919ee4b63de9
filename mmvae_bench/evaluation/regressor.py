"""The regressor: the judge that reads scores of attributes off images, where the dataset has them (Yan et al. 2016, C).

It is the observation classifier's network with the same initial weights, trained on the same images, in the same order
and as deterministically, by squared error instead of cross-entropy. A binary attribute has two outputs; the score read
is the second less the first, which is linear in the features, as one output would be. It is kept in the cache beside
the classifiers, by the dataset's fingerprint and the spec.

Shapes: B batch, C channel, H height, W width, A attribute, N image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..base.canonical import content_hash
from ..base.files import cache_root
from ..concepts import Schema
from ..data.base import ConceptDataModule
from ..data.batch import Batch
from ..specs.built_in.classifiers import TrainedClassifierSpec
from ..specs.code import part_code
from ..specs.components import ClassifierSpec
from .classifier import IMAGES_AT_ONCE, logits_of
from .classifier_training import Progress, fit, from_cache, held_out_rows, new_network, one_thread

REGRESSOR_VERSION = 1
"""Increased when the training changes: it is part of the fingerprint."""
WEIGHTS = "regressor.pt"


@dataclass(frozen=True)
class Regressor:
    """A trained network that reads the scores of attributes.

    Attributes:
        network: In eval mode.
        schema: The attributes.
    """

    network: nn.Module
    schema: Schema

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """Scores, Float64[B, A], of images, Float[B, C, H, W], on the network's device."""
        parts = [scores_of(logits_of(self.network, part, None, self.schema)) for part in images.split(IMAGES_AT_ONCE)]
        return torch.cat(parts).double()


def regressor(
    spec: ClassifierSpec,
    data: ConceptDataModule,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Regressor:
    """The regressor of a dataset from ``regressors/<fingerprint>`` in the cache, trained first if it is not there.

    Damaged ones, other code and other processes are dealt with as for the classifier.

    Args:
        spec: The classifier whose network and settings it has.
        data: After ``setup()``; with strengths.
        device: Where it is trained and will be used.
        progress: Called with ``"regressor"``, the steps done and in all.

    Raises:
        TypeError: if the spec has no training settings.
    """
    if not isinstance(spec, TrainedClassifierSpec):
        raise TypeError(f"{type(spec).__name__} is not a TrainedClassifierSpec: it does not say how it is trained")
    about = {"version": REGRESSOR_VERSION, "spec": spec.canonical(), "dataset": data.fingerprint}
    folder, code = cache_root() / "regressors" / content_hash(about), part_code("classifier", spec.name)

    def build(unfinished: Path) -> dict[str, Any]:
        trained = train(spec, data, device=device, progress=progress)
        errors = dict(zip(data.schema.names, squared_errors(trained, data).tolist(), strict=True))
        torch.save({name: value.cpu() for name, value in trained.network.state_dict().items()}, unfinished / WEIGHTS)
        return {**about, "made_from": data.made_from, "code": code, "squared_error": errors}

    return from_cache(folder, build, partial(_load, folder, spec, data, device), data=data, code=code)


def train(
    spec: TrainedClassifierSpec,
    data: ConceptDataModule,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Regressor:
    """Fits a new regressor to the training part of the ``iid`` split, also where gradients are off."""
    with one_thread(), torch.enable_grad():
        network = new_network(spec, data).to(device=device)
        fit(network, spec, data, squared_error, device=torch.device(device), progress=progress, what="regressor")
    return Regressor(network.eval().requires_grad_(False), data.schema)


def scores_of(outputs: list[Tensor]) -> Tensor:
    """The scores read from two outputs of each attribute: Float[B, 2] each to Float[B, A].

    >>> scores_of([torch.tensor([[0.5, 2.0]]), torch.tensor([[1.0, 0.0]])]).tolist()
    [[1.5, -1.0]]
    """
    return torch.stack([each[:, 1] - each[:, 0] for each in outputs], 1)


def squared_error(outputs: list[Tensor], batch: Batch, schema: Schema) -> Tensor:
    """The sum over attributes of the mean squared error over images."""
    assert batch.strength is not None, "only a dataset with strengths has a regressor"
    return (scores_of(outputs) - batch.strength).square().mean(0).sum()


def squared_errors(trained: Regressor, data: ConceptDataModule) -> Tensor:
    """The mean squared error of each attribute over held-out images, Float64[A]."""
    device, parts = next(trained.network.parameters()).device, []
    for rows in held_out_rows(data).split(IMAGES_AT_ONCE):
        batch = data.store.batch(rows).to(device)
        assert batch.strength is not None
        parts.append((trained.read(batch.image) - batch.strength).square())
    return torch.cat(parts).mean(0).cpu()


def _load(folder: Path, spec: TrainedClassifierSpec, data: ConceptDataModule, device: torch.device | str) -> Regressor:
    network = new_network(spec, data)
    network.load_state_dict(torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True))
    return Regressor(network.eval().requires_grad_(False).to(device=device), data.schema)
