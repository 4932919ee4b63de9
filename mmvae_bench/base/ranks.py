"""Whether two measurements put things into the same order: Spearman's rank correlation, with its uncertainty."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST = 4
"""Of fewer things no correlation is told: three are in one of six orders."""
RESAMPLES = 4_000


class RankCorrelation(NamedTuple):
    """A correlation of ranks in [-1, 1], its 95 % interval, and the number of things: nan where it is not defined."""

    value: float
    low: float
    high: float
    number: int


def rank_correlation(first: ArrayLike, second: ArrayLike, *, seed: int) -> RankCorrelation:
    """Spearman's rho, the correlation of the ranks, ties with their mean rank; a percentile bootstrap over the things.

    A resample in which all ranks of one side are tied has no correlation and is left out.

    Args:
        first: Float[N]; pairs with a nan are left out.
        second: Float[N].
        seed: Of the resamples.
    """
    pairs = np.stack([np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)])
    pairs = pairs[:, np.isfinite(pairs).all(0)]
    number = pairs.shape[1]
    if number < LEAST:
        return RankCorrelation(math.nan, math.nan, math.nan, number)
    value = float(_spearman(pairs[:, None])[0])
    chosen = np.random.default_rng(seed).integers(number, size=(RESAMPLES, number))
    drawn = _spearman(pairs[:, chosen])
    drawn = drawn[np.isfinite(drawn)]
    if not math.isfinite(value) or not len(drawn):
        return RankCorrelation(math.nan, math.nan, math.nan, number)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return RankCorrelation(value, float(low), float(high), number)


def _spearman(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Float[2, B, N] to Float[B]; nan where one side is constant."""
    from scipy.stats import rankdata  # Here, because it takes half a second.

    ranks = rankdata(pairs, axis=-1)
    ranks -= ranks.mean(-1, keepdims=True)
    products = (ranks[0] * ranks[1]).sum(-1)
    spread = np.sqrt((ranks**2).sum(-1).prod(0))
    found: NDArray[np.float64] = np.divide(products, spread, out=np.full(products.shape, np.nan), where=spread > 0)
    return found
