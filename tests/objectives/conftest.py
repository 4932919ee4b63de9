"""Small random networks and batches, in double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, datasets, objectives

Make = Callable[..., Objective]


@pytest.fixture
def batch() -> Batch:
    """Twelve binary images with random concepts."""
    spec = datasets.parse({"name": "mnist_a", "canvas": 16})
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(12, *spec.image_shape(), generator=generator, dtype=torch.float64).round()
    columns = [torch.randint(size, (12,), generator=generator) for size in spec.concept_schema().sizes]
    return Batch(image, torch.stack(columns, 1), torch.arange(12))


@pytest.fixture
def make() -> Make:
    """Builds an objective on thin networks, with weights far enough from zero that every term matters."""

    def build(name: str, *, seed: int = 0, latent_size: int = 3, **parameters: object) -> Objective:
        dataset = datasets.parse({"name": "mnist_a", "canvas": 16})
        backbone = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": latent_size})
        built = backbone.build(schema=dataset.concept_schema(), image_shape=dataset.image_shape())
        objective = objectives.parse({"name": name, **parameters}).build(built, seed=seed).double()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in objective.parameters():
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        return objective

    return build
