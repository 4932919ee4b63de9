"""Spec of the thin networks for small RGB images."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import BackboneSpec, DatasetSpec, View, backbones
from .shapes import Share, Width, require, require_texts


@backbones.register
class RGBThinSpec(BackboneSpec):
    """A small convolutional backbone for small RGB images, for runs on a CPU; no published number was made with it."""

    implementation: ClassVar[str] = "mmvae_bench.backbones.rgb_thin:RGBThinBackbone"
    summary: ClassVar[str] = "thin convolutional networks for small RGB images on a CPU"
    reference: ClassVar[str] = "this project"
    views: ClassVar[tuple[View, ...]] = ("attributes", "text")
    later_fields: ClassVar[frozenset[str]] = frozenset({"word_dropout"})

    name: Literal["rgb_thin"] = "rgb_thin"
    """The backbone's name."""
    latent_size: Annotated[int, Field(gt=0)] = 18
    """Number of latent dimensions."""
    width: Width = 16
    """Channels of the widest feature map (half the image's side); the next has twice, those after it four times."""
    hidden: Width = 128
    """Width of the fully connected layers."""
    likelihood: Literal["quantised_normal", "beta"] = "quantised_normal"
    """p(x|z): a Gaussian with a scale a pixel after dequantisation, or the constrained Beta."""
    word_dropout: Share = 0.5
    """How often p(y|z) is not shown a word before the one it predicts, in training, so that it asks z; text view."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs three channels and sides that two strides of two divide."""
        channels, height, width = dataset.image_shape()
        met = channels == 3 and not height % 4 and not width % 4
        require(met, self, dataset, "three channels and sides divisible by 4")
        require_texts(self, dataset, "word_dropout")
