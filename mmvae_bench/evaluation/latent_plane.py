"""A latent space of two dimensions, seen from above: Fig. 1 of Cremer and Kushman (2018).

Shapes: G points along an axis, P = G * G points of the grid, N image, C concept, A attribute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from ..base.files import atomic_path
from ..data.base import ConceptDataModule
from ..data.batch import Batch
from ..distributions.latents import diagonal_normal
from ..objectives.base import Objective, evaluating
from .sampling import real_batches

NUM_POINTS = 101
MAX_CONCEPTS = 12
"""Schemas with more concepts have no picture: it would not be readable."""
SMALLEST_RANGE = 3.0
"""The picture reaches at least as far from the origin as the prior does, in its standard deviations."""


def latent_grid(reach: float, *, num_points: int = NUM_POINTS) -> Tensor:
    """Float[P, 2]: an even grid over [-reach, reach]^2, the first coordinate fastest."""
    axis = torch.linspace(-reach, reach, num_points)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2)


def on_grid(log_density: Tensor, reach: float) -> Tensor:
    """A density over the grid that sums to one over its cells, from a log density up to a constant (Sec. 5.5).

    Args:
        log_density: Float[..., P].
        reach: Of the grid.
    """
    log_density = log_density.double()
    cell = (2 * reach / (math.isqrt(log_density.shape[-1]) - 1)) ** 2
    density: Tensor = log_density.softmax(-1) / cell
    return density


def aggregate_log_density(posterior: Distribution, grid: Tensor) -> Tensor:
    """``log (1/N) sum_n q(z|x_n)`` at the points of a grid (Eq. 4): Float64[P].

    Args:
        posterior: Over Float[N, 2], one for each image of the concept.
        grid: Float[P, 2].
    """
    num_images = posterior.batch_shape[0]
    parts = [posterior.log_prob(points[:, None].expand(-1, num_images, -1)) for points in grid.split(512)]
    return torch.cat(parts).double().logsumexp(1) - math.log(num_images)


@torch.no_grad()
def latent_plane(
    model: Objective, data: ConceptDataModule, *, device: torch.device | str = "cpu", seed: int = 0
) -> dict[str, NDArray[np.float64]] | None:
    """For every concept: the true posterior p(z|y), proportional to p(y|z) p(z); the aggregate of q(z|x) over at most
    2,000 training images, those of the concept; and q(z|y), where the objective has it.

    The images' posteriors are normal: if q(z|x) is not (a flow, fitted to q(z|x,y)) or does not exist, q(z|x,y) is
    used.

    Args:
        model: On ``device``.
        data: After ``setup()``.
        device: Where networks run.
        seed: Of the choice of images.

    Returns:
        ``x`` and ``y``, the axes, [G]; ``labels``, [C]; ``true``, ``aggregate`` and where there is one ``fitted``,
        densities [C, G, G], rows along y. None if the latent space does not have two dimensions, there are more than 12
        concepts, y is a text, or the objective has no p(y|z) or no normal posterior of an image.
    """
    few = math.prod(data.schema.sizes) <= MAX_CONCEPTS
    as_texts = data.captions is not None
    if model.latent_size != 2 or not few or as_texts or "concept" not in model.spec.likelihoods:
        return None
    with evaluating(model):
        batches = list(real_batches(data, "train", seed=seed, device=torch.device(device)))
        truth = torch.cat([batch.concept for batch in batches])
        posteriors = _normal_posteriors(model, batches)
        if posteriors is None:
            return None
        means, scales = (torch.cat([getattr(q, name) for q in posteriors]) for name in ("mean", "stddev"))
        reach = max(SMALLEST_RANGE, float((means.abs() + 3 * scales).amax()))
        grid = latent_grid(reach).to(means)
        concepts = data.schema.combinations().to(device)
        prior = model.own_prior() or diagonal_normal(torch.zeros_like(grid), torch.zeros_like(grid))
        log_prior = prior.log_prob(grid)
        py = model.concept_likelihood(grid)
        found: dict[str, list[Tensor]] = {"true": [], "aggregate": []}
        if model.can_imagine:
            found["fitted"] = []
        shown = []
        for concept in concepts:
            of_concept = (truth == concept).all(1)
            if not bool(of_concept.any()):
                continue
            shown.append(concept)
            repeated = concept.expand(len(grid), -1)
            found["true"].append(py.log_prob(repeated) + log_prior)
            images = diagonal_normal(means[of_concept], scales[of_concept].log())
            found["aggregate"].append(aggregate_log_density(images, grid))
            if model.can_imagine:
                found["fitted"].append(model.posterior(concept=repeated).log_prob(grid))
    axis = np.linspace(-reach, reach, NUM_POINTS)
    plane = {
        name: on_grid(torch.stack(parts), reach).reshape(len(shown), NUM_POINTS, NUM_POINTS).cpu().numpy()
        for name, parts in found.items()
    }
    labels = np.array([", ".join(data.schema.words(concept)) for concept in torch.stack(shown).tolist()])
    return {"x": axis, "y": axis, "labels": labels} | plane


def _normal_posteriors(model: Objective, batches: Sequence[Batch]) -> list[Distribution] | None:
    """q(z|x) of batches of images, or q(z|x,y): the first of them that the objective has as a diagonal normal."""
    for kind in ("image", "joint"):
        if kind in model.spec.posteriors:
            found = [model.posterior(batch.image, batch.description if kind == "joint" else None) for batch in batches]
            if all(isinstance(q, Independent) and isinstance(q.base_dist, Normal) for q in found):
                return found
    return None


def write_latent_plane(
    model: Objective, data: ConceptDataModule, path: Path, *, device: torch.device | str = "cpu"
) -> None:
    """Writes :func:`latent_plane` for the report to draw, atomically; nothing if there is none."""
    plane = latent_plane(model, data, device=device)
    if plane is not None:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **plane)  # type: ignore[arg-type]
