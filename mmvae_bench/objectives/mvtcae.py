"""MVTCAE: the multi-view total correlation autoencoder (Hwang et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from ..data.batch import Batch
from ..specs.built_in.families.experts import MVTCAESpec
from .base import Terms
from .common.elbo import elbo
from .common.modalities import MultimodalObjective
from .common.products import products


def mvtcae(
    *,
    log_px: Tensor,
    log_py: Tensor,
    kl: Tensor,
    kl_to_each: Tensor,
    present: Tensor,
    lambda_image: float,
    lambda_: float,
    alpha: float,
    beta: float,
) -> Tensor:
    """The negative of ``((M - alpha) / M) E_q[sum_m lambda_m log p(x_m|z)] - beta [(1 - alpha) KL(q || p(z)) +
    (alpha / M) sum_m KL(q || q_m)]``, the batch mean.

    Hwang et al. (2021), the total-correlation bound: a reconstruction, and a mean of the variational information
    bottleneck and of the conditional ones.

    Args:
        log_px: log p(x|z), Float[B], z ~ q.
        log_py: log p(y|z), Float[B], at the same z.
        kl: KL(q || p(z)), Float[B].
        kl_to_each: KL(q || q_m), Float[B, M].
        present: Bool[B, M]; M of the formula is an example's number of modalities that are present.
        lambda_image: Weight of log p(x|z).
        lambda_: Weight of log p(y|z).
        alpha: Share of the divergences from single experts.
        beta: Weight of all divergences.
    """
    num_modalities = present.sum(1).to(kl.dtype)
    reconstruction = elbo(
        log_px=log_px,
        log_py=log_py,
        kl=kl,
        image_weight=lambda_image,
        concept_weight=lambda_,
        kl_weight=0.0,
    )
    away = torch.where(present, kl_to_each, 0.0).sum(1) / num_modalities
    bound = (num_modalities - alpha) / num_modalities * reconstruction - beta * ((1 - alpha) * kl + alpha * away)
    return -bound.mean()


class MVTCAE(MultimodalObjective):
    """All modalities are decoded from the product of the experts, which stays close to the prior and to every expert.

    The prior is a factor of no product. With ``two``, the concept's expert is itself a product that contains it.
    """

    spec: MVTCAESpec

    def terms(self, batch: Batch) -> Terms:
        """The bound at one z of the product, with analytic divergences."""
        spec, experts = self.spec, self.experts(batch.known_image, batch.description)
        q = self.product(experts)
        z = q.rsample()
        each = torch.eye(len(self.modality_names), dtype=torch.bool, device=z.device)
        single = products(experts, each, prior=False)
        beside = Independent(Normal(q.mean[:, None], q.stddev[:, None]), 1)
        log_px = self.log_image(z, batch)
        log_py = self.concept_likelihood(z).log_prob(batch.description)
        kl, kl_to_each = kl_divergence(q, self.prior(q)), kl_divergence(beside, single)
        loss = mvtcae(
            log_px=log_px,
            log_py=log_py,
            kl=kl,
            kl_to_each=kl_to_each,
            present=experts.present,
            lambda_image=spec.lambda_image,
            lambda_=spec.lambda_,
            alpha=spec.alpha,
            beta=spec.beta,
        )
        parts = {"joint/log_px": log_px, "joint/log_py": log_py, "joint/kl": kl}
        away = {f"joint/kl_to_{name}": kl_to_each[:, m] for m, name in enumerate(self.modality_names)}
        return Terms(loss, parts | away, {"joint": z})
