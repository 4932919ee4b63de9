"""The built-in backbones: families of networks and their sizes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem
from ..components import BackboneSpec, DatasetSpec, View, backbones, by_setting
from . import graphs as graphs  # Registers its own.
from . import papers as papers

Width = Annotated[int, Field(gt=0, le=4096)]
Latents = Annotated[int, Field(gt=0, le=4096)]
Share = Annotated[float, Field(ge=0, lt=1)]
LargestScale = Annotated[float, Field(gt=0, le=1000)] | None
Arithmetic = Literal["plain", "fast"]
_BOUNDED = ("bernoulli", "beta")
"""Families of p(x|z) over [0, 1] alone."""


def require(met: bool, backbone: BackboneSpec, dataset: DatasetSpec, wanted: str, *, instead: str = "") -> None:
    """Raises ConfigError, with the shape of the dataset's images, unless a condition is met.

    Args:
        met: The condition.
        backbone: The backbone whose networks have the condition.
        dataset: The dataset that does or does not meet it.
        wanted: The images that the networks take, as in "64x64 images".
        instead: What to do about it.
    """
    if met:
        return
    given = "x".join(map(str, dataset.image_shape()))
    message = f"backbone {backbone.name} takes {wanted}, but the images of this {dataset.name} are {given}"
    raise ConfigError([Problem(message + (f": {instead}" if instead else ""), ("backbone", "name"), backbone.name)])


def require_texts(backbone: BackboneSpec, dataset: DatasetSpec, *settings: str) -> None:
    """Raises ConfigError if settings for captions are given in the attribute view.

    Args:
        backbone: The backbone with the settings.
        dataset: The dataset, in one of its views.
        settings: Fields that apply to the text view only, and must have their defaults in the attribute view.
    """
    given = [name for name in settings if getattr(backbone, name) != type(backbone).model_fields[name].default]
    if given and dataset.chosen_view != "text":
        message = "only applies to captions: remove it, or set dataset.view to text"
        raise ConfigError([Problem(message, ("backbone", name), str(getattr(backbone, name))) for name in given])


def require_experts(backbone: ThinSpec | MLPSpec, dataset: DatasetSpec) -> None:
    """Raises ConfigError if the scale of an attribute's expert is bounded where y is not told by attributes."""
    if backbone.largest_expert_scale is not None and dataset.chosen_view != "attributes":
        message = (
            "only applies where y is told by values of attributes, neither by captions nor by scores: remove it, or "
            "set dataset.view to attributes"
        )
        raise ConfigError(
            [Problem(message, ("backbone", "largest_expert_scale"), f"{backbone.largest_expert_scale:g}")]
        )


def require_binary(backbone: BackboneSpec, dataset: DatasetSpec) -> None:
    """Raises ConfigError if p(x|z) is Bernoulli and the user's own images have shades between black and white."""
    wanted = "images of black and white alone, as its p(x|z) is Bernoulli"
    instead = "they have shades between; choose patches, whose likelihood is one of shades"
    require(getattr(dataset, "binary", True), backbone, dataset, wanted, instead=instead)


def require_shape(backbone: BackboneSpec, dataset: DatasetSpec, shape: tuple[int, int, int]) -> None:
    """Raises ConfigError unless the images have exactly this shape."""
    wanted = f"{'x'.join(map(str, shape))} images"
    instead = "choose a thin backbone or the published canvas"
    require(dataset.image_shape() == shape, backbone, dataset, wanted, instead=instead)


class _Generating(BackboneSpec):
    """With DCGAN's generator."""

    one_size: ClassVar[bool] = True
    later_fields: ClassVar[frozenset[str]] = frozenset({"arithmetic"})

    arithmetic: Arithmetic = "plain"
    """How the convolutions are computed: plain, as torch does; or fast, the same parameters and results up to rounding,
    in less time on a CPU and with more memory."""


