from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from mmvae_bench.metrics import (
    Compositionality,
    Correctness,
    Coverage,
    JointDivergence,
    QueryMean,
)
from mmvae_bench.metrics.functional import compositionality, correctness, coverage, joint_divergence

TRAINING = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 2, 3]])
Pair = tuple[QueryMean, Tensor]

MAKERS: dict[str, Callable[[Any], Pair]] = {
    "correctness": lambda case: (Correctness(), correctness(case.predictions, case.concepts)),
    "coverage": lambda case: (
        Coverage(case.reference, base=math.e),
        coverage(case.predictions, case.concepts, case.reference, math.e),
    ),
    "joint_divergence": lambda case: (
        JointDivergence(case.reference),
        joint_divergence(case.predictions, case.concepts, case.reference),
    ),
    "compositionality": lambda case: (
        Compositionality(TRAINING),
        compositionality(case.predictions, case.concepts, TRAINING),
    ),
}


@pytest.fixture(params=sorted(MAKERS))
def make(request: pytest.FixtureRequest) -> Callable[[Any], Pair]:
    return MAKERS[request.param]


def nanmean(scores: Tensor) -> Tensor:
    known = [score for score in scores.tolist() if not math.isnan(score)]
    return torch.tensor(sum(known) / len(known), dtype=torch.float64)


def test_uneven_batches_give_the_mean_over_all_queries(
    make: Callable[[Any], Pair], random_queries: Callable[..., Any]
) -> None:
    case = random_queries(11, num_queries=30)
    case.predictions[4] = -1
    metric, scores = make(case)
    assert scores.isnan().any()
    for rows in torch.arange(30).split([1, 2, 20, 7]):
        metric.update(case.predictions[rows], case.concepts[rows])
    value = metric.compute()
    assert value.shape == ()
    assert value.dtype == torch.float64
    torch.testing.assert_close(value, nanmean(scores), rtol=0, atol=1e-14)


def test_calling_it_returns_the_batch_and_adds_it_to_the_whole(
    make: Callable[[Any], Pair], random_queries: Callable[..., Any]
) -> None:
    case = random_queries(12, num_queries=30)
    metric, scores = make(case)
    for rows in torch.arange(30).split([10, 20]):
        torch.testing.assert_close(metric(case.predictions[rows], case.concepts[rows]), nanmean(scores[rows]))
    torch.testing.assert_close(metric.compute(), nanmean(scores))
    metric.reset()
    metric.update(case.predictions[:5], case.concepts[:5])
    torch.testing.assert_close(metric.compute(), nanmean(scores[:5]))


def test_half_precision_around_it_costs_no_precision(
    make: Callable[[Any], Pair], random_queries: Callable[..., Any]
) -> None:
    case = random_queries(13, num_queries=30)
    metric, scores = make(case)
    nn.ModuleDict({"metric": metric}).half()
    nn.ModuleDict({"metric": metric}).to(torch.bfloat16)
    metric.update(case.predictions, case.concepts)
    torch.testing.assert_close(metric.compute(), nanmean(scores), rtol=0, atol=1e-14)


def test_survives_pickling_and_merges(make: Callable[[Any], Pair], random_queries: Callable[..., Any]) -> None:
    case = random_queries(14, num_queries=30)
    metric, scores = make(case)
    other = pickle.loads(pickle.dumps(metric))
    metric.update(case.predictions[:12], case.concepts[:12])
    other.update(case.predictions[12:], case.concepts[12:])
    metric.merge_state(other)
    torch.testing.assert_close(metric.compute(), nanmean(scores))


def test_nan_where_nothing_is_scored() -> None:
    half = torch.tensor([0.5, 0.5])
    predictions = torch.tensor([[[0, 1]]])
    for metric, concept in (
        (Correctness(), [-1, -1]),
        (Compositionality(torch.tensor([[1, 1]])), [1, 1]),
        (Coverage([half, half]), [0, 1]),
    ):
        metric.update(predictions, torch.tensor([concept]))
        assert math.isnan(float(metric.compute()))


def test_a_collection_does_not_confuse_metrics_that_start_out_equal() -> None:
    """The first batch scores no coverage at all and only unseen concepts: every pair of states is equal."""
    half, skewed = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
    metrics = {
        "marginal": Coverage([skewed, skewed]),
        "uniform": Coverage([half, half]),
        "nats": Coverage([half, half], base=math.e),
        "correctness": Correctness(),
        "compositionality": Compositionality(torch.tensor([[0, 0]])),
        "another_split": Compositionality(torch.tensor([[1, 0]])),
    }
    collection = MetricCollection({name: pickle.loads(pickle.dumps(metric)) for name, metric in metrics.items()})
    batches = [
        (torch.tensor([[[0, 1], [1, 1]]]), torch.tensor([[0, 1]])),
        (torch.tensor([[[0, 0], [1, 1]], [[0, 0], [0, 0]]]), torch.tensor([[0, -1], [1, -1]])),
    ]
    for batch in batches:
        collection.update(*batch)
        for metric in metrics.values():
            metric.update(*batch)
    together = collection.compute()
    assert len({round(float(value), 9) for value in together.values()}) == len(metrics)
    for name, metric in metrics.items():
        torch.testing.assert_close(together[name], metric.compute())


def test_merging_under_another_reference_is_refused() -> None:
    one, other = Coverage([torch.tensor([0.5, 0.5])]), Coverage([torch.tensor([0.9, 0.1])])
    with pytest.raises(ValueError, match="Expected state variable"):
        one.merge_state(other)


def test_the_direction_of_each_metric() -> None:
    half = [torch.tensor([0.5, 0.5])]
    rising = (Correctness(), Coverage(half), Compositionality(torch.tensor([[0]])))
    assert all(metric.higher_is_better is True for metric in rising)
    assert JointDivergence(half).higher_is_better is False
    for metric in (*rising, JointDivergence(half)):
        assert metric.is_differentiable is False
        assert metric.full_state_update is False


@pytest.mark.parametrize("metric", [Coverage, JointDivergence])
def test_bad_settings_are_refused_at_once(metric: type[Coverage] | type[JointDivergence]) -> None:
    half = torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match="reference of attribute 1 must have the shape"):
        metric([half, half.expand(3, 2)])
    with pytest.raises(ValueError, match="reference of attribute 0 is not normalised"):
        metric([2 * half])
    with pytest.raises(ValueError, match="base must be a number above 1"):
        metric([half], base=0.0)
    with pytest.raises(ValueError, match="training_concepts must be an integer tensor"):
        Compositionality(half)
