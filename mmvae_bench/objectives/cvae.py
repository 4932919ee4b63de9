"""CVAE: the conditional VAE (Sohn et al. 2015), and how unspecified attributes are imputed.

Shapes: B batch, A attribute, D latent dimension, N stored concept, Q query, S sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from ..backbones.base import Backbone
from ..backbones.layers import mixture
from ..data.batch import Batch
from ..data.strengths import is_complete
from ..specs.built_in.families.conditional import CVAESpec
from .base import CapabilityError, Objective, Terms
from .common.elbo import elbo

NUM_REMEMBERED = 4096
"""Training concepts stored, from which unspecified attributes are imputed."""


def cvae(*, log_px: Tensor, kl: Tensor, image_weight: float = 1.0) -> Terms:
    """``-E_q(z|x,y)[a log p(x|y,z)] + KL(q(z|x,y) || p(z|y))``, the batch mean.

    Sohn et al. (2015), whose condition x is the concept y here, and whose output y the image x.

    Args:
        log_px: log p(x|y,z), Float[B], z ~ q(z|x,y).
        kl: KL(q(z|x,y) || p(z|y)), Float[B].
        image_weight: a.
    """
    bound = elbo(log_px=log_px, kl=kl, image_weight=image_weight)
    return Terms(-bound.mean(), {"joint/log_px": log_px, "joint/kl": kl})


class ConceptMemory(nn.Module):
    """The last training concepts seen, from which missing values are drawn (hot-deck imputation).

    The values of a query's unspecified attributes are those of one stored concept, drawn uniformly among the ones that
    agree with the query in the most specified attributes. So they come from the empirical p(y_M | y_O), including
    dependences between attributes, or, where no training concept has all of y_O, from the closest ones. Specified
    values are never changed. Before any concept has been seen, values are uniform.

    The concepts are a buffer: saved and restored with the weights.

    Args:
        sizes: The number of values of each attribute.
        capacity: N, the number of concepts stored.
    """

    def __init__(self, sizes: Sequence[int], *, capacity: int) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.concepts: Tensor
        self.num_seen: Tensor
        self.register_buffer("concepts", torch.zeros(capacity, len(self.sizes), dtype=torch.long))
        self.register_buffer("num_seen", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def remember(self, concept: Tensor) -> None:
        """Stores fully specified concepts, Long[B, A], in place of the oldest ones."""
        capacity = len(self.concepts)
        kept = concept[-capacity:]
        self.num_seen += len(concept)
        slots = (self.num_seen - len(kept) + torch.arange(len(kept), device=kept.device)) % capacity
        self.concepts[slots] = kept

    @torch.no_grad()
    def complete(self, concept: Tensor, *, num_samples: int) -> Tensor:
        """Long[Q, S, A]: S completions of each query, drawn with torch's global generator.

        Args:
            concept: Long[Q, A], -1 where unspecified.
            num_samples: S.
        """
        missing = (concept < 0)[:, None]
        num_kept = min(int(self.num_seen), len(self.concepts))
        if num_kept:
            kept = self.concepts[:num_kept]
            agreeing = (concept[:, None] == kept).sum(-1)
            closest = agreeing == agreeing.amax(-1, keepdim=True)
            drawn = kept[torch.multinomial(closest.float(), num_samples, replacement=True)]
        else:
            shape = (len(concept), num_samples)
            columns = [torch.randint(size, shape, device=concept.device) for size in self.sizes]
            drawn = torch.stack(columns, -1)
        return torch.where(missing, drawn, concept[:, None])


class ConditionedDecoder(nn.Module):
    """p(x|y,z): an image decoder over z concatenated with the concept, one-hot per attribute."""

    def __init__(self, decoder: nn.Module, sizes: Sequence[int]) -> None:
        super().__init__()
        self.decoder, self.sizes = decoder, tuple(sizes)

    def forward(self, z: Tensor, concept: Tensor) -> Distribution:
        """Float[B, D] and fully specified Long[B, A], or a mixture of values, Float[B, V], to a distribution over
        images."""
        px: Distribution = self.decoder(torch.cat([z, mixture(concept, self.sizes, dtype=z.dtype)], dim=-1))
        return px


class CVAE(Objective):
    """q(z|x,y), the conditional prior p(z|y), and an image decoder that is conditioned on the concept.

    ``posterior(concept=y)`` is the prior p(z|y) of a fully specified concept: what the model draws z from without an
    image. Prior and decoder need every attribute, so :meth:`imagine` fills in the unspecified ones, independently for
    each sample, from the training concepts (:class:`ConceptMemory`). There is no p(y|z), so nothing can be described.

    In the view of strengths it is trained on scores. A query's values are then the scores -1 and 1; scores themselves
    are given as weights of the values (:func:`~mmvae_bench.data.strengths.value_weights`).
    """

    spec: CVAESpec

    def __init__(self, spec: CVAESpec, backbone: Backbone, *, seed: int = 0) -> None:
        super().__init__(spec, backbone, seed=seed)
        self.memory = ConceptMemory(self.schema.sizes, capacity=NUM_REMEMBERED)

    @property
    def network_names(self) -> tuple[str, ...]:
        """The recognition network, that of the prior if it is conditional, and the image decoder."""
        prior = ("concept_encoder",) if self.spec.prior == "conditional" else ()
        return ("joint_encoder", *prior, "image_decoder")

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """The image decoder is told y by a network of the backbone's own, or has an input for each value of each
        attribute, in addition to z."""
        if name != "image_decoder":
            return super().build_network(name, backbone)
        if (decoder := backbone.conditional_image_decoder()) is not None:
            return decoder
        wider = backbone.with_latent_size(self.latent_size + sum(self.schema.sizes))
        return ConditionedDecoder(wider.image_decoder(), self.schema.sizes)

    def terms(self, batch: Batch) -> Terms:
        """The conditional bound at one z ~ q(z|x,y); in training, the concepts are stored."""
        if self.training:
            self.memory.remember(batch.concept)
        q = self._network("joint")(batch.image, batch.description)
        z = q.rsample()
        log_px = self.image_likelihood(z, batch.description).log_prob(batch.image)
        kl = kl_divergence(q, self._conditional_prior(batch.description))
        terms = cvae(log_px=log_px, kl=kl, image_weight=self.spec.image_weight)
        terms.latents["joint"] = z
        return terms

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        """q(z|x,y), or the prior p(z|y) where no image is given; of fully specified concepts, or weights of values.

        Raises:
            CapabilityError: for an image alone, or a concept with unspecified attributes.
        """
        if concept is not None and not is_complete(concept):
            raise CapabilityError(
                f"{self.spec.name} takes fully specified concepts only"
                + ("; imagine fills in the unspecified ones" if self.spec.partial_concepts else "")
            )
        if image is None and concept is not None:
            return self._conditional_prior(concept)
        return super().posterior(image, concept)

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        """p(x|y,z).

        Raises:
            CapabilityError: if no concept is given.
        """
        if concept is None:
            raise CapabilityError(f"{self.spec.name} has p(x|y,z) but no p(x|z): its image decoder needs the concept")
        px: Distribution = self.image_decoder(z, concept)
        return px

    def draw_latents(self, concept: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
        """z ~ p(z|y), and the y that the decoder gets: the concept with its unspecified attributes filled in.

        Raises:
            CapabilityError: if attributes are unspecified and the spec refuses them.
        """
        if self.spec.unspecified == "impute" and not concept.is_floating_point():
            completed = self.memory.complete(concept, num_samples=num_samples)
            complete = rearrange(completed, "query sample attribute -> (query sample) attribute")
        else:
            complete = repeat(concept, "query attribute -> (query sample) attribute", sample=num_samples)
        return self.posterior(concept=complete).sample(), complete

    def _conditional_prior(self, concept: Tensor) -> Distribution:
        if self.spec.prior == "conditional":
            p: Distribution = self._network("concept")(concept)
            return p
        dtype = next(self.parameters()).dtype
        zeros = torch.zeros(len(concept), self.latent_size, device=concept.device, dtype=dtype)
        return Independent(Normal(zeros, torch.ones_like(zeros)), 1)
