"""Spec of the CelebA-18 networks of the paper."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import BackboneSpec, DatasetSpec, backbones
from .shapes import require_shape


@backbones.register
class CelebA18Spec(BackboneSpec):
    """The networks as the paper describes them."""

    implementation: ClassVar[str] = "mmvae_bench.backbones.celeba18:CelebA18Backbone"
    summary: ClassVar[str] = "CelebA-18 networks of the paper: 64x64 RGB, DCGAN decoder, quantised normal, latent 18"
    reference: ClassVar[str] = "Vedantam et al. 2018, Generative Models of Visually Grounded Imagination, A.4"

    name: Literal["celeba18"] = "celeba18"
    """The backbone's name."""
    latent_size: Annotated[int, Field(gt=0)] = 18
    """Number of latent dimensions: as many as attributes."""
    l2: Annotated[float, Field(ge=0)] = 5e-6
    """Weight of the sum of squared weights of the concept decoder ("a small amount": the paper gives no number)."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs three channels at 64x64."""
        require_shape(self, dataset, (3, 64, 64))
