"""Networks of several things in one image: a recurrent encoder that names one after the other, and their decoder.

Both are made of the networks that any family has for one z. Shapes: B batch, C channel, H height, W width, K component,
V kind, S dimension of a style, F feature.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution

from ..base.errors import BenchmarkError
from ..distributions.components import Components, log_dark, union_image
from .base import Backbone
from .layers import Eager, GaussianHead, ImageEncoder

OUTSIDE = -12.0
"""The logit of a component's pixels outside its picture: 6e-6 of them are lit."""
UNIT = 4
"""The sides of a picture are multiples of this, as convolutional networks need them."""


def present(number: Tensor, num: int) -> Tensor:
    """Which of the components there are, the first ones: Long[B, 1] to Bool[B, K].

    >>> present(torch.tensor([[0], [2]]), 3).tolist()
    [[False, False, False], [True, True, False]]
    """
    return torch.arange(num, device=number.device) < number


class ComponentEncoder(Eager):
    """prod_k q(d_k|x) q(n_k|x): a GRU over k that is given the features of the image at each step.

    The GRU is a cell, as everywhere: a functional call with other parameters would not reach those of ``nn.GRU``.

    Args:
        encoder: That of q(z|x), of which the head is not used.
        num: K.
        num_kinds: V.
        style_size: S.
    """

    def __init__(self, encoder: ImageEncoder, *, num: int, num_kinds: int, style_size: int) -> None:
        super().__init__()
        size = encoder.head.mean.in_features
        self.trunk, self.hidden, self.num = encoder.trunk, encoder.hidden, num
        self.cell = nn.GRUCell(size, size)
        self.kind, self.style = nn.Linear(size, num_kinds), GaussianHead(size, style_size)

    def forward(self, image: Tensor, number: Tensor) -> Components:
        """Images and how many components there are, Long[B, 1], to a distribution over Float[B, K * (V + S)]: the prior
        of those that are not there."""
        return self.every(image).where(present(number, self.num))

    def every(self, image: Tensor) -> Components:
        """The same of every component, whether it is there or not."""
        features = self.hidden(self.trunk(image))
        states = [self.cell(features)]
        while len(states) < self.num:
            states.append(self.cell(features, states[-1]))
        each = torch.stack(states, 1)
        mean, log_scale = self.style(each)
        return Components(self.kind(each), mean, log_scale.exp())


class Placed(nn.Module):
    """Pictures moved to where they are on a canvas, by linear interpolation between pixels.

    The corner is a uniform one of all that leave the picture on the canvas if the place is a standard normal: its
    share of the way down and to the right is the normal's distribution function.

    Args:
        canvas: (H, W).
        picture: (h, w), at most as large.
    """

    def __init__(self, canvas: tuple[int, int], picture: tuple[int, int]) -> None:
        super().__init__()
        self.canvas, self.picture = canvas, picture

    def forward(self, picture: Tensor, place: Tensor) -> Tensor:
        """Logits Float[B, C, h, w] and places Float[B, 2] to logits on the canvas, Float[B, C, H, W]:
        :data:`OUTSIDE` where the picture is not.

        Raises:
            BenchmarkError: if the pictures have another size: of a family that makes images of one size alone.
        """
        if (size := tuple(picture.shape[-2:])) != self.picture:
            made, wanted = ("x".join(map(str, each)) for each in (size, self.picture))
            message = (
                f"the backbone's decoder makes pictures of {made}, whatever is asked, and components are of {wanted}"
            )
            raise BenchmarkError(f"{message}: set objective.window to null, or choose another backbone")
        share = torch.special.ndtr(place)
        down, right = (
            _shift(share[:, axis] * (side - size), side, size)[:, None]
            for axis, (side, size) in enumerate(zip(self.canvas, picture.shape[-2:], strict=True))
        )
        return OUTSIDE + down @ (picture - OUTSIDE) @ right.mT


