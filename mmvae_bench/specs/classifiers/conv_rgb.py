"""Spec of the observation classifier for colour images: faces, and rendered scenes with a given relation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import classifiers
from .conv import Positive, TrainedClassifierSpec, Width


@classifiers.register
class ConvRgbSpec(TrainedClassifierSpec):
    """Convolutions down to an eighth of the canvas; then each attribute looks at the places that tell of it.

    The papers name no network for CelebA or CLEVR. Where a schema has given attributes, as the relation of two objects,
    they choose the places.
    """

    implementation: ClassVar[str] = "mmvae_bench.evaluation.rgb_classifier:RgbNetwork"
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
