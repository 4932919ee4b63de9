"""Aggregate posteriors: mixtures of the normal posteriors of images, and how far other distributions are from them.

Shapes: N image, S sample of z per image, P point, D latent dimension.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Float64

_PAIRS_AT_ONCE = 2**23
"""Bounds the memory: at most so many pairs of a point and a component at once."""


@dataclass(frozen=True)
class AggregateTerms:
    """Log densities of z drawn from the posteriors of images, and the divergences that follow, in nats per image.

    Attributes:
        own: Float64[N, S], log q(z|x_n) of z from the posterior of image n.
        aggregate: Float64[N, S], log q(z), q(z) the aggregate of all images.
        weights: Float64[S].
    """

    own: Tensor
    aggregate: Tensor
    weights: Tensor

    @property
    def information(self) -> Float64[Tensor, " image"]:
        """KL(q(z|x_n) || q(z)): their mean is the mutual information I(x; z)."""
        result: Tensor = (self.own - self.aggregate) @ self.weights
        return result

    def mismatch(self, log_target: Float[Tensor, "image sample"]) -> Float64[Tensor, " image"]:
        """Values whose mean is KL(q(z) || r(z)), from log r(z)."""
        result: Tensor = (self.aggregate - log_target.double()) @ self.weights
        return result


def normal_log_probs(
    z: Float[Tensor, "point d"], means: Float[Tensor, "image d"], scales: Float[Tensor, "image d"]
) -> Float64[Tensor, "point image"]:
    """``log N(z_p; mean_n, diag(scale_n)^2)`` of every point under every component, by matrix products."""
    z, means, scales = z.double(), means.double(), scales.double()
    precisions = scales.square().reciprocal()
    squares = z.square() @ precisions.T - 2 * z @ (precisions * means).T + (precisions * means.square()).sum(1)
    constants: Tensor = scales.log().sum(1) + math.log(2 * math.pi) * z.shape[1] / 2
    return -squares / 2 - constants


def mixture_log_prob(
    z: Float[Tensor, "point d"], means: Float[Tensor, "image d"], scales: Float[Tensor, "image d"]
) -> Float64[Tensor, " point"]:
    """``log (1/N) sum_n q(z|x_n)``: the aggregate posterior of N images (Cremer and Kushman 2018, Eq. 4)."""
    at_once = max(1, _PAIRS_AT_ONCE // len(means))
    parts = [normal_log_probs(part, means, scales).logsumexp(1) for part in z.split(at_once)]
    return torch.cat(parts) - math.log(len(means))


def moment_fit(
    means: Float[Tensor, "image d"], scales: Float[Tensor, "image d"]
) -> tuple[Float64[Tensor, " d"], Float64[Tensor, " d"]]:
    """Mean and scale of the diagonal normal with the moments of the mixture: of all of them the nearest to it, in
    KL(mixture || normal)."""
    means, scales = means.double(), scales.double()
    centre = means.mean(0)
    return centre, (scales.square() + (means - centre).square()).mean(0).sqrt()


def aggregate_terms(
    z: Float[Tensor, "image sample d"],
    means: Float[Tensor, "image d"],
    scales: Float[Tensor, "image d"],
    *,
    weights: Float[Tensor, " sample"] | None = None,
) -> AggregateTerms:
    """Divides ``E_n KL(q(z|x_n) || r(z))`` into I(x; z) and ``KL(q(z) || r(z))``, q(z) the aggregate of the N images.

    ``E_n KL(q(z|x_n) || r) = E_n KL(q(z|x_n) || q(z)) + KL(q(z) || r)`` (Cremer and Kushman 2018, Eq. 17 with r = p(z)
    and Eq. 5 with r = q(z|y)); the first part is ``log N - E H(q(n|z))`` (Vedantam et al. 2018, Eq. 3). Every z counts
    under all components, its own included: the equation holds for the aggregate of these N images, and is not an
    estimate for others.

    Args:
        z: Drawn from q(z|x_n), in the row of image n.
        means: Of the posteriors.
        scales: Their standard deviations.
        weights: Of the samples, if they are nodes of a quadrature; None: all alike.

    >>> terms = aggregate_terms(torch.full((1, 1, 1), 0.5), torch.zeros(1, 1), torch.ones(1, 1))
    >>> float(terms.information), round(float(terms.mismatch(torch.zeros(1, 1))), 4)
    (0.0, -1.0439)
    """
    num_images, num_samples = z.shape[:2]
    if weights is None:
        weights = torch.full((num_samples,), 1 / num_samples, dtype=torch.float64)
    residual = (z.double() - means.double()[:, None]) / scales.double()[:, None]
    own = -(residual.square() / 2 + scales.double().log()[:, None] + math.log(2 * math.pi) / 2).sum(-1)
    aggregate = mixture_log_prob(z.flatten(0, 1), means, scales).unflatten(0, (num_images, num_samples))
    return AggregateTerms(own, aggregate, weights.to(own))
