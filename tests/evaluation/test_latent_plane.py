"""The picture of a two-dimensional latent space against densities with a closed form."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from mmvae_bench.backbones.flows import FlowDistribution
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.distributions.latents import FactorisedCategorical
from mmvae_bench.evaluation.latent_plane import latent_plane, write_latent_plane
from mmvae_bench.objectives.base import Objective

from .fakes import Store

SCHEMA = Schema((Attribute("side", ("left", "right")),))


class PlaneSpec:
    posteriors = frozenset({"image", "concept"})
    likelihoods = frozenset({"image", "concept"})


class Plane(torch.nn.Module):
    """An image is its z; q(z|x) = N(x, 0.3^2); p(right|z) = sigmoid(4 z_1); q(z|y) = N((2 y - 1, 0), 1)."""

    schema, latent_size, can_imagine = SCHEMA, 2, True
    spec = PlaneSpec()
    own_prior = Objective.own_prior

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        if image is not None:
            return Independent(Normal(image.flatten(1)[:, :2], 0.3), 1)
        assert concept is not None
        mean = torch.cat([2.0 * concept - 1, torch.zeros(len(concept), 1)], 1)
        return Independent(Normal(mean, 1.0), 1)

    def concept_likelihood(self, z: Tensor) -> FactorisedCategorical:
        return FactorisedCategorical([torch.stack([torch.zeros(len(z)), 4 * z[:, 0]], -1)])


class Points:
    """Images of one channel with two pixels."""

    schema, captions = SCHEMA, None

    def __init__(self) -> None:
        z = torch.randn(120, 2, generator=torch.Generator().manual_seed(0))
        self.points, self.concept = z, (z[:, :1] > 0).long()
        self.store = Store(z.reshape(-1, 1, 1, 2), self.concept)

    def rows(self, partition: str) -> Tensor:
        assert partition == "train"
        return torch.arange(120)


@pytest.fixture(scope="module")
def plane() -> dict[str, np.ndarray]:
    found = latent_plane(cast(Objective, Plane()), cast("object", Points()))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_every_density_integrates_to_one(plane: dict[str, np.ndarray]) -> None:
    cell = (plane["x"][1] - plane["x"][0]) * (plane["y"][1] - plane["y"][0])
    for name in ("true", "aggregate", "fitted"):
        np.testing.assert_allclose(plane[name].sum((1, 2)) * cell, 1, atol=1e-9)


def test_the_true_posterior_is_bayes_rule(plane: dict[str, np.ndarray]) -> None:
    """p(y) is a half for each by symmetry."""
    x, y = np.meshgrid(plane["x"], plane["y"])
    right = 2 * stats.norm.pdf(x) * stats.norm.pdf(y) / (1 + np.exp(-4 * x))
    assert list(plane["labels"]) == ["side=left", "side=right"]
    np.testing.assert_allclose(plane["true"][1], right, atol=2e-3)
    np.testing.assert_allclose(plane["true"][0], right[:, ::-1], atol=2e-3)


def test_the_true_posterior_is_that_of_the_objectives_own_prior() -> None:
    class Elsewhere(Plane):
        def own_prior(self) -> Distribution:
            return Independent(Normal(torch.tensor([0.5, -1.0]), torch.tensor([0.7, 0.5])), 1)

    found = latent_plane(cast(Objective, Elsewhere()), cast("object", Points()))  # type: ignore[arg-type]
    assert found is not None
    x, y = np.meshgrid(found["x"], found["y"])
    right = stats.norm.pdf(x, 0.5, 0.7) * stats.norm.pdf(y, -1, 0.5) / (1 + np.exp(-4 * x))
    right /= right.sum() * (found["x"][1] - found["x"][0]) ** 2
    np.testing.assert_allclose(found["true"][1], right, rtol=0.05, atol=5e-3)


def test_the_aggregate_is_the_mean_of_its_images_posteriors(plane: dict[str, np.ndarray]) -> None:
    data = Points()
    x, y = np.meshgrid(plane["x"], plane["y"])
    for index in (0, 1):
        means = data.points[data.concept[:, 0] == index].numpy()
        expected = np.mean([stats.norm.pdf(x, a, 0.3) * stats.norm.pdf(y, b, 0.3) for a, b in means], 0)
        np.testing.assert_allclose(plane["aggregate"][index], expected, rtol=1e-3, atol=1e-4)
    fitted = stats.norm.pdf(x, 1, 1) * stats.norm.pdf(y)
    np.testing.assert_allclose(plane["fitted"][1], fitted, rtol=0.05, atol=1e-3)


def test_no_picture_of_more_dimensions_and_a_file_that_reads_back(tmp_path: Path) -> None:
    class Deep(Plane):
        latent_size = 3

    class Mute(Plane):
        class spec:
            posteriors = frozenset({"image"})
            likelihoods = frozenset({"image"})

    data = cast("object", Points())
    for model in (Deep(), Mute()):
        write_latent_plane(cast(Objective, model), data, tmp_path / "none.npz")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    write_latent_plane(cast(Objective, Plane()), data, tmp_path / "plane.npz")  # type: ignore[arg-type]
    with np.load(tmp_path / "plane.npz", allow_pickle=False) as stored:
        assert set(stored.files) == {"x", "y", "labels", "true", "aggregate", "fitted"}
    assert [path.name for path in tmp_path.iterdir()] == ["plane.npz"]


def test_where_an_image_has_a_flow_the_joint_posterior_it_was_fitted_to_is_shown(plane: dict[str, np.ndarray]) -> None:
    """As of JNF: a flow has no mean in closed form. Here both posteriors are the same, and so is the picture."""

    class Flows(Plane):
        class spec:
            posteriors = frozenset({"image", "joint", "concept"})
            likelihoods = frozenset({"image", "concept"})

        def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
            if image is not None:
                q = super().posterior(image=image)
                return q if concept is not None else FlowDistribution(None, q)  # type: ignore[arg-type]
            return super().posterior(concept=concept)

    found = latent_plane(cast(Objective, Flows()), cast("object", Points()))  # type: ignore[arg-type]
    assert found is not None
    assert all(np.array_equal(found[name], plane[name]) for name in plane)

    class FlowsAlone(Flows):
        class spec:
            posteriors = frozenset({"image", "concept"})
            likelihoods = frozenset({"image", "concept"})

    assert latent_plane(cast(Objective, FlowsAlone()), cast("object", Points())) is None  # type: ignore[arg-type]
