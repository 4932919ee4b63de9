"""VLVAE: images and concepts from z ~ q(z|x) (Cremer and Kushman 2018, Eq. 1 and 2), and the aggregate as a prior."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from ..backbones.base import Backbone
from ..backbones.flows import UnconditionalFlow
from ..data.batch import Batch
from ..specs.built_in.objectives import QAggSpec, QTrueSpec, VLVAESpec
from ..specs.trial import TrainingSpec
from .base import CapabilityError, Objective, Stage, Terms
from .common.elbo import elbo
from .common.staged import total

WARMUP_SHARE = 20
"""The paper's 20,000 of 400,000 steps, as one part in so many."""


def vlvae(
    *,
    log_px: Tensor,
    log_py: Tensor,
    kl: Tensor,
    image_weight: float,
    concept_weight: float,
    kl_weight: float = 1.0,
    inference: str = "image",
) -> Terms:
    """``-E_q(z|x)[w_x log p(x|z) + w_y log p(y|z)] + KL(q(z|x) || p(z))``, the batch mean.

    Args:
        log_px: log p(x|z), Float[B], z ~ q(z|x), or q(z|x,y) with joint inference.
        log_py: log p(y|z), Float[B], at the same z.
        kl: KL(q(z|x) || p(z)), Float[B].
        image_weight: w_x (Sec. 5.3.1).
        concept_weight: w_y.
        kl_weight: Below one during warm-up (Sec. 5.3).
        inference: ``image`` or ``joint``, for the names of the parts.
    """
    bound = elbo(
        log_px=log_px,
        log_py=log_py,
        kl=kl,
        image_weight=image_weight,
        concept_weight=concept_weight,
        kl_weight=kl_weight,
    )
    parts = {"log_px": log_px, "log_py": log_py, "kl": kl}
    return Terms(-bound.mean(), {f"{inference}/{name}": part for name, part in parts.items()})


def aggregate_prior(*, log_q: Tensor) -> Terms:
    """``-E_p(x) E_q(z|x)[log q(z)]``, the batch mean: least where q(z) is the aggregate posterior (Sec. 3).

    Args:
        log_q: log q(z), Float[B], z ~ q(z|x), detached.
    """
    return Terms(-log_q.mean(), {"prior/log_q": log_q})


class VLVAE(Objective):
    """One bound, with inference from the image; then, on the frozen model, the flows of :attr:`flow_stages`."""

    spec: VLVAESpec | QTrueSpec | QAggSpec
    prior_flow: UnconditionalFlow

    @property
    def flow_stages(self) -> dict[str, str]:
        """The stages after the first, in order, and the network that each trains."""
        return {"prior": "prior_flow"} if self.spec.prior_flow else {}

    def networks(self) -> tuple[str, ...]:
        """Those of the posteriors, the decoders, and the flow for q(z) where it is wanted."""
        return (*super().networks(), "prior_flow") if self.spec.prior_flow else super().networks()

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """The flow for q(z), or the backbone's network."""
        return UnconditionalFlow(self.latent_size) if name == "prior_flow" else super().build_network(name, backbone)

    def stages(self, training: TrainingSpec) -> list[Stage]:
        """The bound; then a stage for each flow, on the frozen model."""
        steps = self.spec.flow_steps or max(1, training.steps // 2)
        first = Stage("fit", training.steps, (f"{self.spec.inference}_encoder", *self.decoders))
        return [first, *(Stage(name, steps, (network,)) for name, network in self.flow_stages.items())]

    def terms(self, batch: Batch) -> Terms:
        """The terms of the current stage; outside of stages all of them, where each flow is fitted at the bound's z."""
        if self.stage is None:
            bound = self.bound(batch)
            z = bound.latents[self.spec.inference].detach()
            return total(bound, *(self.flow_terms(name, batch, z) for name in self.flow_stages))
        if self.stage.name == "fit":
            return self.bound(batch)
        with torch.no_grad():
            z = self.inferred(batch).sample()
        return self.flow_terms(self.stage.name, batch, z)

    def bound(self, batch: Batch) -> Terms:
        """The bound at one z."""
        q = self.inferred(batch)
        z = q.rsample()
        px, py = self.likelihood(z, batch.description)
        terms = vlvae(
            log_px=px.log_prob(batch.image),
            log_py=py.log_prob(batch.description),
            kl=kl_divergence(q, self.prior(q)),
            image_weight=self.spec.image_weight,
            concept_weight=self.spec.concept_weight,
            kl_weight=self.kl_weight(),
            inference=self.spec.inference,
        )
        terms.latents[self.spec.inference] = z
        return terms

    def flow_terms(self, stage: str, batch: Batch, z: Tensor) -> Terms:
        """The loss of a stage after the first, at a z ~ q(z|x) that no gradient passes."""
        assert stage == "prior"
        terms = aggregate_prior(log_q=self.aggregate_prior().log_prob(z))
        terms.latents[self.spec.inference] = z
        return terms

    def inferred(self, batch: Batch) -> Distribution:
        """q(z|x), or q(z|x,y) with joint inference."""
        return self.posterior(batch.image, batch.description if self.spec.inference == "joint" else None)

    def kl_weight(self) -> float:
        """Grows from 0 to 1 while the first stage warms up; 1 in validation and everywhere else."""
        if self.stage is None or not self.training:
            return 1.0
        steps = self.spec.kl_warmup_steps
        steps = self.stage.steps // WARMUP_SHARE if steps is None else steps
        return min(1.0, self.step_done / steps) if steps else 1.0

    def aggregate_prior(self) -> Distribution:
        """q(z), the flow fitted to the aggregate of q(z|x): a distribution over Float[D], in place of p(z).

        Raises:
            CapabilityError: where the objective was trained without it.
        """
        if not self.spec.prior_flow:
            raise CapabilityError(f"{self.spec.name} was trained without a flow for q(z): set prior_flow: true")
        result: Distribution = self.prior_flow()
        return result
