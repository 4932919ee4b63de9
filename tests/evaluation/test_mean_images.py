"""What the classifier is shown: samples of p(x|z), their means, or both at the same z."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mmvae_bench.evaluation.evaluate import evaluate
from mmvae_bench.evaluation.samples import imagine_and_judge
from mmvae_bench.metrics.catalogue import metric_info, metric_order
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import objectives
from mmvae_bench.specs.trial import EvaluationSpec

from ..conformance.worlds import small, world
from .fakes import LinesData, Oracle, draw, exact_classifier, question
from .fakes import context as context_of

FEW = {"num_samples": 10, "num_queries": 12, "query_repeats": 1, "protocols": ["paper"], "num_resamples": 10}


class Noisy(Oracle):
    """Means show the concept; samples show another place half of the time. z decides what is left open, for both."""

    def imagine(
        self, concept: Tensor, *, num_samples: int = 10, mean: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        assert generator is not None
        full = self.complete(concept.repeat_interleave(num_samples, 0), generator)
        if not mean:
            moved = torch.rand(len(full), generator=generator) < 0.5
            full[:, 0] = torch.where(moved, (full[:, 0] + 1) % 4, full[:, 0])
        return draw(full).unflatten(0, (len(concept), num_samples))


def scores(model: Any, data: LinesData, **settings: Any) -> dict[tuple[str, int | None], Any]:
    spec = EvaluationSpec.parse(FEW | settings)
    found = evaluate(model, data, spec, questions=[question("three_cs")]).scores
    return {(score.metric, score.level): score for score in found if score.attribute is None}


@pytest.fixture
def noisy() -> Noisy:
    return Noisy([torch.ones(size) for size in (4, 2, 3)])


@pytest.mark.usefixtures("exact")
def test_samples_by_default_means_when_asked_and_both_at_the_same_z(
    lines: Callable[..., LinesData], noisy: Noisy
) -> None:
    data = lines()
    sample, mean, both = (scores(noisy, data, images=images) for images in ("sample", "mean", "both"))
    assert scores(noisy, data) == sample
    assert {metric for metric, _ in sample} == {"correctness", "coverage", "joint_divergence"}
    assert {metric for metric, _ in mean} == {f"{metric}_mean_images" for metric, _ in sample}
    # A row says what was shown, so none can be taken for another.
    assert both == sample | mean
    assert both["correctness", 3].value < 0.9 < both["correctness_mean_images", 3].value == 1.0
    # The same z: what is left open does not change with the pixels' noise, which moves the place alone.
    queries = context_of(noisy, data, exact_classifier(data), **FEW)
    asked = next(each for each in queries.queries if each.level == 1)
    shown, meant = queries.predictions(asked), queries.predictions(asked, mean=True)
    assert torch.equal(shown[..., 1:], meant[..., 1:])
    assert bool((shown[..., 0] != meant[..., 0]).any())


@pytest.mark.usefixtures("exact")
def test_a_likelihood_of_fixed_scale_is_judged_by_its_mean(lines: Callable[..., LinesData], noisy: Noisy) -> None:
    fixed: Any = noisy
    fixed.has_fixed_scale = True
    found = scores(fixed, lines())
    assert found["correctness", 3].value == 1.0
    assert set(found) == {(metric, level) for metric, level in found if not metric.endswith("_mean_images")}


@pytest.mark.parametrize(
    ("backbone", "objective", "fixed"),
    [
        ("rgb_thin", {"name": "jmvae"}, False),
        ("rgb_thin", {"name": "cvae"}, False),
        ("rgb_thin", {"name": "scan", "dae": True}, True),
        ("rgb_thin", {"name": "scan", "dae": False}, False),
        ("mnist_a_thin", {"name": "telbo"}, False),
        ("two_object_resnet", {"name": "jmvae"}, True),
    ],
    ids=str,
)
def test_which_scales_are_settings(backbone: str, objective: dict[str, Any], fixed: bool) -> None:
    data = world(backbone)
    spec = small(backbone)
    network = spec.build(schema=data.schema, image_shape=data.image_shape)
    model: Objective = objectives.parse(objective).build(network, seed=0)
    assert model.has_fixed_scale is fixed
    assert model.training


@pytest.mark.parametrize("likelihood", ["normal", "laplace"])
@pytest.mark.parametrize("objective", [{"name": "bivcca"}, {"name": "scan"}, {"name": "scan", "dae": False}], ids=str)
def test_a_scale_that_the_backbone_sets_is_a_setting(likelihood: str, objective: dict[str, Any]) -> None:
    data = world("rgb_thin")
    spec = small("rgb_thin", likelihood=likelihood, likelihood_scale=0.5)
    network = spec.build(schema=data.schema, image_shape=data.image_shape)
    assert objectives.parse(objective).build(network, seed=0).has_fixed_scale


def test_the_picture_judges_what_the_evaluation_judges(lines: Callable[..., LinesData], noisy: Noisy) -> None:
    classifier, queries = exact_classifier(lines()), torch.tensor([[0, 1, 2], [3, -1, -1]])
    model: Any = noisy
    means, wrong = imagine_and_judge(model, classifier, queries, num_samples=10, seed=0)
    again, none = imagine_and_judge(model, classifier, queries, num_samples=10, seed=0, judged_mean=True)
    assert torch.equal(means, again)
    assert bool(wrong.any())
    assert not bool(none.any())


def test_a_metric_of_mean_images_is_known_by_that_of_samples() -> None:
    plain, mean = metric_info("joint_divergence"), metric_info("joint_divergence_mean_images")
    assert (mean.label, mean.direction, mean.unit, mean.ranked) == ("joint divergence, mean images", -1, "%", True)
    assert metric_order(plain.name) < metric_order(mean.name) < metric_order("description_accuracy")


def test_settings_of_earlier_versions_are_the_same_settings() -> None:
    """At their defaults the newer fields are not written: a finished trial is not evaluated again because of them."""
    plain = EvaluationSpec().canonical()
    assert not {"images", "likelihood_max_samples", "questions", "reconstruction_images"} & plain.keys()
    assert EvaluationSpec.parse(plain) == EvaluationSpec()
    assert EvaluationSpec.parse({"images": "both"}).canonical() == plain | {"images": "both"}
