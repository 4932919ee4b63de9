"""Drawing without W&B's server: each distribution against its definition, and every bad parameter by name."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from scipy import stats

from mmvae_bench.specs.sweep_parameters import Parameter, read_parameters

NUM_DRAWS = 3000


def parameter(given: dict[str, Any], name: str = "objective.alpha") -> Parameter:
    """The one parameter of a file."""
    (found,), problems = read_parameters({name: given})
    assert not problems
    return found


def draws(given: dict[str, Any], num: int = NUM_DRAWS) -> list[Any]:
    """The first values drawn."""
    drawn = parameter(given)
    return [drawn.draw(index)[0] for index in range(num)]


def test_uniform() -> None:
    values = draws({"distribution": "uniform", "min": -1, "max": 3.0})
    assert stats.kstest(values, stats.uniform(-1, 4).cdf).pvalue > 0.01


def test_log_uniform_values() -> None:
    values = draws({"distribution": "log_uniform_values", "min": 1e-4, "max": 0.1})
    assert stats.kstest(values, stats.loguniform(1e-4, 0.1).cdf).pvalue > 0.01
    assert 1e-4 <= min(values) <= max(values) <= 0.1


def test_int_uniform() -> None:
    values = draws({"min": 3, "max": 7})
    assert {type(value) for value in values} == {int}
    counts = Counter(values)
    assert set(counts) == {3, 4, 5, 6, 7}
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


def test_q_uniform_rounds_a_uniform_draw_to_multiples() -> None:
    """round(X / q) q: the values at both ends have half the weight of the others."""
    counts = Counter(draws({"distribution": "q_uniform", "min": 0.1, "max": 0.5, "q": 0.1}))
    assert sorted(counts) == [0.1, 0.2, 0.3, 0.4, 0.5], "exact decimals: not 0.30000000000000004"
    expected = [NUM_DRAWS * weight for weight in (1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8)]
    assert stats.chisquare([counts[value] for value in sorted(counts)], expected).pvalue > 0.01


def test_q_uniform_stays_inside_and_keeps_whole_numbers_whole() -> None:
    assert set(draws({"distribution": "q_uniform", "min": 5, "max": 24, "q": 10}, 100)) == {10, 20}
    whole = draws({"distribution": "q_uniform", "min": 32, "max": 128, "q": 32}, 100)
    assert {(type(value), value) for value in whole} == {(int, 32), (int, 64), (int, 96), (int, 128)}


def test_categorical_and_constant() -> None:
    counts = Counter(draws({"values": ["telbo", "jmvae", "bivcca"]}))
    assert set(counts) == {"telbo", "jmvae", "bivcca"}
    assert stats.chisquare(list(counts.values())).pvalue > 0.01
    assert draws({"value": None}, 3) == [None] * 3
    assert draws({"value": ["val", "test"]}, 1) == [["val", "test"]]


def test_a_draw_depends_on_its_parameter_and_index_alone() -> None:
    given = {"distribution": "uniform", "min": 0.0, "max": 1.0}
    (alone,), _ = read_parameters({"objective.alpha": given})
    others, _ = read_parameters({"seed": {"min": 0, "max": 9}, "objective": {"parameters": {"alpha": given}}})
    nested = next(each for each in others if each.keys == ("objective", "alpha"))
    assert [alone.draw(i)[0] for i in range(20)] == [nested.draw(i)[0] for i in range(20)]
    other = parameter(given, "objective.gamma")
    assert stats.pearsonr(*([p.draw(i)[0] for i in range(500)] for p in (alone, other))).pvalue > 0.01


def test_the_draws_of_a_sweep_are_those_of_earlier_versions() -> None:
    """A sweep that is gone on with under a later version has the same trials."""
    assert draws({"distribution": "uniform", "min": 0.0, "max": 1.0}, 2) == PINNED


PINNED = [0.5063002906059896, 0.07690215352257612]


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"value": 3}, [3]),
        ({"values": [1, "a", None]}, [1, "a", None]),
        ({"min": 2, "max": 4}, [2, 3, 4]),
        ({"min": 2, "max": 2}, [2]),
        ({"distribution": "q_uniform", "min": 0.05, "max": 0.3, "q": 0.1}, [0.1, 0.2, 0.3]),
        ({"distribution": "q_uniform", "min": 0, "max": 2.5}, [0, 1, 2]),
    ],
)
def test_every_value_for_a_grid(given: dict[str, Any], values: list[Any]) -> None:
    found = parameter(given)
    assert [value for value, _ in found.every()] == values
    assert found.num_values == len(values)


def test_where_both_ends_are_mixed_numbers_it_is_uniform() -> None:
    assert parameter({"min": 0, "max": 1.5}).distribution == "uniform"
    assert not parameter({"min": 0, "max": 1.5}).is_countable


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"distribution": "normal", "mu": 0, "sigma": 1},
     ["parameters.x.distribution: distribution 'normal' is not supported without W&B's server", "choices: constant, "]),
    ({"distribution": "unifrom", "min": 0, "max": 1}, ["distribution 'unifrom'", "nearest: uniform"]),
    ({"distribution": ["uniform"]}, ["distribution ['uniform']"]),
    ({"distribution": "uniform", "min": 0, "max": 1, "mxa": 2},
     ["unknown key 'mxa' of distribution uniform", "nearest: max"]),
    ({"values": [1, 2], "probabilities": [0.1, 0.9]}, ["'probabilities' is not supported without W&B's server"]),
    ({"values": []}, ["expected a list of at least one value", "given: []"]),
    ({"values": "telbo"}, ["expected a list of at least one value", "given: 'telbo'"]),
    ({"valeu": 1}, ["nothing to sample from", "nearest: value"]),
    ({"min": 1}, ["distribution int_uniform needs 'max'"]),
    ({"min": 2, "max": 1}, ["smaller than min", "1 (min is 2)"]),
    ({"distribution": "int_uniform", "min": 0.5, "max": 1}, ["expected a whole number", "given: 0.5"]),
    ({"distribution": "uniform", "min": "0", "max": True}, ["expected a number", "given: '0'", "given: True"]),
    ({"distribution": "uniform", "min": 0, "max": math.inf}, ["expected a number", "given: inf"]),
    ({"distribution": "log_uniform_values", "min": 0, "max": 1}, ["must be greater than 0 for a logarithm"]),
    ({"distribution": "q_uniform", "min": 1, "max": 2, "q": 0}, ["expected a number", "given: 0"]),
    ({"distribution": "q_uniform", "min": 11, "max": 19, "q": 10}, ["there is no multiple of q between min and max"]),
    ({"parameters": {"y": {"value": 1}}, "value": 2},
     ["parameters.x.value: cannot be combined with nested parameters"]),
    ({"parameters": {}}, ["expected a mapping of parameters"]),
    ({}, ["expected a mapping, such as"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "words"), BAD, ids=[str(given) for given, _ in BAD])
def test_bad_parameters(given: dict[str, Any], words: list[str]) -> None:
    _, problems = read_parameters({"x": given, "seed": {"value": 1}})
    text = "\n".join(map(str, problems))
    for word in words:
        assert word in text


def test_one_path_cannot_be_given_twice_nor_be_empty() -> None:
    nested = {"objective": {"parameters": {"alpha": {"value": 1}}}, "objective.alpha": {"value": 2}}
    assert "given twice" in str(read_parameters(nested)[1][0])
    assert "expected dotted keys" in str(read_parameters({"objective.": {"value": 1}})[1][0])
