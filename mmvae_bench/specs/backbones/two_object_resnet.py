"""Spec of Cremer and Kushman's residual networks."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import BackboneSpec, DatasetSpec, View, backbones
from .shapes import Share, Width, require, require_texts


@backbones.register
class TwoObjectResNetSpec(BackboneSpec):
    """The networks as the paper and its code describe them; in the attribute view others stand for the text's."""

    implementation: ClassVar[str] = "mmvae_bench.backbones.two_object_resnet:TwoObjectResNetBackbone"
    summary: ClassVar[str] = "residual networks of Cremer and Kushman: RGB, constrained Beta, latent 50"
    reference: ClassVar[str] = (
        "Cremer and Kushman 2018, On the Importance of Learning Aggregate Posteriors in Multimodal VAEs, 5.1"
    )
    views: ClassVar[tuple[View, ...]] = ("attributes", "text")
    later_fields: ClassVar[frozenset[str]] = frozenset({"word_dropout"})

    name: Literal["two_object_resnet"] = "two_object_resnet"
    """The backbone's name."""
    latent_size: Annotated[int, Field(gt=0, le=500)] = 50
    """Number of latent dimensions, at most the width of the shared layers."""
    width: Width = 64
    """Channels of the widest feature map; twice as many at half the image's side, four times at a quarter."""
    word_dropout: Share = 0.0
    """How often p(y|z) is not shown a word before the one it predicts, in training; text view. The published decoder
    has dropout of 0.5 on its hidden states instead, which is always there."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs three channels and sides that two strides of two divide; 112x112 and 64x64 in the paper."""
        channels, height, width = dataset.image_shape()
        met = channels == 3 and not height % 4 and not width % 4 and min(height, width) >= 16
        require(met, self, dataset, "three channels and sides divisible by 4, from 16 up")
        require_texts(self, dataset, "word_dropout")
