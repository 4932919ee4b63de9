"""The model of the attribute rows: against enumeration, against what it was fitted to, against the rows themselves."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from mmvae_bench.data.sources.celeba_rows import ATTRIBUTES
from mmvae_bench.specs.built_in.datasets import CELEBA18_NAMES
from mmvae_bench.worlds.attribute_model import PairwiseModel, above_diagonal, celeba_model, stored

from ..data.sources.celeba_copy import real_rows


def targets() -> np.ndarray:
    """The stored frequencies: of each attribute on the diagonal, of each pair beside it."""
    matrix = above_diagonal(stored()["pair_frequencies"], 18)
    return matrix + matrix.T + np.diag(stored()["frequencies"])


def test_probabilities_are_those_of_the_formula() -> None:
    generator = np.random.default_rng(0)
    biases, couplings = generator.normal(size=4), np.triu(generator.normal(size=(4, 4)), 1)
    weights = {}
    for row in itertools.product((0, 1), repeat=4):
        energy = sum(biases[i] * row[i] for i in range(4))
        energy += sum(couplings[i, j] * row[i] * row[j] for i in range(4) for j in range(i + 1, 4))
        weights[row] = math.exp(energy)
    found = PairwiseModel(biases, couplings).probabilities()
    for row, weight in weights.items():
        state = sum(bit << position for position, bit in enumerate(row))
        assert found[state] == pytest.approx(weight / sum(weights.values()), rel=1e-12)


def test_the_stored_model_has_the_frequencies_it_was_fitted_to() -> None:
    assert tuple(stored()["attributes"]) == CELEBA18_NAMES
    assert stored()["fitted_to"]["md5"] == ATTRIBUTES.md5
    assert abs(celeba_model().pair_frequencies() - targets()).max() < 1e-5


def test_sampled_rows_have_these_frequencies_too() -> None:
    num = 200_000
    rows = celeba_model().sample(np.arange(num), seed=0).astype(float)
    found, expected = rows.T @ rows / num, targets()
    # Five standard deviations, and three rows for pairs that hardly occur.
    assert (abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / num) + 3 / num).all()
    male, bald = CELEBA18_NAMES.index("Male"), CELEBA18_NAMES.index("Bald")
    bald_women = int(((rows[:, bald] == 1) & (rows[:, male] == 0)).sum())
    # 11 expected: rare, and there.
    assert 1 <= bald_women <= 30


def test_strong_correlations_hold_in_samples() -> None:
    rows = celeba_model().sample(np.arange(50_000), seed=1).astype(float)
    found = np.corrcoef(rows.T)
    at = CELEBA18_NAMES.index
    assert found[at("Heavy_Makeup"), at("Male")] == pytest.approx(-0.667, abs=0.02)
    assert found[at("Smiling"), at("Mouth_Slightly_Open")] == pytest.approx(0.535, abs=0.02)


def test_a_row_is_a_function_of_seed_and_index() -> None:
    model = celeba_model()
    all_rows = model.sample(np.arange(500), seed=4)
    assert np.array_equal(model.sample(np.array([7, 499, 3]), seed=4), all_rows[[7, 499, 3]])
    assert not np.array_equal(model.sample(np.arange(500), seed=5), all_rows)


def test_distance_to_the_real_rows_is_the_one_stored() -> None:
    rows = real_rows()
    training = rows.concepts[rows.partition == 0]
    assert abs(training.T.astype(float) @ training / len(training) - targets()).max() < 1e-6
    states = (training.astype(np.int64) << np.arange(18)).sum(1)
    empirical = np.bincount(states, minlength=2**18) / len(training)
    seen = empirical > 0
    divergence = (empirical[seen] * np.log(empirical[seen] / celeba_model().probabilities()[seen])).sum()
    assert divergence == pytest.approx(stored()["distance"]["kl_from_rows_nats"], abs=1e-3)
    assert divergence < 0.06
