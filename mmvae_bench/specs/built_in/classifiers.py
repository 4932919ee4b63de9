"""The built-in observation classifiers: the published network, thin ones, and one for colour images."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import ClassifierSpec, classifiers

Positive = Annotated[int, Field(gt=0)]
Width = Annotated[int, Field(gt=0, le=4096)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class TrainedClassifierSpec(ClassifierSpec):
    """A classifier that is fitted to the dataset: cross-entropy summed over attributes, AdamW, one cosine decay.

    The implementation is called with the spec, ``schema=`` and ``image_shape=``, and gives a network from
    Float[B, C, H, W] to one Float[B, V] of logits a scored attribute. Where the schema has given attributes the network
    is called with their values, Long[B, G], as well.
    """

    steps: Positive
    """Gradient steps."""
    batch_size: Positive
    """Images a step."""
    learning_rate: Annotated[float, Field(gt=0)]
    """The highest step size of AdamW: reached after a twentieth of the steps, then down to zero along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)]
    """AdamW's decay of the weights."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the initial weights, of the order of the images and of dropout."""


@classifiers.register
class ConvPublishedSpec(TrainedClassifierSpec):
    """The network that judged the published tables. The papers give no training settings: these are this project's."""

    implementation: ClassVar[str] = "mmvae_bench.evaluation.classifier:PublishedNetwork"
    summary: ClassVar[str] = "two 5x5 convolutions with max-pooling, 1024 hidden units an attribute"
    reference: ClassVar[str] = "Vedantam et al. 2018, released code (google/joint_vae at 984f456)"

    name: Literal["conv_published"] = "conv_published"
    """The classifier's name."""
    steps: Positive = 20_000
    """Gradient steps."""
    batch_size: Positive = 64
    """Images a step."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    """The highest step size of AdamW: reached after a twentieth of the steps, then down to zero along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's decay of the weights."""
    hidden: Width = 1024
    """Hidden units an attribute."""
    dropout: Fraction = 0.5
    """Fraction of hidden units dropped in training."""


@classifiers.register
class ConvThinSpec(TrainedClassifierSpec):
    """Four 3x3 convolutions, pooled over the canvas, and one trunk for all attributes: trained in a minute of a CPU."""

    implementation: ClassVar[str] = "mmvae_bench.evaluation.classifier:ThinNetwork"
    summary: ClassVar[str] = "four 3x3 convolutions, pooled over the canvas: for small canvases on a CPU"
    reference: ClassVar[str] = "this project"

    name: Literal["conv_thin"] = "conv_thin"
    """The classifier's name."""
    steps: Positive = 1_500
    """Gradient steps."""
    batch_size: Positive = 128
    """Images a step."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """The highest step size of AdamW: reached after a twentieth of the steps, then down to zero along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """AdamW's decay of the weights."""
    width: Width = 32
    """Channels at half the canvas; at a quarter of it there are twice as many."""
    hidden: Width = 128
    """Units of the layer that the attributes share."""


@classifiers.register
class ConvRgbSpec(TrainedClassifierSpec):
    """Convolutions down to an eighth of the canvas; then each attribute looks at the places that tell of it.

    The papers name no network for CelebA or CLEVR. Where a schema has given attributes, as the relation of two objects,
    they choose the places.
    """

    implementation: ClassVar[str] = "mmvae_bench.evaluation.classifier:RgbNetwork"
    summary: ClassVar[str] = "six convolutions and a look at one place for each attribute: for colour images"
    reference: ClassVar[str] = "this project"
    takes_given: ClassVar[bool] = True

    name: Literal["conv_rgb"] = "conv_rgb"
    """The classifier's name."""
    steps: Positive = 3_000
    """Gradient steps."""
    batch_size: Positive = 64
    """Images a step."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """The highest step size of AdamW: reached after a twentieth of the steps, then down to zero along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """AdamW's decay of the weights."""
    width: Width = 16
    """Channels at half the canvas; twice as many at a quarter, four times at an eighth. 16 is for a CPU; 32 reads
    photographs better and takes three times as long."""
    hidden: Width = 64
    """Hidden units of each attribute."""
    shift: Annotated[float, Field(ge=0, le=0.25)] = 0.06
    """In training each image is moved by up to this fraction of its sides, edges repeated: small sets of small objects
    are learnt by heart otherwise."""
