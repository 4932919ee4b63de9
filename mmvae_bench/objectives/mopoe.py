"""MoPoE-VAE: a mixture of products of experts (Sutter et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from ..backbones.base import Backbone
from ..base.seeds import derive_seed
from ..data.batch import Batch
from ..specs.built_in.families.experts import MoPoESpec
from .base import Terms
from .common.elbo import elbo
from .common.modalities import MultimodalObjective
from .common.products import Experts, all_subsets, component, mixture, products, stratified_choice, usable


def mopoe(
    *,
    log_px: Tensor,
    log_py: Tensor | None,
    kls: Tensor,
    counts: Tensor,
    lambda_image: float,
    lambda_: float,
    beta: float,
) -> Terms:
    """``-E_q[sum_m lambda_m log p(x_m|z)] + (beta/K) sum_S KL(q_S || p(z))``, the batch mean.

    Sutter et al. (2021): q = (1/K) sum_S q_S over the subsets S of modalities, q_S a product of experts. The
    mixture's KL has no closed form; by convexity it is at most the mean of the subsets', which takes its place here, as
    in the authors' code.

    Args:
        log_px: log p(x|z), Float[B], z ~ q.
        log_py: log p(y|z), Float[B], at the same z; None if there is no concept.
        kls: KL(q_S || p(z)), Float[B, K].
        counts: Bool[B, K]; the subsets in an example's mixture.
        lambda_image: Weight of log p(x|z).
        lambda_: Weight of log p(y|z).
        beta: Weight of the divergence.
    """
    kl = torch.where(counts, kls, 0.0).sum(1) / counts.sum(1)
    bound = elbo(log_px=log_px, log_py=log_py, kl=kl, image_weight=lambda_image, concept_weight=lambda_, kl_weight=beta)
    parts = {"joint/log_px": log_px, "joint/log_py": log_py, "joint/kl": kl}
    return Terms(-bound.mean(), {key: part for key, part in parts.items() if part is not None})


class MoPoE(MultimodalObjective):
    """One ELBO; all modalities are decoded from any subset of them.

    The prior is a factor of no product, as in the paper's definition (its code adds one to the product of all). One z
    per example is drawn from the mixture, from one subset, with the subsets spread evenly over the batch. q(z|y_O) is
    the mixture of the products of each subset's specified part; with all subsets, the uniform one over O's subsets.
    """

    spec: MoPoESpec

    def __init__(self, spec: MoPoESpec, backbone: Backbone, *, seed: int = 0) -> None:
        super().__init__(spec, backbone, seed=seed)
        subsets = subset_collection(len(self.modality_names), spec.num_subsets, seed=seed)
        self.subsets: Tensor
        self.register_buffer("subsets", subsets)

    def fuse(self, experts: Experts) -> Distribution:
        """The mixture over the subsets of what is present."""
        return mixture(products(experts, self.subsets, prior=False), self._counts(experts))

    def terms(self, batch: Batch) -> Terms:
        """The ELBO at one z of one subset per example, and the divergence of every subset."""
        spec, experts = self.spec, self.experts(batch.known_image, batch.description)
        each, counts = products(experts, self.subsets, prior=False), self._counts(experts)
        z = component(each, stratified_choice(counts)).rsample()
        terms = mopoe(
            log_px=self.log_image(z, batch),
            log_py=self.concept_likelihood(z).log_prob(batch.description),
            kls=kl_divergence(each, self.prior(each)),
            counts=counts,
            lambda_image=spec.lambda_image,
            lambda_=spec.lambda_,
            beta=spec.beta,
        )
        terms.latents["joint"] = z
        return terms

    def _counts(self, experts: Experts) -> Tensor:
        return usable((self.subsets & experts.present[:, None]).any(-1))


def subset_collection(num_modalities: int, num_subsets: int | None, *, seed: int) -> Tensor:
    """The subsets of a mixture: Bool[K, M], distinct and not empty.

    Args:
        num_modalities: M.
        num_subsets: K, from M + 1 to 2^M - 1: all together, each alone, and others drawn at random. None: all.
        seed: For drawing those others.
    """
    if num_subsets is None:
        return all_subsets(num_modalities)
    generator = torch.Generator().manual_seed(derive_seed("subsets", seed=seed, num_modalities=num_modalities))
    rows = {(True,) * num_modalities: None}
    rows |= {tuple(row): None for row in torch.eye(num_modalities, dtype=torch.bool).tolist()}
    while len(rows) < num_subsets:
        row = tuple((torch.rand(num_modalities, generator=generator) < 0.5).tolist())
        if any(row):
            rows[row] = None
    return torch.tensor(list(rows))
