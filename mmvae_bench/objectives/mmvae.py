"""MMVAE: the mixture-of-experts multimodal VAE (Shi et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from ..data.batch import Batch
from ..distributions.latents import log_mean_exp
from ..specs.built_in.objectives import MMVAESpec
from .base import Terms
from .common.modalities import MultimodalObjective
from .common.products import Experts, mixture, products, usable


def importance_bound(log_weights: Tensor, *, bound: str) -> Tensor:
    """``log (1/K) sum_k w_k`` (iwae; Burda et al. 2016) or ``(1/K) sum_k log w_k`` (elbo), over the first
    dimension.

    >>> import torch
    >>> log_weights = torch.tensor([0.0, 2.0])
    >>> importance_bound(log_weights, bound="elbo"), importance_bound(log_weights, bound="iwae")
    (tensor(1.), tensor(1.4338))
    """
    if bound == "elbo":
        return log_weights.mean(0)
    return log_mean_exp(log_weights)


def mmvae(bounds: Tensor, *, present: Tensor) -> Tensor:
    """``-(1/M) sum_m L_m``, the batch mean, over the modalities of each example that are present.

    Shi et al. (2019): stratified sampling from the mixture q(z|X) = (1/M) sum_m q(z|x_m). L_m is the
    :func:`importance_bound` of ``w = p(z) p(x|z)^lambda_image p(y|z)^lambda / q(z|X)`` under z ~ q(z|x_m).

    Args:
        bounds: L_m, Float[B, M].
        present: Bool[B, M].
    """
    return -(torch.where(present, bounds, 0.0).sum(1) / present.sum(1)).mean()


class MMVAE(MultimodalObjective):
    """Every modality's expert must tell all modalities; q(z|x,y) is the uniform mixture of the experts.

    The prior is a factor of no expert. Experts and prior are normal, where the paper takes Laplace ones and a prior
    whose scale is learnt: here every objective has the same family. q(z|y_O) of single attributes is the mixture of
    the specified ones' experts.

    The gradient of ``dreg`` (Tucker et al. 2019, doubly reparameterised; as in the authors' code) holds q's parameters
    fixed inside the weights, and weighs the path through z by the square of the normalised weights. It has less
    variance than ``plain``, the bound's own gradient, and the same mean with K = 1. With more it has a bias here: its
    derivation wants the K samples drawn from the q that the weights divide by, and they are drawn from one expert of
    the mixture.
    """

    spec: MMVAESpec

    def fuse(self, experts: Experts) -> Distribution:
        """The mixture of the experts of the modalities that are present."""
        return mixture(self._single(experts), usable(experts.present))

    def terms(self, batch: Batch) -> Terms:
        """The bound of each modality, from K samples of its expert."""
        spec, experts = self.spec, self.experts(batch.image, batch.description)
        dreg = spec.bound == "iwae" and spec.estimator != "plain"
        q_single = self._single(experts)
        z = q_single.rsample(torch.Size([spec.num_samples])).transpose(1, 2)
        scored = Independent(Normal(q_single.mean.detach(), q_single.stddev.detach()), 1) if dreg else q_single
        log_q = mixture(scored, experts.present).log_prob(z)
        log_px, log_py = self._decoded(z, batch)
        log_weights = self.prior(scored).log_prob(z.transpose(1, 2)).transpose(1, 2) - log_q
        log_weights = log_weights + spec.lambda_image * log_px + spec.lambda_ * log_py
        if dreg and z.requires_grad:
            # The bound's own gradient weighs each sample by its normalised weight; the path through z gets it twice.
            shares = log_weights.detach().softmax(0)[..., None]
            z.register_hook(lambda gradient: gradient * shares)
        bounds = importance_bound(log_weights, bound=spec.bound).T
        return Terms(mmvae(bounds, present=experts.present), self._parts(bounds, log_px, log_py), self._named(z))

    def _single(self, experts: Experts) -> Distribution:
        """The expert of each modality: a diagonal normal over Float[B, M, D]."""
        each = torch.eye(len(self.modality_names), dtype=torch.bool, device=experts.present.device)
        return products(experts, each, prior=False)

    def _decoded(self, z: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """log p(x|z) and log p(y|z), Float[K, M, B] both, of z Float[K, M, B, D]."""
        repeats = z.shape[0] * z.shape[1]
        image, concept = batch.image.repeat(repeats, 1, 1, 1), batch.description.repeat(repeats, 1)
        px, py = self.likelihood(z.flatten(0, 2), concept)
        return px.log_prob(image).reshape(z.shape[:3]), py.log_prob(concept).reshape(z.shape[:3])

    def _parts(self, bounds: Tensor, log_px: Tensor, log_py: Tensor) -> dict[str, Tensor]:
        parts = {}
        for m, name in enumerate(self.modality_names):
            parts[f"{name}/log_px"], parts[f"{name}/log_py"] = log_px[:, m].mean(0), log_py[:, m].mean(0)
            parts[f"{name}/bound"] = bounds[:, m]
        return parts

    def _named(self, z: Tensor) -> dict[str, Tensor]:
        return {f"{name}/{k}": z[k, m] for m, name in enumerate(self.modality_names) for k in range(len(z))}
