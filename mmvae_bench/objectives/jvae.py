"""JVAE: the joint ELBO alone (Vedantam et al. 2018, Eq. 1)."""

from __future__ import annotations

from ..data.batch import Batch
from ..specs.built_in.families.joint import JVAESpec
from .base import Objective, Terms
from .common.elbo import joint_terms


class JVAE(Objective):
    """q(z|x,y), p(x|z) and p(y|z), fitted together.

    ``-E_q(z|x,y)[a log p(x|z) + lambda log p(y|z)] + KL(q(z|x,y) || p(z))``
    """

    spec: JVAESpec
    network_names = ("joint_encoder", "image_decoder", "concept_decoder")

    def terms(self, batch: Batch) -> Terms:
        """The joint ELBO at one z ~ q(z|x,y)."""
        return joint_terms(self, batch, lambda_=self.spec.lambda_, image_weight=self.spec.image_weight)
