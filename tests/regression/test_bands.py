"""After a short training every objective scores what it did when its bands were recorded.

Trains each objective once, so most of it is left to ``make regress``.
"""

from __future__ import annotations

import statistics

import pytest
import torch
from torch import Tensor
from torch.distributions import kl_divergence

from mmvae_bench.evaluation.questions import three_cs
from mmvae_bench.objectives import jmvae
from mmvae_bench.specs.components import datasets, objectives

from .bands import COMMAND, SEEDS, SETTINGS, STORED, WORLDS, bands_of, check_bands, names
from .records import check_complete, read

QUICK = "bivcca"
"""The one that every run of the tests trains: after so few steps its images already answer the query."""


def test_every_objective_has_bands() -> None:
    check_complete(STORED, names(), COMMAND)


@pytest.mark.parametrize(
    "name", [QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in names() if name != QUICK)]
)
def test_bands(name: str) -> None:
    check_bands(name)


@pytest.mark.parametrize("name", names())
def test_a_record_has_what_the_objective_can_be_asked(name: str) -> None:
    one = read(STORED)[name]
    spec = objectives.get(name)
    found = {metric.partition(" ")[0] for metric in one["values"]}
    assert "elbo" in found
    assert "description_accuracy" not in found or "image" in spec.posteriors or spec.has_describer
    assert ({"correctness", "joint_divergence"} <= found) == ("concept" in spec.posteriors)
    # Of a concept with one attribute, as a count is, no query leaves anything open.
    several = len(datasets.parse((SETTINGS | WORLDS.get(name, {}))["dataset"]).concept_schema()) > 1
    assert ("coverage" in found) == ("concept" in spec.posteriors and spec.partial_concepts and several)
    assert one["seeds"] == list(SEEDS)
    assert all(len(values) == len(SEEDS) for values in one["values"].values())
    assert all(low <= one["values"][metric][0] <= high for metric, (low, high) in bands_of(one).items())


def test_the_bands_can_tell_objectives_apart() -> None:
    """They are not so wide that anything lies inside: nine in ten objectives would not pass for another one."""
    bands = {name: bands_of(read(STORED)[name]) for name in names()}
    means = {
        name: {metric: statistics.fmean(values) for metric, values in read(STORED)[name]["values"].items()}
        for name in names()
    }
    alike = [
        (one, other)
        for one in names()
        for other in names()
        if one != other
        and means[one].keys() == bands[other].keys()
        and all(low <= means[one][metric] <= high for metric, (low, high) in bands[other].items())
    ]
    assert len(alike) <= len(names()) * (len(names()) - 1) / 10, alike


@pytest.mark.slow
def test_a_sign_error_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jmvae, "kl_divergence", lambda *given: -kl_divergence(*given))
    with pytest.raises((AssertionError, ArithmeticError), match="jmvae"):
        check_bands("jmvae")


@pytest.mark.slow
def test_an_error_in_a_metric_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is as it was, so no trace moves; but the score of the complement leaves its band."""
    right = three_cs.correctness

    def wrong(predictions: Tensor, concepts: Tensor) -> Tensor:
        return 1 - right(predictions, concepts)

    monkeypatch.setattr(three_cs, "correctness", wrong)
    with pytest.raises(AssertionError, match=r"bivcca lies outside its bands: correctness level \d"):
        check_bands(QUICK)


@pytest.mark.slow
def test_a_model_that_does_not_hear_the_query_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmvae_bench.objectives.base import Objective

    original = Objective.imagine

    def deaf(self: Objective, concept: Tensor, **options: object) -> Tensor:
        return original(self, concept[torch.zeros(len(concept), dtype=torch.long)], **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Objective, "imagine", deaf)
    with pytest.raises(AssertionError, match=r"bivcca lies outside its bands: .*correctness"):
        check_bands(QUICK)