class _PaperSized(_Generating):
    implementation: ClassVar[str] = "mmvae_bench.backbones.dcgan:PaperBackbone"
    bounded_pixels: ClassVar[bool] = True

    latent_size: Latents = 10
    """Number of latent dimensions."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs one channel at 64x64."""
        require_shape(self, dataset, (1, 64, 64))
        require_binary(self, dataset)


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
    """A small convolutional backbone for small canvases, for CPUs; no published result uses it."""

    implementation: ClassVar[str] = "mmvae_bench.backbones.thin:ThinBackbone"
    summary: ClassVar[str] = "thin convolutional networks for small canvases on a CPU"
    reference: ClassVar[str] = "this project"
    bounded_pixels: ClassVar[bool] = True
    later_fields: ClassVar[frozenset[str]] = frozenset({"largest_expert_scale"})

    name: Literal["mnist_a_thin"] = "mnist_a_thin"
    """The backbone's name."""
    latent_size: Latents = 10
    """Number of latent dimensions."""
    width: Width = 16
    """Channels at half the canvas's resolution; at a quarter there are twice as many."""
    hidden: Width = 128
    """Width of the fully connected layers."""
    largest_expert_scale: LargestScale = None
    """What the scale of an attribute's expert in q(z|y) cannot exceed, approached smoothly, such as 3; attribute view
    only, and without effect on objectives that have no such experts, as SCAN. null: no bound, as published. Without one
    an expert may run off to where it tells nothing and hardly returns: JMVAE's did on sprites of level 5."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs one channel of two shades, and a canvas divisible by 4."""
        channels, height, width = dataset.image_shape()
        met = channels == 1 and not height % 4 and not width % 4
        require(met, self, dataset, "one channel and sides divisible by 4")
        require_binary(self, dataset)


@backbones.register
class CelebA18Spec(_Generating):
    """The networks as the paper describes them."""

    views: ClassVar[tuple[View, ...]] = ("attributes", "strengths")
    implementation: ClassVar[str] = "mmvae_bench.backbones.dcgan:CelebA18Backbone"
    summary: ClassVar[str] = "CelebA-18 networks of the paper: 64x64 RGB, DCGAN decoder, quantised normal, latent 18"
    reference: ClassVar[str] = "Vedantam et al. 2018, Generative Models of Visually Grounded Imagination, A.4"

    name: Literal["celeba18"] = "celeba18"
    """The backbone's name."""
    latent_size: Latents = 18
    """Number of latent dimensions: as many as attributes."""
    l2: Annotated[float, Field(ge=0)] = 5e-6
    """Weight of the sum of squared weights of the concept decoder ("a small amount": the paper gives no number)."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs three channels at 64x64."""
        require_shape(self, dataset, (3, 64, 64))


class ScaledSpec(BackboneSpec):
    """What backbones whose p(x|z) may have one fixed scale have in common."""

    bounded_pixels: ClassVar[bool] = by_setting(lambda spec: getattr(spec, "likelihood", None) in _BOUNDED)

    likelihood: str
    """The family of p(x|z)."""
    likelihood_scale: Annotated[float, Field(gt=0, le=100)] | None = None
    """The scale of normal and laplace, in units of pixels in [0, 1]; null for the others. The larger it is, the less an
    image weighs against the divergences, and the more of z depends on what y can know. Published: 1 for normal, 0.75
    for laplace."""

    @model_validator(mode="after")
    def _check_scale(self) -> Self:
        fixed = self.likelihood in ("normal", "laplace")
        if fixed and self.likelihood_scale is None:
            message = f"likelihood {self.likelihood} needs a scale, in units of pixels in [0, 1], such as 0.5"
            raise ConfigError([Problem(message, ("likelihood_scale",), "null")])
        if not fixed and self.likelihood_scale is not None:
            message = "only applies to likelihood normal or laplace"
            raise ConfigError([Problem(message, ("likelihood_scale",), str(self.likelihood_scale))])
        return self


class ThinSpec(ScaledSpec):
    """What thin networks for images and captions have in common."""

    views: ClassVar[tuple[View, ...]] = ("attributes", "text", "strengths")
    later_fields: ClassVar[frozenset[str]] = frozenset({"largest_expert_scale"})

    latent_size: Latents = 18
    """Number of latent dimensions."""
    hidden: Width = 128
    """Width of the fully connected layers."""
    word_dropout: Share = 0.5
    """Probability, in training, of hiding a previous word from p(y|z), so that it has to use z; text view only."""
    largest_expert_scale: LargestScale = None
    """What the scale of an attribute's expert in q(z|y) cannot exceed, approached smoothly, such as 3; attribute view
    only, and without effect on objectives that have no such experts, as SCAN. null: no bound, as published. Without one
    an expert may run off to where it tells nothing and hardly returns: JMVAE's did on sprites of level 5."""


