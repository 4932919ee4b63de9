"""SCAN, the symbol-concept association network (Higgins et al. 2017; in the terms of Vedantam et al. 2018, Sec. 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, kl_divergence
from torch.nn import functional as F

from ..backbones.base import Backbone
from ..backbones.scan import DenoisingAutoencoder, SymbolEncoder
from ..data.batch import Batch
from ..distributions.pixels import GREY_LEVEL, QuantisedNormal
from ..specs.built_in.objectives import SCANSpec
from ..specs.trial import TrainingSpec
from .base import CapabilityError, Objective, Stage, Terms
from .common.elbo import elbo
from .common.frozen import frozen_call
from .common.staged import total
from .vae import vae


def denoising(*, squared_error: Tensor) -> Terms:
    """``||x^ - x||^2``, summed over pixels, the batch mean: x^ from x with a rectangle of it set to zero.

    Args:
        squared_error: Float[B].
    """
    return Terms(squared_error.mean(), {"denoise/squared_error": squared_error})


def concept_network(*, log_py: Tensor, kl: Tensor, kl_from_image: Tensor, beta: float, alpha: float) -> Terms:
    """``-E_q(z|y)[log p(y|z)] + beta KL(q(z|y) || p(z)) + alpha KL(q(z|x) || q(z|y))``, the batch mean.

    The last divergence runs from the image: a concept must cover every image of it.

    Args:
        log_py: log p(y|z), Float[B], z ~ q(z|y).
        kl: KL(q(z|y) || p(z)), Float[B].
        kl_from_image: KL(q(z|x) || q(z|y)), Float[B].
        beta: Weight of the first KL.
        alpha: Weight of the second.
    """
    loss = -(elbo(log_py=log_py, kl=kl, kl_weight=beta) - alpha * kl_from_image).mean()
    return Terms(loss, {"concept/log_py": log_py, "concept/kl": kl, "concept/kl_from_image": kl_from_image})


def occlude(image: Tensor) -> Tensor:
    """Sets a rectangle of every image to zero, whose corners are uniform: two draws for each axis (SCAN, appendix).

    Args:
        image: Float[B, C, H, W].
    """
    covered = torch.ones(len(image), 1, 1, 1, dtype=torch.bool, device=image.device)
    for axis in (2, 3):
        size, shape = image.shape[axis], [1, 1, 1, 1]
        shape[axis] = -1
        low, high = (torch.rand(len(image), 2, 1, 1, device=image.device) * size).sort(1).values.split(1, dim=1)
        # A pixel is covered where its centre is.
        centres = (torch.arange(size, device=image.device) + 0.5).reshape(shape)
        covered = covered & (low <= centres) & (centres < high)
    return image.masked_fill(covered, 0.0)


class SCAN(Objective):
    """A latent space of images first, then concepts as distributions in it.

    p(y|z) is the one of all objectives here, a categorical for each attribute; q(z|y) takes the whole k-hot vector.
    """

    spec: SCANSpec
    denoiser: DenoisingAutoencoder

    def networks(self) -> tuple[str, ...]:
        """Those of the posteriors, the decoders, and the denoising autoencoder where it is wanted."""
        return (*super().networks(), "denoiser") if self.spec.dae else super().networks()

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """The denoising autoencoder and the encoder of symbols, or the backbone's network."""
        if name == "denoiser":
            return DenoisingAutoencoder(self.image_shape)
        if name == "concept_encoder":
            return SymbolEncoder(self.schema, latent_size=self.latent_size)
        return super().build_network(name, backbone)

    def stages(self, training: TrainingSpec) -> list[Stage]:
        """The denoising autoencoder, the beta-VAE on its features, the concept network."""
        half = max(1, training.steps // 2)
        stages = [
            Stage("image", training.steps, ("image_encoder", "image_decoder")),
            Stage("concept", self.spec.concept_steps or half, ("concept_encoder", "concept_decoder")),
        ]
        return [Stage("denoise", self.spec.denoise_steps or half, ("denoiser",)), *stages] if self.spec.dae else stages

    def terms(self, batch: Batch) -> Terms:
        """The terms of the current stage; outside of stages all of them, each with what it freezes cut off."""
        names = self.spec.stage_names if self.stage is None else (self.stage.name,)
        terms = {"denoise": self.denoise, "image": self.image, "concept": self.concept}
        return total(*(terms[name](batch) for name in names))

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        """q(z|x) or q(z|y); see :meth:`Objective.posterior`.

        Raises:
            CapabilityError: for a concept with an unspecified attribute, naming it.
        """
        if concept is not None and bool((missing := (concept < 0).reshape(-1, len(self.schema)).any(0)).any()):
            names = [name for name, absent in zip(self.schema.names, missing.tolist(), strict=True) if absent]
            raise CapabilityError(
                f"scan takes fully specified concepts only, for a concept is one symbol to it: give {', '.join(names)}"
            )
        return super().posterior(image, concept)

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        """p(x|z). Features teach a decoder the mean alone, so the scale that some have beside it stays half a level."""
        px = super().image_likelihood(z, concept)
        if self.spec.dae and isinstance(px, Independent) and isinstance(px.base_dist, QuantisedNormal):
            return Independent(QuantisedNormal(px.mean, torch.full_like(px.mean, GREY_LEVEL / 2)), 3)
        return px

    def denoise(self, batch: Batch) -> Terms:
        """Images restored from occluded ones."""
        restored = self.denoiser(occlude(batch.image))
        return denoising(squared_error=F.mse_loss(restored, batch.image, reduction="none").flatten(1).sum(1))

    def image(self, batch: Batch) -> Terms:
        """The beta-VAE, on the squared error in features of the fixed autoencoder, or on log p(x|z)."""
        q = self.posterior(image=batch.image)
        z = q.rsample()
        px = self.image_likelihood(z)
        if self.spec.dae:
            wanted, given = (frozen_call(self.denoiser.encoder, image) for image in (batch.image, px.mean))
            log_px = -(given - wanted).square().flatten(1).sum(1)
        else:
            log_px = px.log_prob(batch.image)
        terms = vae(log_px=log_px, kl=kl_divergence(q, self.prior(q)), beta=self.spec.beta_x)
        if self.spec.dae:
            # No log probability: its unit is not the nat, and no other objective's can be compared with it.
            terms.parts["image/squared_error"] = -terms.parts.pop("image/log_px")
        terms.latents["image"] = z
        return terms

    def concept(self, batch: Batch) -> Terms:
        """The concept network, drawn to the posterior of an image that is left exactly as it is."""
        q = self._network("concept")(batch.concept)
        z = q.rsample()
        with torch.no_grad():
            q_image = frozen_call(self._network("image"), batch.image)
        terms = concept_network(
            log_py=self.concept_likelihood(z).log_prob(batch.concept),
            kl=kl_divergence(q, self.prior(q)),
            kl_from_image=kl_divergence(q_image, q),
            beta=self.spec.beta_y,
            alpha=self.spec.alpha,
        )
        terms.latents["concept"] = z
        return terms
