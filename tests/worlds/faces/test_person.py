"""Attributes and nuisance factors of a face."""

from __future__ import annotations

import numpy as np
from scipy.stats import kstest

from mmvae_bench.specs.built_in.datasets import CELEBA18_NAMES
from mmvae_bench.worlds.faces.person import Nuisance, Traits, _bounds, draw_nuisance, traits


def test_traits_are_in_the_order_of_the_schema() -> None:
    shortened = {"Mouth_Slightly_Open": "mouth_open"}
    assert tuple(shortened.get(name, name.lower()) for name in CELEBA18_NAMES) == Traits._fields
    for position, name in enumerate(Traits._fields):
        row = [0] * 18
        row[position] = 1
        assert [field for field, present in traits(row)._asdict().items() if present] == [name]


def test_every_factor_is_uniform_in_its_range() -> None:
    factors = np.array(draw_nuisance(np.arange(4000), seed=0))
    low, high = _bounds()
    assert len(low) == len(Nuisance._fields)
    assert (low < high).all()
    for column, name in enumerate(Nuisance._fields):
        scaled = (factors[:, column] - low[column]) / (high[column] - low[column])
        assert kstest(scaled, "uniform").pvalue > 1e-5, name


def test_factors_are_independent_of_each_other() -> None:
    correlation = np.corrcoef(np.array(draw_nuisance(np.arange(4000), seed=0)).T)
    # Five standard deviations.
    assert abs(correlation - np.eye(len(correlation))).max() < 5 / np.sqrt(4000)


def test_factors_are_a_function_of_seed_and_index() -> None:
    many = draw_nuisance(np.arange(50), seed=3)
    assert draw_nuisance(np.array([17]), seed=3) == [many[17]]
    assert draw_nuisance(np.array([17]), seed=4) != [many[17]]
