"""Spec of Cremer and Kushman's residual networks."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import BackboneSpec, DatasetSpec, backbones
from .shapes import Width, require


@backbones.register
class TwoObjectResNetSpec(BackboneSpec):
    """The image networks as the paper and its code describe them; attributes take the place of the text."""

    implementation: ClassVar[str] = "mmvae_bench.backbones.two_object_resnet:TwoObjectResNetBackbone"
    summary: ClassVar[str] = "residual networks of Cremer and Kushman: RGB, constrained Beta, latent 50"
    reference: ClassVar[str] = (
        "Cremer and Kushman 2018, On the Importance of Learning Aggregate Posteriors in Multimodal VAEs, 5.1"
    )

    name: Literal["two_object_resnet"] = "two_object_resnet"
    """The backbone's name."""
    latent_size: Annotated[int, Field(gt=0, le=500)] = 50
    """Number of latent dimensions, at most the width of the shared layers."""
    width: Width = 64
    """Channels of the widest feature map; twice as many at half the image's side, four times at a quarter."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs three channels and sides that two strides of two divide; 112x112 and 64x64 in the paper."""
        channels, height, width = dataset.image_shape()
        met = channels == 3 and not height % 4 and not width % 4 and min(height, width) >= 16
        require(met, self, dataset, "three channels and sides divisible by 4, from 16 up")
