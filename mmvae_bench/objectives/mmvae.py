"""MMVAE: the mixture-of-experts multimodal VAE (Shi et al. 2019)."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from ..data.batch import Batch
from ..distributions.latents import log_mean_exp
from ..specs.built_in.families.experts import MMVAESpec
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
    """All modalities are decoded from every modality's expert; q(z|x,y) is the uniform mixture of the experts.

    The prior is a factor of no expert. Experts and prior are normal, where the paper uses Laplace ones and a prior
    with a learnt scale: here every objective has the same family. With ``per_attribute``, q(z|y_O) is the mixture of
    the specified attributes' experts.

    The gradient of ``dreg`` (Tucker et al. 2019, doubly reparameterised; as in the authors' code) holds q's parameters
    fixed inside the weights, and weighs the path through z by the square of the normalised weights. It has less
    variance than ``plain``, the bound's own gradient, and the same mean with K = 1. With more it is biased here: its
    derivation assumes that the K samples come from the q that the weights divide by, and they come from one expert of
    the mixture.
    """

    spec: MMVAESpec

    def fuse(self, experts: Experts) -> Distribution:
        """The mixture of the experts of the modalities that are present."""
        return mixture(self._single(experts), usable(experts.present))

    def terms(self, batch: Batch) -> Terms:
        """The bound of each modality, from K samples of its expert."""
        spec, experts = self.spec, self.experts(batch.known_image, batch.description)
        dreg = spec.bound == "iwae" and spec.estimator != "plain"
        q_single = self._single(experts)
        z = rearrange(q_single.rsample(torch.Size([spec.num_samples])), "k b m d -> k m b d")
        scored = Independent(Normal(q_single.mean.detach(), q_single.stddev.detach()), 1) if dreg else q_single
        log_q = mixture(scored, experts.present).log_prob(z)
        log_px, log_py = self._decoded(z, batch)
        log_pz = rearrange(self.prior(scored).log_prob(rearrange(z, "k m b d -> k b m d")), "k b m -> k m b")
        log_weights = log_pz - log_q + spec.lambda_image * log_px + spec.lambda_ * log_py
        if dreg and z.requires_grad:
            # The bound's own gradient weighs each sample by its normalised weight; the path through z gets that twice.
            shares = log_weights.detach().softmax(0)[..., None]
            z.register_hook(lambda gradient: gradient * shares.to(gradient.dtype))
        bounds = rearrange(importance_bound(log_weights, bound=spec.bound), "m b -> b m")
        return Terms(mmvae(bounds, present=experts.present), self._parts(bounds, log_px, log_py), self._named(z))

    def _single(self, experts: Experts) -> Distribution:
        """The expert of each modality: a diagonal normal over Float[B, M, D]."""
        each = torch.eye(len(self.modality_names), dtype=torch.bool, device=experts.present.device)
        return products(experts, each, prior=False)

    def _decoded(self, z: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """log p(x|z) and log p(y|z), Float[K, M, B] both, of z Float[K, M, B, D]."""
        num_samples, num_modalities = z.shape[:2]
        concept = repeat(batch.description, "b word -> (k m b) word", k=num_samples, m=num_modalities)
        each = rearrange(z, "k m b d -> (k m b) d")
        log_px = z.new_zeros(z.shape[:3])
        if not batch.imageless:
            image = repeat(batch.image, "b c h w -> (k m b) c h w", k=num_samples, m=num_modalities)
            px = self.image_likelihood(each, concept)
            log_px = rearrange(px.log_prob(image), "(k m b) -> k m b", k=num_samples, m=num_modalities)
        py = self.concept_likelihood(each)
        log_py = rearrange(py.log_prob(concept), "(k m b) -> k m b", k=num_samples, m=num_modalities)
        return log_px, log_py

    def _parts(self, bounds: Tensor, log_px: Tensor, log_py: Tensor) -> dict[str, Tensor]:
        parts = {}
        for m, name in enumerate(self.modality_names):
            parts[f"{name}/log_px"], parts[f"{name}/log_py"] = log_px[:, m].mean(0), log_py[:, m].mean(0)
            parts[f"{name}/bound"] = bounds[:, m]
        return parts

    def _named(self, z: Tensor) -> dict[str, Tensor]:
        return {f"{name}/{k}": z[k, m] for m, name in enumerate(self.modality_names) for k in range(len(z))}