def _shift(start: Tensor, side: int, size: int) -> Tensor:
    """The weight of each of ``size`` pixels, the first at ``start``, in each of ``side``: Float[B] to
    Float[B, side, size]."""
    row, pixel = (torch.arange(number, device=start.device, dtype=start.dtype) for number in (side, size))
    return (1 - (row[:, None] - pixel - start[:, None, None]).abs()).clamp_min(0)


class ComponentDecoder(Eager):
    """Each component on a canvas of its own, by one network for all of them, and the image that they are united in.

    Args:
        decoder: p(x|z) of the kind and the style of one component: of its picture, or of its canvas.
        num_kinds: V.
        size: V + S.
        leak: See :func:`~mmvae_bench.distributions.components.log_dark`.
        placed: Moves a picture to the place that the first two dimensions of the style are; None: the decoder makes
            whole canvases.
    """

    def __init__(self, decoder: nn.Module, *, num_kinds: int, size: int, leak: float, placed: Placed | None) -> None:
        super().__init__()
        self.decoder, self.num_kinds, self.size, self.leak, self.placed = decoder, num_kinds, size, leak, placed

    def forward(self, z: Tensor, number: Tensor) -> Distribution:
        """Float[B, K * (V + S)] and how many components there are, Long[B, 1], to a distribution over
        Float[B, C, H, W]."""
        canvases = self.canvases(z)
        there = present(number, canvases.shape[1])
        return union_image(log_dark(canvases, (~there).to(canvases).log(), leak=self.leak))

    def canvases(self, z: Tensor) -> Tensor:
        """Float[B, K * (V + S)] to the logits of each component's pixels, Float[B, K, C, H, W].

        Raises:
            BenchmarkError: if the family's pixels are not Bernoulli.
        """
        each = rearrange(z, "b (k s) -> (b k) s", s=self.size)
        px = self.decoder(each)
        pixels = getattr(px, "base_dist", px)
        if not isinstance(pixels, Bernoulli):
            raise BenchmarkError(f"components are united where pixels are Bernoulli, not {type(pixels).__name__}")
        logits = pixels.logits
        if self.placed is not None:
            logits = self.placed(logits, each[:, self.num_kinds : self.num_kinds + 2])
        return rearrange(logits, "(b k) c h w -> b k c h w", b=len(z))


def component_encoder(backbone: Backbone, *, num: int, num_kinds: int) -> ComponentEncoder:
    """On the network of q(z|x), with as many dimensions of style as that has of z.

    Raises:
        BenchmarkError: if it is not built of the parts that another network can take over.
    """
    encoder = backbone.image_encoder()
    if not isinstance(encoder, ImageEncoder):
        raise BenchmarkError(f"backbone {backbone.spec.name} has no image encoder whose features a GRU could read")
    return ComponentEncoder(encoder, num=num, num_kinds=num_kinds, style_size=backbone.latent_size)


def component_decoder(backbone: Backbone, *, num_kinds: int, leak: float, window: float | None) -> ComponentDecoder:
    """On the network of p(x|z), with an input for each kind beside those of z.

    Args:
        backbone: Of the canvas.
        num_kinds: V.
        leak: See :func:`~mmvae_bench.distributions.components.log_dark`.
        window: The side of a component's picture as a share of the canvas's; None: the whole canvas.
    """
    (channels, *canvas), size = backbone.image_shape, num_kinds + backbone.latent_size
    height, width = canvas
    placed = None
    if window is not None:
        height, width = (min(side, UNIT * max(1, round(window * side / UNIT))) for side in canvas)
        placed = Placed((canvas[0], canvas[1]), (height, width))
    spec = backbone.spec.model_copy(update={"latent_size": size})
    decoder = spec.build(schema=backbone.schema, image_shape=(channels, height, width)).image_decoder()
    return ComponentDecoder(decoder, num_kinds=num_kinds, size=size, leak=leak, placed=placed)
