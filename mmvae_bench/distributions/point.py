"""A distribution that is a single point: what an encoder without noise returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints


class Point(Distribution):
    """All mass on one point. It has no density, and no KL from it to a normal is finite.

    Args:
        mean: Float[B, D], the points.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, mean: Tensor) -> None:
        self._mean = mean
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The points themselves."""
        return self._mean

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """The points, as often as asked."""
        return self._mean.expand(*torch.Size(sample_shape), *self._mean.shape)