@backbones.register
class RGBThinSpec(ThinSpec):
    """A small convolutional backbone for small RGB images, for CPUs; no published result uses it."""

    implementation: ClassVar[str] = "mmvae_bench.backbones.thin:RGBThinBackbone"
    summary: ClassVar[str] = "thin convolutional networks for small RGB images on a CPU"
    reference: ClassVar[str] = "this project"
    later_fields: ClassVar[frozenset[str]] = ThinSpec.later_fields | {"likelihood_scale", "word_dropout", "norm"}

    name: Literal["rgb_thin"] = "rgb_thin"
    """The backbone's name."""
    width: Width = 16
    """Channels at half the image's resolution; twice as many at the next, four times as many from then on."""
    norm: Literal["batch", "group"] = "batch"
    """After each convolution: batch normalisation, whose running statistics validation uses; or group normalisation (Wu
    and He 2018) over 8 channels, or over all where 8 does not divide their number, which treats an image the same in
    training and after it, whatever else is in its batch."""
    likelihood: Literal["quantised_normal", "beta", "normal", "laplace"] = "quantised_normal"
    """p(x|z): a Gaussian with one learnt scale per pixel after dequantisation; the constrained Beta; or a Gaussian or
    Laplace distribution of one fixed scale, whose mean is the picture."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs three channels and sides divisible by 4."""
        channels, height, width = dataset.image_shape()
        met = channels == 3 and not height % 4 and not width % 4
        require(met, self, dataset, "three channels and sides divisible by 4")
        require_texts(self, dataset, "word_dropout")
        require_experts(self, dataset)


@backbones.register
class PatchesSpec(ThinSpec):
    """Matrix products over patches: what a CPU computes fastest; no published result uses it."""

    implementation: ClassVar[str] = "mmvae_bench.backbones.patches:PatchBackbone"
    summary: ClassVar[str] = "matrix products over patches of small images: the fastest on a CPU"
    reference: ClassVar[str] = "this project"

    name: Literal["patches"] = "patches"
    """The backbone's name."""
    width: Width = 32
    """Features of a patch; twice as many each time that four patches become one."""
    likelihood: Literal["bernoulli", "quantised_normal", "beta", "normal", "laplace"] = "quantised_normal"
    """p(x|z): Bernoulli, for one channel; a Gaussian with one learnt scale per pixel after dequantisation; the
    constrained Beta; or a Gaussian or Laplace distribution of one fixed scale, whose mean is the picture."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs sides divisible by 4, and one channel for a Bernoulli."""
        channels, height, width = dataset.image_shape()
        require(not height % 4 and not width % 4, self, dataset, "sides divisible by 4")
        if self.likelihood == "bernoulli":
            require(channels == 1, self, dataset, "one channel where its likelihood is bernoulli")
            require_binary(self, dataset)
        require_texts(self, dataset, "word_dropout")
        require_experts(self, dataset)


@backbones.register
class TwoObjectResNetSpec(BackboneSpec):
    """The networks as the paper and its code describe them; in the attribute view others replace those for captions."""

    implementation: ClassVar[str] = "mmvae_bench.backbones.two_object_resnet:TwoObjectResNetBackbone"
    summary: ClassVar[str] = "residual networks of Cremer and Kushman: RGB, constrained Beta, latent 50"
    reference: ClassVar[str] = (
        "Cremer and Kushman 2018, On the Importance of Learning Aggregate Posteriors in Multimodal VAEs, 5.1"
    )
    views: ClassVar[tuple[View, ...]] = ("attributes", "text", "strengths")
    later_fields: ClassVar[frozenset[str]] = frozenset({"word_dropout"})
    bounded_pixels: ClassVar[bool] = True
    least_batch: ClassVar[int] = 2

    name: Literal["two_object_resnet"] = "two_object_resnet"
    """The backbone's name."""
    latent_size: Annotated[int, Field(gt=0, le=500)] = 50
    """Number of latent dimensions, at most the width of the shared layers."""
    width: Width = 64
    """Channels of the largest feature map; twice as many at half the image's side, four times as many at a quarter."""
    word_dropout: Share = 0.0
    """Probability, in training, of hiding a previous word from p(y|z); text view only. The published decoder has
    dropout of 0.5 on its hidden states instead, which is always on."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs three channels and sides divisible by 4, at least 16; 112x112 and 64x64 in the paper."""
        channels, height, width = dataset.image_shape()
        met = channels == 3 and not height % 4 and not width % 4 and min(height, width) >= 16
        require(met, self, dataset, "three channels and sides divisible by 4, at least 16")
        require_texts(self, dataset, "word_dropout")


