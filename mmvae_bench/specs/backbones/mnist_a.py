"""Specs of the MNIST-A networks: the paper's, the released code's, and a thin one for a CPU."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import BackboneSpec, DatasetSpec, backbones
from .shapes import Width, require, require_shape


class _PaperSized(BackboneSpec):
    implementation: ClassVar[str] = "mmvae_bench.backbones.mnist_a:PaperBackbone"

    latent_size: Annotated[int, Field(gt=0)] = 10
    """Number of latent dimensions."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs one channel at 64x64."""
        require_shape(self, dataset, (1, 64, 64))


@backbones.register
class MnistAPaperSpec(_PaperSized):
    """The networks as the paper describes them."""

    summary: ClassVar[str] = "MNIST-A networks of the paper: 64x64, DCGAN decoder, latent 10"
    reference: ClassVar[str] = "Vedantam et al. 2018, Generative Models of Visually Grounded Imagination, A.4"

    name: Literal["mnist_a_paper"] = "mnist_a_paper"
    """The backbone's name."""
    l2: Annotated[float, Field(ge=0)] = 5e-6
    """Weight of the sum of squared weights of the concept decoder ("a small amount": the paper gives no number)."""


@backbones.register
class MnistAReleasedSpec(_PaperSized):
    """The networks as the authors' released code builds them."""

    summary: ClassVar[str] = "MNIST-A networks of the released code: 64x64, four hidden layers, L1 on p(y|z)"
    reference: ClassVar[str] = "Vedantam et al. 2018, released code (google/joint_vae at 984f456)"

    name: Literal["mnist_a_released"] = "mnist_a_released"
    """The backbone's name."""
    l1: Annotated[float, Field(ge=0)] = 5e-6
    """Weight of the sum of absolute weights of the concept decoder."""


@backbones.register
class MnistAThinSpec(BackboneSpec):
    """A small convolutional backbone for small canvases, for runs on a CPU; no published number was made with it."""

    implementation: ClassVar[str] = "mmvae_bench.backbones.mnist_a:ThinBackbone"
    summary: ClassVar[str] = "thin convolutional networks for small canvases on a CPU"
    reference: ClassVar[str] = "this project"

    name: Literal["mnist_a_thin"] = "mnist_a_thin"
    """The backbone's name."""
    latent_size: Annotated[int, Field(gt=0)] = 10
    """Number of latent dimensions."""
    width: Width = 16
    """Channels of the widest feature map (half the canvas); the next, a quarter of the canvas, has twice as many."""
    hidden: Width = 128
    """Width of the fully connected layers."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs one channel and a canvas that two strides of two divide."""
        channels, height, width = dataset.image_shape()
        met = channels == 1 and not height % 4 and not width % 4
        require(met, self, dataset, "one channel and sides divisible by 4")
