"""q_True: a flow q(z|y) fitted to the true posterior of a concept (Cremer and Kushman 2018, Eq. 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..distributions.latents import diagonal_normal
from ..specs.built_in.objectives import QTrueSpec
from .base import Terms
from .common.frozen import frozen_call
from .concept_flow import ConceptFlow


def q_true(*, log_py: Tensor, log_pz: Tensor, log_q: Tensor, gamma: float) -> Terms:
    """``-E_q(z|y)[gamma log p(y|z) + log p(z) - log q(z|y)]``, the batch mean: TELBO's concept term, for a flow.

    Args:
        log_py: log p(y|z), Float[B], z ~ q(z|y); only the specified attributes count.
        log_pz: log p(z), Float[B], at the same z.
        log_q: log q(z|y), Float[B], at the same z.
        gamma: Weight of log p(y|z).
    """
    loss = -(gamma * log_py + log_pz - log_q).mean()
    return Terms(loss, {"concept/log_py": log_py, "concept/log_pz": log_pz, "concept/log_q": log_q})


class QTrue(ConceptFlow):
    """VLVAE, then the bound on log p(y) with the decoders left exactly as they are."""

    spec: QTrueSpec

    def concept_terms(self, q: Distribution, concept: Tensor, z: Tensor) -> Terms:
        """The bound at one z ~ q(z|y); the z of the image plays no part."""
        z = q.rsample()
        zeros = torch.zeros_like(z)
        terms = q_true(
            log_py=frozen_call(self.concept_decoder, z).log_prob(concept),
            log_pz=diagonal_normal(zeros, zeros).log_prob(z),
            log_q=q.log_prob(z),
            gamma=self.spec.gamma,
        )
        terms.latents["concept"] = z
        return terms
