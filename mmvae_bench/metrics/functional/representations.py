"""What a representation says about the factors of images: linear probes, and scores of disentanglement. numpy, and
classifiers of scikit-learn, which is imported when it is needed.

The definitions are those of the papers with the sizes of disentanglement_lib (Locatello et al. 2019). There factors are
set at will; here they are the attributes of a dataset's images, so images that share a factor are found among them, and
what depends on that factor in the data varies less among these, too.

Shapes: N image, D dimension of the representation, K factor, L label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from jaxtyping import Float, Int

_BATCH = 64
"""Pairs, or images, behind one example of a score."""
_LEAST_SCALE = 0.05
"""A dimension of the representation with a smaller standard deviation does not count in the FactorVAE score."""
_BINS = 20
_AT_ONCE = 250
Array = NDArray[Any]


def linear_probe(
    train: Float[Array, "image d"], labels: Int[Array, " image"], test: Float[Array, "other d"]
) -> Int[Array, " other"]:
    """The labels of ``test`` by a multinomial logistic regression from ``train``, its inputs standardised.

    >>> train = np.array([[0.0], [0.1], [1.0], [1.1]])
    >>> linear_probe(train, np.array([3, 3, 5, 5]), np.array([[-1.0], [2.0]])).tolist()
    [3, 5]
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(labels)) == 1:
        return np.full(len(test), labels[0])
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return np.asarray(probe.fit(train, labels).predict(test))


def higgins_score(
    codes: Float[Array, "image d"],
    factors: Int[Array, "image k"],
    *,
    seed: int,
    num_train: int = 10_000,
    num_test: int = 5_000,
) -> float:
    """How well a linear classifier tells which factor two images share (Higgins et al. 2017, beta-VAE, section 3).

    An example is the mean of |z - z'| over 64 pairs of two images that agree in factor k, and are drawn without regard
    to the others; its label is k. The accuracy of a logistic regression on examples it was not fitted to: 1 / K by
    chance, and of few images, which the pairs share, more.

    Args:
        codes: The representation of each image.
        factors: The value of each factor.
        seed: Of the pairs.
        num_train: Examples that the classifier is fitted to.
        num_test: Examples that it is scored on.
    """
    random, same = np.random.default_rng(seed), [_Sharing(column) for column in factors.T]

    def examples(number: int) -> tuple[Array, Array]:
        labels = random.integers(len(same), size=number)
        values = np.empty((number, codes.shape[1]))
        for start in range(0, number, _AT_ONCE):
            of_chunk = labels[start : start + _AT_ONCE]
            rows = random.integers(len(codes), size=(len(of_chunk), _BATCH))
            others = np.stack([same[k].partner(each, random) for k, each in zip(of_chunk, rows, strict=True)])
            values[start : start + _AT_ONCE] = np.abs(codes[rows] - codes[others]).mean(1)
        return values, labels

    train, labels = examples(num_train)
    test, truth = examples(num_test)
    return float((linear_probe(train, labels, test) == truth).mean())


def factor_vae_score(
    codes: Float[Array, "image d"],
    factors: Int[Array, "image k"],
    *,
    seed: int,
    num_train: int = 10_000,
    num_test: int = 5_000,
) -> float:
    """How well the dimension that varies least tells which factor is fixed (Kim and Mnih 2018, section 4).

    An example is a batch of 64 images with one value of factor k: the dimension whose variance, divided by that over
    all images, is smallest. Each dimension votes for the factor that it was seen with most often. The accuracy of this
    vote on further examples; 1 / K by chance, of few images more, and 0 where no dimension has a standard deviation of
    0.05.

    Args:
        codes: The representation of each image.
        factors: The value of each factor.
        seed: Of the batches.
        num_train: Examples behind the votes.
        num_test: Examples that they are scored on.
    """
    random, same = np.random.default_rng(seed), [_Sharing(column) for column in factors.T]
    scales = codes.std(0, ddof=1)
    active = scales >= _LEAST_SCALE
    if not active.any():
        return 0.0
    normalised = codes[:, active] / scales[active]

    def votes(number: int) -> Array:
        """How often each dimension varied least with each factor fixed: Int[D, K]."""
        counts = np.zeros((normalised.shape[1], len(same)), dtype=np.int64)
        labels = random.integers(len(same), size=number)
        for start in range(0, number, _AT_ONCE):
            of_chunk = labels[start : start + _AT_ONCE]
            first = random.integers(len(codes), size=len(of_chunk))
            alike = [same[k].draw(np.full(_BATCH, row), random) for k, row in zip(of_chunk, first, strict=True)]
            np.add.at(counts, (normalised[np.stack(alike)].var(1, ddof=1).argmin(1), of_chunk), 1)
        return counts

    chosen = votes(num_train).argmax(1)
    test = votes(num_test)
    return float(test[np.arange(len(test)), chosen].sum() / test.sum())


def mutual_information_gaps(codes: Float[Array, "image d"], factors: Int[Array, "image k"]) -> Float[Array, " k"]:
    """By how much the best dimension tells more about each factor than the second best (Chen et al. 2018, Eq. 6).

    ``(I(z_first; v_k) - I(z_second; v_k)) / H(v_k)``, each dimension in 20 bins of equal width. Their mean is the MIG.

    Returns:
        In [0, 1]; nan for a factor that has a single value.
    """
    from sklearn.metrics import mutual_info_score

    bins = [np.digitize(column, np.histogram(column, _BINS)[1][:-1]) for column in codes.T]
    gaps = []
    for factor in factors.T:
        entropy = mutual_info_score(factor, factor)
        told = sorted([0.0, *(mutual_info_score(each, factor) for each in bins)])
        gaps.append((told[-1] - told[-2]) / entropy if entropy > 0 else np.nan)
    return np.array(gaps)


class _Sharing:
    """Draws rows that share a value with given rows.

    Args:
        values: Int[N], the value of each row.
    """

    def __init__(self, values: Array) -> None:
        _, self.group, self.counts = np.unique(values, return_inverse=True, return_counts=True)
        self.order = np.argsort(self.group, kind="stable")
        self.starts = np.cumsum(self.counts) - self.counts
        # The place of each row among those that share its value.
        self.place = np.empty(len(values), dtype=np.int64)
        self.place[self.order] = np.arange(len(values)) - np.repeat(self.starts, self.counts)

    def draw(self, rows: Array, random: np.random.Generator) -> Array:
        """A row for each of ``rows``, which may be the same one."""
        group = self.group[rows]
        return np.asarray(self.order[self.starts[group] + random.integers(self.counts[group])])

    def partner(self, rows: Array, random: np.random.Generator) -> Array:
        """Another row for each of ``rows``; the same one only where no other shares its value.

        The fewer rows share a value, the more often one would be its own partner, without any difference: that alone
        would tell factors with many values from others.
        """
        group = self.group[rows]
        others = self.counts[group] - 1
        drawn = random.integers(np.maximum(others, 1))
        drawn += (others > 0) & (drawn >= self.place[rows])
        return np.asarray(self.order[self.starts[group] + drawn])
