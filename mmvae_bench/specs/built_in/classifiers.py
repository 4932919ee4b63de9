"""The built-in observation classifiers: the published network, thin ones, and one for colour images."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..base import LARGEST
from ..components import ClassifierSpec, classifiers

Positive = Annotated[int, Field(gt=0, le=LARGEST)]
Width = Annotated[int, Field(gt=0, le=4096)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class TrainedClassifierSpec(ClassifierSpec):
    """A classifier that is trained on the dataset: cross-entropy summed over attributes, AdamW, one cosine decay.

    The implementation is a network from Float[B, C, H, W] to one Float[B, V] of logits per scored attribute. If the
    schema has given attributes, the network is also passed their values, Long[B, G].
    """

    steps: Positive
    """Gradient steps."""
    batch_size: Positive
    """Images per step."""
    learning_rate: Annotated[float, Field(gt=0)]
    """The peak step size of AdamW: reached after a twentieth of the steps, then decayed to zero along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)]
    """AdamW's weight decay."""
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Seed of the initial weights, the order of the images and dropout."""


@classifiers.register
class ConvPublishedSpec(TrainedClassifierSpec):
    """The network that scored the published tables. The papers give no training settings: these are this project's."""

    implementation: ClassVar[str] = "mmvae_bench.evaluation.classifier:PublishedNetwork"
    summary: ClassVar[str] = "two 5x5 convolutions with max-pooling, 1024 hidden units per attribute"
    reference: ClassVar[str] = "Vedantam et al. 2018, released code (google/joint_vae at 984f456)"

    name: Literal["conv_published"] = "conv_published"
    """The classifier's name."""
    steps: Positive = 20_000
    """Gradient steps."""
    batch_size: Positive = 64
    """Images per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    """The peak step size of AdamW: reached after a twentieth of the steps, then decayed to zero along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's weight decay."""
    hidden: Width = 1024
    """Hidden units per attribute."""
    dropout: Fraction = 0.5
    """Fraction of hidden units dropped in training."""


@classifiers.register
class ConvThinSpec(TrainedClassifierSpec):
    """Four 3x3 convolutions, pooled over the canvas, and one trunk for all attributes: trains in a minute on a CPU."""

    implementation: ClassVar[str] = "mmvae_bench.evaluation.classifier:ThinNetwork"
    summary: ClassVar[str] = "four 3x3 convolutions, pooled over the canvas: for small canvases on a CPU"
    reference: ClassVar[str] = "this project"

    name: Literal["conv_thin"] = "conv_thin"
    """The classifier's name."""
    steps: Positive = 1_500
    """Gradient steps."""
    batch_size: Annotated[int, Field(ge=2, le=LARGEST)] = 128
    """Images per step; batch norm needs two."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """The peak step size of AdamW: reached after a twentieth of the steps, then decayed to zero along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """AdamW's weight decay."""
    width: Width = 32
    """Channels at half the canvas's resolution; at a quarter there are twice as many."""
    hidden: Width = 128
    """Units of the layer shared by all attributes."""


@classifiers.register
class ConvRgbSpec(TrainedClassifierSpec):
    """Convolutions down to an eighth of the canvas; then each attribute attends to the places that show it.

    The papers name no network for CelebA or CLEVR. If a schema has given attributes, such as the relation of two
    objects, they choose the places.
    """

    implementation: ClassVar[str] = "mmvae_bench.evaluation.classifier:RgbNetwork"
    summary: ClassVar[str] = "six convolutions and spatial attention for each attribute: for colour images"
    reference: ClassVar[str] = "this project"
    takes_given: ClassVar[bool] = True

    name: Literal["conv_rgb"] = "conv_rgb"
    """The classifier's name."""
    steps: Positive = 3_000
    """Gradient steps."""
    batch_size: Positive = 64
    """Images per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """The peak step size of AdamW: reached after a twentieth of the steps, then decayed to zero along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """AdamW's weight decay."""
    width: Width = 16
    """Channels at half the canvas's resolution; twice as many at a quarter, four times as many at an eighth. 16 is for
    a CPU; 32 is more accurate on photographs and takes three times as long."""
    hidden: Width = 64
    """Hidden units per attribute."""
    shift: Annotated[float, Field(ge=0, le=0.25)] = 0.06
    """In training each image is shifted by up to this fraction of its sides, repeating the edges: otherwise small sets
    of small objects are memorised."""
