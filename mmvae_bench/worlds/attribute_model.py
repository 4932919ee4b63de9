"""CelebA's joint statistics in 171 numbers: a pairwise model of its 18 attributes, from which rows are drawn.

The maximum-entropy distribution with given frequencies of every attribute and of every pair of attributes (Jaynes 1957)

    p(y) proportional to exp(sum_i b_i y_i + sum_{i<j} J_ij y_i y_j),  y in {0, 1}^18,

fitted by enumerating all 2^18 states, so nothing is approximated but the third and higher orders. The stored file has
the parameters and the frequencies they were fitted to, and not a single row. ``benchmarks/fit_attribute_model.py`` fits
them.

Shapes: A attribute, S state (2^A; bit i of a state is attribute i), N row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import numpy as np
import torch

from ..base import randomness
from ..base.seeds import derive_seed

FILE = "attribute_model.json"


@dataclass(frozen=True)
class PairwiseModel:
    """A pairwise distribution over binary attributes.

    Attributes:
        biases: Double[A], b.
        couplings: Double[A, A], J above the diagonal, zero elsewhere.
    """

    biases: np.ndarray
    couplings: np.ndarray

    def probabilities(self) -> np.ndarray:
        """The probability of every state: Double[S]."""
        log_weights = np.zeros(1)
        partners = np.zeros((1, len(self.biases)))  # of each state of the first i attributes: its pull on the others
        for bias, row, i in zip(self.biases, self.couplings, range(len(self.biases)), strict=True):
            log_weights = np.concatenate([log_weights, log_weights + bias + partners[:, i]])
            partners = np.concatenate([partners, partners + row])
        weights = np.exp(log_weights - log_weights.max())
        return np.asarray(weights / weights.sum())

    def pair_frequencies(self) -> np.ndarray:
        """How often two attributes are present together, on the diagonal how often each is: Double[A, A]."""
        states = attribute_bits(np.arange(2 ** len(self.biases)), len(self.biases)).astype(np.float64)
        return np.asarray((states * self.probabilities()[:, None]).T @ states)

    @cached_property
    def _cumulative(self) -> np.ndarray:
        """The distribution function over the states: Double[S]."""
        return np.cumsum(self.probabilities())

    def sample(self, index: np.ndarray, *, seed: int) -> np.ndarray:
        """Rows drawn by inverting the distribution function at a number that depends on (seed, index) alone.

        Args:
            index: Integer[N].
            seed: Seed of the dataset.

        Returns:
            Byte[N, A].
        """
        key = randomness.keys(derive_seed("attribute rows", seed=seed), torch.from_numpy(index.astype(np.int64)))
        u = randomness.uniform(key, 1)[:, 0].numpy()
        # Rounding may leave the last step a little below one: it is not used.
        states = np.searchsorted(self._cumulative[:-1], u, side="right")
        return attribute_bits(states, len(self.biases))


def attribute_bits(states: np.ndarray, num_attributes: int) -> np.ndarray:
    """The attributes of states: Integer[N] to Byte[N, A].

    >>> attribute_bits(np.array([0, 1, 6]), 3).tolist()
    [[0, 0, 0], [1, 0, 0], [0, 1, 1]]
    """
    return ((states[:, None] >> np.arange(num_attributes)) & 1).astype(np.uint8)


@cache
def stored() -> dict[str, Any]:
    """The package's file: attributes, parameters, the frequencies fitted, the error of the fit."""
    record: dict[str, Any] = json.loads(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))
    return record


@cache
def celeba_model() -> PairwiseModel:
    """The model of CelebA's 162,770 training rows."""
    record = stored()
    return PairwiseModel(np.array(record["biases"]), above_diagonal(record["couplings"], len(record["attributes"])))


def above_diagonal(values: list[float], num_attributes: int) -> np.ndarray:
    """Values of the pairs (0, 1), (0, 2) ... in a matrix that is zero elsewhere: Double[A, A].

    >>> above_diagonal([1, 2, 3], 3).tolist()
    [[0.0, 1.0, 2.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]]
    """
    matrix = np.zeros((num_attributes, num_attributes))
    matrix[np.triu_indices(num_attributes, 1)] = values
    return matrix
