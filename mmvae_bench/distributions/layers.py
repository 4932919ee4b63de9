"""Layered images: a foreground in front of a background that shows where the gate is open.

Shapes: B batch, C channel, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.distributions import Distribution, Independent

from .pixels import FixedNormal


@dataclass(frozen=True)
class Layers:
    """The layers of an image, ``x = x_F + g * x_B`` on [0, 1] (Yan et al. 2016, Eq. 4).

    On [0, 1] the foreground is black, 0, wherever the background shows, so the sum of both is the image exactly. On
    [-1, 1], as in the authors' code, black is -1, and a background brighter than 0 cannot be composed.

    Attributes:
        foreground: p(x_F|y,z_F) over Float[B, C, H, W], normal with one fixed scale.
        gate: p(g|y,z_F) over Float[B, 1, H, W], Bernoulli: 1 where the background is visible.
        background: Over Float[B, C, H, W]; only its mean counts.
    """

    foreground: Distribution
    gate: Distribution
    background: Distribution

    @property
    def mean(self) -> Tensor:
        """``mu_F + s_g mu_B``, Float[B, C, H, W]; it can exceed 1 where foreground and gate disagree."""
        mean: Tensor = self.foreground.mean + self.gate.mean * self.background.mean
        return mean

    @property
    def image(self) -> Distribution:
        """p(x|y,z_F,z_B) = N(mu_F + s_g mu_B, s^2), with the scale of the foreground."""
        return Independent(FixedNormal(self.mean, self.foreground.base_dist.scale), 3)  # type: ignore[attr-defined]
