"""Log likelihoods from importance weights: one bound per image, in nats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...distributions.latents import log_mean_exp

if TYPE_CHECKING:
    from jaxtyping import Float, Float64


def importance_log_weights(
    *,
    log_likelihood: Float[Tensor, "sample image"],
    log_prior: Float[Tensor, "sample image"],
    log_proposal: Float[Tensor, "sample image"],
) -> Float64[Tensor, "sample image"]:
    """``log w = log p(v|z) + log p(z) - log q(z)``, with z drawn from the proposal q(z).

    The mean of ``w`` over z is ``p(v) = integral p(v|z) p(z) dz``, whatever the proposal is, as long as it is nowhere
    zero where the integrand is not.

    Args:
        log_likelihood: log p(v|z) of the observed modality v, without any training weight.
        log_prior: the log density of z that v is averaged over: p(z), the flow q(z), or q(z|y) for ``log p(x|y)``.
        log_proposal: the log density of z under what it was drawn from.

    Raises:
        ValueError: the shapes disagree, or a value is not a number.
    """
    parts = [_as_samples(log_likelihood, "log_likelihood")]
    for name, values in (("log_prior", log_prior), ("log_proposal", log_proposal)):
        parts.append(_as_samples(values, name))
        if parts[-1].shape != parts[0].shape:
            raise ValueError(
                f"{name} has the shape {tuple(parts[-1].shape)}, log_likelihood {tuple(parts[0].shape)}: both must be "
                "[sample, image]"
            )
    likelihood, prior, proposal = parts
    return likelihood + prior - proposal


def log_likelihood_bound(log_weights: Float[Tensor, "sample image"]) -> Float64[Tensor, " image"]:
    """``log (1/k) sum_k w_k`` of each image: a lower bound of ``log p(v)`` in expectation (Burda et al. 2016, Eq. 8).

    ``(1/k) sum_k w_k`` itself is unbiased; the bound rises with k in expectation and meets ``log p(v)`` in the limit.
    With k = 1 it is one sample of the evidence lower bound, and of Eq. 6 of Cremer and Kushman (2018) where the prior
    is q(z|y).

    Args:
        log_weights: from :func:`importance_log_weights`.

    Raises:
        ValueError: not [sample, image], no sample, or a value that is not a number.

    >>> log_likelihood_bound(torch.tensor([[0.0, -1.0], [0.0, -1.0]]))
    tensor([ 0., -1.], dtype=torch.float64)
    """
    return log_mean_exp(_as_samples(log_weights, "log_weights"))


def nats_per_dimension(nats: Float[Tensor, " image"], num_dimensions: int) -> Float64[Tensor, " image"]:
    """Nats per image to nats per dimension: a pixel's channel, or an attribute or word. Bits are these over ln 2.

    Pixels have a density over [0, 1] under the quantised normal and the constrained Beta, so the value may be positive;
    ``- log 256`` turns the former's into a log probability of grey levels.

    Raises:
        ValueError: ``num_dimensions`` is below 1.

    >>> nats_per_dimension(torch.tensor([-6.0]), 4)
    tensor([-1.5000], dtype=torch.float64)
    """
    if num_dimensions < 1:
        raise ValueError(f"num_dimensions must be at least 1, got {num_dimensions}")
    return nats.double() / num_dimensions


def elbo_terms(
    *, log_px: Float[Tensor, "sample image"], log_py: Float[Tensor, "sample image"], kl: Float[Tensor, " image"]
) -> dict[str, Tensor]:
    """``E_q[log p(x|z) + log p(y|z)] - KL(q || p)`` of each image and its terms, with every weight at one.

    Args:
        log_px: log p(x|z) at z ~ q(z|.).
        log_py: log p(y|z) at the same z.
        kl: KL(q(z|.) || p(z)).

    Returns:
        ``elbo``, ``log_px``, ``log_py`` and ``kl``, Float64[image] each: ``elbo = log_px + log_py - kl``.

    Raises:
        ValueError: the shapes disagree, or a value is not a number.

    >>> terms = elbo_terms(
    ...     log_px=torch.tensor([[-9.0], [-11.0]]), log_py=torch.tensor([[-2.0], [-2.0]]), kl=torch.tensor([3.0])
    ... )
    >>> float(terms["elbo"])
    -15.0
    """
    image, concept = _as_samples(log_px, "log_px"), _as_samples(log_py, "log_py")
    if image.shape != concept.shape or kl.shape != image.shape[1:]:
        raise ValueError(
            "log_px and log_py must be [sample, image] and kl [image], got "
            f"{tuple(image.shape)}, {tuple(concept.shape)} and {tuple(kl.shape)}"
        )
    means = {"log_px": image.mean(0), "log_py": concept.mean(0), "kl": kl.double()}
    return {"elbo": means["log_px"] + means["log_py"] - means["kl"]} | means


def _as_samples(values: Tensor, name: str) -> Tensor:
    """Float64[sample, image]. Minus infinity is allowed: it is what the model considers impossible."""
    if not isinstance(values, Tensor) or not values.is_floating_point() or values.ndim != 2 or not len(values):
        given = f"{values.dtype}{list(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(
            f"{name} must be a floating-point tensor [sample, image] with at least one sample, got {given}"
        )
    if bool(torch.isnan(values).any()):
        raise ValueError(f"{name} contains a value that is not a number")
    return values.double()
