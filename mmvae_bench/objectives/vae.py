"""VAE and beta-VAE of images alone (Kingma and Welling 2014; Higgins et al. 2017)."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import kl_divergence

from ..data.batch import Batch
from ..specs.built_in.families.images import ImageVAESpec
from .base import Objective, Terms
from .common.elbo import elbo


def vae(*, log_px: Tensor, kl: Tensor, beta: float, image_weight: float = 1.0) -> Terms:
    """``-E_q(z|x)[a log p(x|z)] + beta KL(q(z|x) || p(z))``, the batch mean.

    Args:
        log_px: log p(x|z), Float[B], z ~ q(z|x).
        kl: KL(q(z|x) || p(z)), Float[B].
        beta: Weight of the divergence.
        image_weight: a.
    """
    bound = elbo(log_px=log_px, kl=kl, image_weight=image_weight, kl_weight=beta)
    return Terms(-bound.mean(), {"image/log_px": log_px, "image/kl": kl})


class VAE(Objective):
    """q(z|x) and p(x|z). It never sees a concept, so it has no 3 C's and describes nothing."""

    spec: ImageVAESpec
    network_names = ("image_encoder", "image_decoder")

    def terms(self, batch: Batch) -> Terms:
        """The bound at one z ~ q(z|x)."""
        q = self.posterior(image=batch.image)
        z = q.rsample()
        log_px = self.image_likelihood(z).log_prob(batch.image)
        terms = vae(
            log_px=log_px,
            kl=kl_divergence(q, self.prior(q)),
            beta=self.spec.kl_weight,
            image_weight=self.spec.image_weight,
        )
        terms.latents["image"] = z
        return terms
