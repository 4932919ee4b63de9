"""BiVCCA (Wang et al. 2016, Sec. 3.2; with the weights of Vedantam et al. 2018, Sec. 4)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from ..data.batch import Batch
from ..specs.built_in.families.joint import BiVCCASpec
from .base import Terms
from .common.concept_encoders import WithConceptEncoder
from .common.elbo import elbo


def bivcca(
    terms: Mapping[str, tuple[float, Tensor, Tensor, Tensor]], *, lambda_: float, image_weight: float = 1.0
) -> Terms:
    """``-sum_m w_m (E_q(z|m)[a log p(x|z) + lambda log p(y|z)] - KL(q(z|m) || p(z)))``, the batch mean.

    Args:
        terms: For each modality m (``image``, ``concept``): its weight w_m (mu and 1 - mu), then log p(x|z),
            log p(y|z) and KL(q(z|m) || p(z)), each Float[B], with z ~ q(z|m).
        lambda_: Weight of log p(y|z).
        image_weight: a.
    """
    bounds: list[Tensor] = []
    parts: dict[str, Tensor] = {}
    for modality, (weight, log_px, log_py, kl) in terms.items():
        bound = elbo(log_px=log_px, log_py=log_py, kl=kl, image_weight=image_weight, concept_weight=lambda_)
        bounds.append(weight * bound.mean())
        parts |= {f"{modality}/log_px": log_px, f"{modality}/log_py": log_py, f"{modality}/kl": kl}
    return Terms(-sum(bounds[1:], start=bounds[0]), parts)


class BiVCCA(WithConceptEncoder):
    """Both modalities are decoded from the posterior of either one.

    An image without labels has the term under q(z|x) only, and in it no log p(y|z): mu times the ELBO of the image. y
    without an image has the term under q(z|y) only, without log p(x|z): 1 - mu times the ELBO of y.
    """

    spec: BiVCCASpec
    network_names = ("concept_encoder", "image_encoder", "image_decoder", "concept_decoder")

    def terms(self, batch: Batch) -> Terms:
        """Both bounds, at one z each. A bound of weight zero is not computed, and its encoder gets no gradient."""
        terms, latents = {}, {}
        for modality, weight in (("image", self.spec.mu), ("concept", 1 - self.spec.mu)):
            if weight and not (modality == "image" and batch.imageless):
                q = self._posterior_of(modality, batch)
                latents[modality] = z = q.rsample()
                log_px = self.log_image(z, batch)
                log_py = self.concept_likelihood(z).log_prob(batch.description)
                kl = kl_divergence(q, self.prior(q))
                if modality == "concept":
                    # Without any label there is no view y to infer from.
                    told = (batch.description >= 0).any(1)
                    log_px, log_py, kl = (torch.where(told, part, 0.0) for part in (log_px, log_py, kl))
                terms[modality] = (weight, log_px, log_py, kl)
        loss = bivcca(terms, lambda_=self.spec.lambda_, image_weight=self.spec.image_weight)
        loss.latents.update(latents)
        return loss

    def _posterior_of(self, modality: str, batch: Batch) -> Distribution:
        return self.posterior(image=batch.image) if modality == "image" else self.posterior(concept=batch.description)
