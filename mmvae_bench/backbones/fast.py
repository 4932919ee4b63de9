"""The same convolutions in fewer products, or in another order in memory: a backbone's ``arithmetic: fast``.

Parameters, their names and initial values are those of torch's own modules, so that checkpoints fit both; so is what is
computed, up to rounding.

Shapes: B batch, C channel of the input, O channel of the output, H height, W width, P product.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 4
"""Pixels along a side of the images that :func:`doubled` takes."""
CHANNELS = 256
"""Least number of channels, in and out, for which it is faster: with fewer, adding up is what takes the time."""


class ChannelsLast(nn.Sequential):
    """Layers whose feature maps have their channels next to each other in memory."""

    def forward(self, image: Tensor) -> Tensor:
        """Float[B, C, H, W] to whatever the layers return."""
        features = image.contiguous(memory_format=torch.channels_last)
        for layer in self:
            features = layer(features)
        return features


class DoublingConvolution(nn.ConvTranspose2d):
    """A transposed 5x5 convolution without a bias that doubles the side; from 4x4 pixels in 0.3 times as many products.

    On larger images torch's own is as fast; on a GPU and in bfloat16, where the sums would lose digits, it has not been
    compared. There, it is used.
    """

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__(size_in, size_out, 5, 2, padding=2, output_padding=1, bias=False)

    def forward(self, image: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Float[B, C, H, W] to Float[B, O, 2 H, 2 W]."""
        fewer = image.shape[2:] == (SIDE, SIDE) and min(self.in_channels, self.out_channels) >= CHANNELS
        if not fewer or image.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(image, output_size)
        return doubled(image, self.weight)


def doubled(image: Tensor, weight: Tensor) -> Tensor:
    """A transposed convolution of 4x4 pixels with stride 2, padding 2 and output padding 1.

    Along one axis, the pixels at even places see three of the weights, those at odd places the other two: two
    correlations of stride 1, which :func:`correlation` writes with 6 and 5 products in place of 12 and 8. Along both
    axes these are 121 in place of 400 for each pair of channels: a batch of matrix products over the channels (Winograd
    1980; for convolutions Lavin and Gray 2016, Sec. 4).

    Args:
        image: Float[B, C, 4, 4].
        weight: Float[C, O, 5, 5].

    Returns:
        Float[B, O, 8, 8].
    """
    of_output, of_weight, of_input = (matrix.to(image) for matrix in TRANSFORMS)
    # The larger tensors as one matrix product over everything else, an axis after the other.
    weights = of_weight @ rearrange(weight, "c o h w -> h (w c o)")
    weights = of_weight @ weights.unflatten(1, (5, -1))
    inputs = torch.kron(of_input, of_input) @ rearrange(image, "b c h w -> (h w) (b c)")
    weights, inputs = weights.unflatten(2, weight.shape[:2]).flatten(0, 1), inputs.unflatten(1, image.shape[:2])
    outputs = torch.kron(of_output, of_output) @ torch.bmm(inputs, weights).flatten(1)
    return rearrange(outputs, "(h w) (b o) -> b o h w", h=2 * SIDE, o=weight.shape[1])


def correlation(size: int, points: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The matrices with which ``y_i = sum_k g_k d_(i+k)`` becomes ``y = A ((G g) * (B d))``.

    The transpose of multiplying polynomials by their values: at the points and at infinity, where it is the highest
    coefficient (Toom and Cook; Winograd 1980).

    Args:
        size: The number of y_i.
        points: All different, as many as there are y_i and g_k, less 2.

    Returns:
        A, Float64[size, P], G, Float64[P, weights], and B, Float64[P, P]; P is one more than the number of points.
    """
    number = len(points) + 1

    def values(count: int) -> Tensor:
        """Of a polynomial with ``count`` coefficients: Float64[P, count]."""
        at = torch.tensor(points, dtype=torch.float64)[:, None] ** torch.arange(count)
        return torch.cat([at, F.one_hot(torch.tensor([count - 1]), count)])

    return values(size).T, values(number + 1 - size), torch.linalg.inv(values(number)).T


def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Those of output, weight and input along one axis: Float64[8, 11], Float64[11, 5] and Float64[11, 4]."""
    (a, g, b), (a_odd, g_odd, b_odd) = correlation(SIDE, (0, 1, -1, 0.5, -2)), correlation(SIDE, (0, 1, -1, 0.5))
    number, even = len(b) + len(b_odd), len(b)
    of_output, of_weight = a.new_zeros(2 * SIDE, number), a.new_zeros(number, 5)
    # out[2i] = w[4] x[i-1] + w[2] x[i] + w[0] x[i+1] and out[2i+1] = w[3] x[i] + w[1] x[i+1], where x[-1] = x[4] = 0.
    of_output[0::2, :even], of_weight[:even, [4, 2, 0]] = a, g
    of_output[1::2, even:], of_weight[even:, [3, 1]] = a_odd, g_odd
    return of_output, of_weight, torch.cat([b[:, 1:-1], b_odd[:, :-1]])


TRANSFORMS = _transforms()
"""Of output, weight and input, along one axis."""
