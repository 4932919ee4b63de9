"""CVAE: the conditional VAE (Sohn et al. 2015).

Shapes: B batch, A attribute, V value of any attribute, D latent dimension.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence
from torch.nn import functional as F

from ..backbones.base import Backbone
from ..data.batch import Batch
from ..specs.built_in.objectives import CVAESpec
from .base import CapabilityError, Objective, Terms
from .common.elbo import elbo
from .common.imputation import ConceptMemory

NUM_REMEMBERED = 4096
"""Training concepts that unspecified attributes are imputed from."""


def cvae(*, log_px: Tensor, kl: Tensor) -> Terms:
    """``-E_q(z|x,y)[log p(x|y,z)] + KL(q(z|x,y) || p(z|y))``, the batch mean.

    Sohn et al. (2015), whose condition x is the concept y here, and whose output y the image x.

    Args:
        log_px: log p(x|y,z), Float[B], z ~ q(z|x,y).
        kl: KL(q(z|x,y) || p(z|y)), Float[B].
    """
    return Terms(-elbo(log_px=log_px, kl=kl).mean(), {"joint/log_px": log_px, "joint/kl": kl})


class ConditionedDecoder(nn.Module):
    """p(x|y,z): an image decoder over z and the concept, one number a value, side by side."""

    def __init__(self, decoder: nn.Module, sizes: Sequence[int]) -> None:
        super().__init__()
        self.decoder, self.sizes = decoder, tuple(sizes)

    def forward(self, z: Tensor, concept: Tensor) -> Distribution:
        """Float[B, D] and fully specified Long[B, A] to a distribution over images."""
        told = [F.one_hot(concept[:, k], size).to(z.dtype) for k, size in enumerate(self.sizes)]
        px: Distribution = self.decoder(torch.cat([z, *told], dim=-1))
        return px


class CVAE(Objective):
    """q(z|x,y), the conditional prior p(z|y), and an image decoder that is told the concept.

    ``posterior(concept=y)`` is the prior p(z|y) of a fully specified concept: what the model draws z from when it sees
    no image. Prior and decoder need every attribute, so :meth:`imagine` fills in the unspecified ones, anew for each
    sample, from the training concepts (:class:`ConceptMemory`). There is no p(y|z), so nothing can be described.
    """

    spec: CVAESpec

    def __init__(self, spec: CVAESpec, backbone: Backbone, *, seed: int = 0) -> None:
        super().__init__(spec, backbone, seed=seed)
        self.memory = ConceptMemory(self.schema.sizes, capacity=NUM_REMEMBERED)

    def networks(self) -> tuple[str, ...]:
        """The recognition network, the prior's where it is conditional, and the decoder."""
        return ("joint_encoder", *(("concept_encoder",) if self.spec.prior == "conditional" else ()), *self.decoders)

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """The image decoder has an input for each value of each attribute besides z."""
        if name != "image_decoder":
            return super().build_network(name, backbone)
        wider = backbone.with_latent_size(self.latent_size + sum(self.schema.sizes))
        return ConditionedDecoder(wider.image_decoder(), self.schema.sizes)

    def terms(self, batch: Batch) -> Terms:
        """The conditional bound at one z ~ q(z|x,y); in training, the concepts are remembered."""
        if self.training:
            self.memory.remember(batch.concept)
        q = self._network("joint")(batch.image, batch.concept)
        z = q.rsample()
        log_px = self.image_likelihood(z, batch.concept).log_prob(batch.image)
        terms = cvae(log_px=log_px, kl=kl_divergence(q, self._conditional_prior(batch.concept)))
        terms.latents["joint"] = z
        return terms

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        """q(z|x,y), or the prior p(z|y) where no image is given; of fully specified concepts.

        Raises:
            CapabilityError: for an image alone, or a concept with unspecified attributes.
        """
        if concept is not None and bool((concept < 0).any()):
            raise CapabilityError(
                f"{self.spec.name} takes fully specified concepts only"
                + ("; imagine fills in the others" if self.spec.partial_concepts else "")
            )
        if image is None and concept is not None:
            return self._conditional_prior(concept)
        return super().posterior(image, concept)

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        """p(x|y,z).

        Raises:
            CapabilityError: where no concept is given.
        """
        if concept is None:
            raise CapabilityError(f"{self.spec.name} has p(x|y,z) and no p(x|z): it must be told the concept")
        px: Distribution = self.image_decoder(z, concept)
        return px

    def draw_latents(self, concept: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
        """z ~ p(z|y), y the concept with its unspecified attributes filled in; and that y, which the decoder is told.

        Raises:
            CapabilityError: where attributes are unspecified and the objective was set to refuse that.
        """
        if self.spec.unspecified == "impute":
            told = self.memory.complete(concept, num_samples=num_samples).flatten(0, 1)
        else:
            told = concept.repeat_interleave(num_samples, 0)
        return self.posterior(concept=told).sample(), told

    def _conditional_prior(self, concept: Tensor) -> Distribution:
        if self.spec.prior == "conditional":
            p: Distribution = self._network("concept")(concept)
            return p
        dtype = next(self.parameters()).dtype
        zeros = torch.zeros(len(concept), self.latent_size, device=concept.device, dtype=dtype)
        return Independent(Normal(zeros, torch.ones_like(zeros)), 1)
