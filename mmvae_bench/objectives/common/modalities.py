"""Objectives whose joint posterior is built from those of the modalities: no network sees both image and concept.

Shapes: B batch, C channel, H height, W width, A attribute, M modality, D latent dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from ...backbones.base import Backbone
from ...base.errors import BenchmarkError
from ...specs.built_in.families.experts import MultimodalSpec
from ..base import Objective
from .products import Experts, component, products


class MultimodalObjective(Objective):
    """One Gaussian expert per modality, fused into q(z|x,y) and q(z|y_O) by products or mixtures.

    The modalities are the image and the concept (``modalities: two``), or the image and each attribute
    (``per_attribute``). The concept encoders of the benchmark are themselves a product of N(0, I) and an expert for
    each specified attribute. Their experts are separated here, so that the prior enters a product once or not at all:

    - ``prior_is_factor`` (MVAE): the experts are prior-free, and every product contains the prior once.
    - otherwise (MMVAE, MoPoE, MVTCAE): no product adds a prior. With ``two``, q(z|y_O) is the concept encoder's own
      product, prior included, and one expert of two; with ``per_attribute`` it is made of the bare experts.

    Either way q(z|x,y) of a product contains the prior at most once, q(z|y_O) is the prior where nothing is specified,
    and an unspecified attribute's expert has no influence. A concept encoder without experts, such as one of text, is
    one expert as a whole (``two`` only).

    A subclass implements ``terms``, and :meth:`fuse` where it is not a product.

    Raises:
        BenchmarkError: for ``per_attribute`` with a concept encoder that has no expert per attribute.
    """

    spec: MultimodalSpec
    network_names = ("image_encoder", "concept_encoder", "image_decoder", "concept_decoder")
    prior_is_factor = False

    def __init__(self, spec: MultimodalSpec, backbone: Backbone, *, seed: int = 0) -> None:
        super().__init__(spec, backbone, seed=seed)
        self.per_attribute = spec.modalities == "per_attribute"
        self.modality_names = ("image", *(self.schema.names if self.per_attribute else ("concept",)))
        if self.per_attribute and not hasattr(self.concept_encoder, "experts"):
            raise BenchmarkError(
                f"objective {spec.name}: modalities per_attribute needs a concept encoder with one expert per "
                f"attribute, which backbone {backbone.spec.name} does not have: choose modalities two or another "
                "backbone"
            )

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        """q(z|x,y_O), q(z|x) or q(z|y_O), depending on what is given: the fused experts of the modalities present.

        A diagonal normal where one modality is given, and for products.

        Args:
            image: Float[B, C, H, W] or None.
            concept: Long[B, A] or None; -1 where unspecified.
        """
        if image is None and concept is None:
            raise ValueError("posterior needs an image, a concept or both")
        experts = self.experts(image, concept)
        one = concept is None or (image is None and not self.per_attribute)
        return self.product(experts) if one else self.fuse(experts)

    def fuse(self, experts: Experts) -> Distribution:
        """The posterior of all modalities that are present: here their product."""
        return self.product(experts)

    def product(self, experts: Experts, subset: tuple[bool, ...] | None = None) -> Distribution:
        """The product of the experts of a subset of the modalities, or of all: a diagonal normal over Float[B, D]."""
        members = torch.tensor([subset or (True,) * len(self.modality_names)], device=experts.present.device)
        return component(products(experts, members, prior=self.prior_is_factor), 0)

    def experts(self, image: Tensor | None, concept: Tensor | None) -> Experts:
        """The expert of every modality, in the order of ``modality_names``; modalities that are not given are not
        present."""
        given = image if image is not None else concept
        assert given is not None
        num_concepts, device = len(self.modality_names) - 1, given.device
        absent = torch.zeros(len(given), num_concepts, dtype=torch.bool, device=device)
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        if image is not None:
            q = self._network("image")(image)
            precision = q.stddev[:, None] ** -2
            parts.append((precision, precision * q.mean[:, None], ~absent[:, :1]))
        if concept is not None:
            parts.append(self._concept_experts(concept))
        if image is None:
            parts.insert(0, _nothing(parts[0][0], absent[:, :1]))
        if concept is None:
            parts.append(_nothing(parts[0][0], absent))
        precisions, shifts, present = zip(*parts, strict=True)
        return Experts(torch.cat(precisions, 1), torch.cat(shifts, 1), torch.cat(present, 1))

    def _concept_experts(self, concept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        encoder, specified = self._network("concept"), concept >= 0
        experts_of = getattr(encoder, "experts", None)
        if experts_of is None:
            q = encoder(concept)
            precision = q.stddev[:, None] ** -2
            return precision, precision * q.mean[:, None], torch.ones_like(specified[:, :1])
        means, log_scales = experts_of(concept)
        precision = torch.where(specified[..., None], (-2 * log_scales).exp(), 0.0)
        shift = precision * torch.where(specified[..., None], means, 0.0)
        if self.per_attribute:
            return precision, shift, specified
        own_prior = 0.0 if self.prior_is_factor else 1.0
        total = own_prior + precision.sum(1, keepdim=True)
        return total, shift.sum(1, keepdim=True), specified.any(1, keepdim=True)


def _nothing(like: Tensor, absent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    zeros = like.new_zeros(*absent.shape, like.shape[-1])
    return zeros, zeros, absent