@backbones.register
class MLPSpec(ScaledSpec):
    """Fully connected networks for images of a few hundred pixels. The paper gives the widths; ReLU is a choice."""

    implementation: ClassVar[str] = "mmvae_bench.backbones.mlp:MLPBackbone"
    summary: ClassVar[str] = "two fully connected layers of 512 each: MNIST as in semi-supervised VAEs, latent 50"
    reference: ClassVar[str] = (
        "Siddharth et al. 2017, Learning Disentangled Representations with Semi-Supervised Deep Generative Models"
    )
    views: ClassVar[tuple[View, ...]] = ("attributes", "strengths")
    later_fields: ClassVar[frozenset[str]] = frozenset({"likelihood_scale", "largest_expert_scale"})

    name: Literal["mlp"] = "mlp"
    """The backbone's name."""
    latent_size: Latents = 50
    """Number of latent dimensions: the paper's style of an MNIST digit."""
    hidden: Width = 512
    """Width of the fully connected layers."""
    layers: Annotated[int, Field(gt=0, le=16)] = 2
    """Number of fully connected layers of each network."""
    likelihood: Literal["bernoulli", "quantised_normal", "normal", "laplace"] = "bernoulli"
    """p(x|z): Bernoulli, for one channel; a Gaussian with one learnt scale per pixel after dequantisation; or a
    Gaussian or Laplace distribution of one fixed scale, whose mean is the picture."""
    largest_expert_scale: LargestScale = None
    """What the scale of an attribute's expert in q(z|y) cannot exceed, approached smoothly, such as 3; attribute view
    only, and without effect on objectives that have no such experts, as SCAN. null: no bound. Without one an expert may
    run off to where it tells nothing and hardly returns: JMVAE's did on MNIST-A, all four of them."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs one channel of two shades for a Bernoulli."""
        if self.likelihood == "bernoulli":
            require(dataset.image_shape()[0] == 1, self, dataset, "one channel where its likelihood is bernoulli")
            require_binary(self, dataset)
        require_experts(self, dataset)


class Attribute2ImageBasedSpec(BackboneSpec):
    """What both sizes of these networks have in common."""

    implementation: ClassVar[str] = "mmvae_bench.backbones.attribute2image:Attribute2ImageBackbone"
    views: ClassVar[tuple[View, ...]] = ("attributes", "strengths")
    layered: ClassVar[bool] = True

    width: Annotated[int, Field(ge=2, le=4096)]
    """Channels of the largest feature map; up to sixteen times as many in others."""
    kernel: Literal[3, 5]
    """Side of the larger convolutions in pixels."""
    likelihood_scale: Annotated[float, Field(gt=0, le=100)] = 0.5
    """sigma_0: the scale of the Gaussian pixels, in units of pixels in [0, 1]. 0.5 is what the released loss comes to;
    the smaller it is, the more an image weighs against the divergences."""
    dropout: Share
    """Probability of dropping a feature of the image in the encoders."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Times each parameter, added to its gradient."""


@backbones.register
class Attribute2ImageSpec(Attribute2ImageBasedSpec):
    """The networks as paper and code describe them."""

    summary: ClassVar[str] = "networks of Attribute2Image: 64x64 RGB, whole images or layers, latent 256"
    reference: ClassVar[str] = "Yan et al. 2016, Attribute2Image, section 5, supplement B and released code"

    name: Literal["attribute2image"] = "attribute2image"
    """The backbone's name."""
    latent_size: Latents = 256
    """Number of latent dimensions, those of foreground and background together."""
    width: Annotated[int, Field(ge=2, le=4096)] = 64
    """Channels of the largest feature map; up to sixteen times as many in others."""
    kernel: Literal[3, 5] = 5
    """Side of the larger convolutions in pixels."""
    dropout: Share = 0.5
    """Probability of dropping a feature of the image in the encoders."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.004
    """Times each parameter, added to its gradient."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs three channels at 64x64."""
        require_shape(self, dataset, (3, 64, 64))


@backbones.register
class Attribute2ImageThinSpec(Attribute2ImageBasedSpec):
    """The same networks with a quarter of the channels, for small images on a CPU; no published result uses them."""

    summary: ClassVar[str] = "Attribute2Image's networks with a quarter of the channels: small RGB images on a CPU"
    reference: ClassVar[str] = "this project, after Yan et al. 2016"

    name: Literal["attribute2image_thin"] = "attribute2image_thin"
    """The backbone's name."""
    latent_size: Latents = 32
    """Number of latent dimensions, those of foreground and background together."""
    width: Annotated[int, Field(ge=2, le=4096)] = 16
    """Channels of the largest feature map; up to sixteen times as many in others."""
    kernel: Literal[3, 5] = 3
    """Side of the larger convolutions in pixels."""
    dropout: Share = 0.0
    """Probability of dropping a feature of the image in the encoders."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Times each parameter, added to its gradient."""

    def check(self, dataset: DatasetSpec) -> None:
        """Needs three channels at 16x16, 32x32 or 64x64."""
        met = dataset.image_shape() in [(3, side, side) for side in (16, 32, 64)]
        require(met, self, dataset, "RGB images of 16x16, 32x32 or 64x64")
