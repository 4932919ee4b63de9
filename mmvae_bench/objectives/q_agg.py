"""q_Agg: a flow q(z|y) fitted to the aggregate posterior of a concept's images (Cremer and Kushman 2018, Sec. 3)."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution

from ..specs.built_in.objectives import QAggSpec
from .base import Terms
from .concept_flow import ConceptFlow


def q_agg(*, log_q: Tensor) -> Terms:
    """``-E_p(x,y) E_q(z|x)[log q(z|y)]``, the batch mean.

    It is ``E KL(q(z|x) || q(z|y))`` but for the entropy of q(z|x), which is fixed; by Eq. 5 it is therefore least where
    ``q(z|y)`` is ``q^y(z) = E_p(x|y)[q(z|x)]``, the aggregate posterior of Eq. 4.

    Args:
        log_q: log q(z|y), Float[B], z ~ q(z|x), detached.
    """
    return Terms(-log_q.mean(), {"concept/log_q": log_q})


class QAgg(ConceptFlow):
    """VLVAE, then ``E_q(z|x)[log q(z|y)]`` with the model frozen."""

    spec: QAggSpec

    def concept_terms(self, q: Distribution, concept: Tensor, z: Tensor) -> Terms:
        """The flow's density at the z of an image of the concept."""
        terms = q_agg(log_q=q.log_prob(z))
        terms.latents[self.spec.inference] = z
        return terms
