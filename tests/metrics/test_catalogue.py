"""The catalogue of metrics: complete, torch-free, and in the order of a report."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mmvae_bench.metrics.catalogue import METRICS, MetricInfo, metric_info, metric_order
from mmvae_bench.specs.components import questions

HEADLINE = ["correctness", "coverage", "compositionality", "description_accuracy", "named_query"]


def test_every_metric_of_a_built_in_question_is_in_the_catalogue_and_the_other_way_round() -> None:
    measured = {metric for name in questions.built_in() for metric in questions.get(name).metrics}
    assert measured == set(METRICS.built_in())


@pytest.mark.parametrize("name", METRICS.built_in())
def test_a_metric_says_what_it_is(name: str) -> None:
    metric = METRICS[name]
    assert metric_info(name) is metric
    assert metric.label
    assert metric.summary
    assert metric.reference
    assert metric.direction in (-1, 0, 1)
    assert metric.unit in ("%", "nats", "nats/dim", "MSE", "norm", "FID", "KID", "cos", "SSE", "ratio", "degrees")


def test_metrics_come_in_the_order_of_a_report() -> None:
    assert sorted(METRICS.built_in(), key=metric_order)[:4] == [
        "correctness", "coverage", "compositionality", "joint_divergence",
    ]  # fmt: skip
    assert [name for name in METRICS.built_in() if METRICS[name].headline][:5] == HEADLINE
    named = ["zebra", "log_py_per_dim", "elbo", "classifier_accuracy", "elbo_kl", "aardvark", "coverage"]
    assert sorted(named, key=metric_order) == [
        "coverage", "elbo", "aardvark", "classifier_accuracy", "elbo_kl", "log_py_per_dim", "zebra",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "unit", "direction"),
    [("hue_error", "%", 1), ("log_pz", "nats", 1), ("weighted_elbo", "nats", 0), ("log_px_per_dim", "nats/dim", 1)],
)
def test_a_metric_is_shown_with_its_unit_even_where_it_is_unknown(name: str, unit: str, direction: int) -> None:
    metric = metric_info(name)
    assert (metric.name, metric.unit, metric.direction) == (name, unit, direction)


def test_a_likelihood_per_dimension_is_labelled_and_explained_once() -> None:
    whole, part = metric_info("log_px"), metric_info("log_px_per_dim")
    assert part.label == whole.label
    assert whole.explanation
    assert not part.explanation


def test_an_entry_needs_a_name_and_a_label() -> None:
    assert MetricInfo(name="hue", label="hue").order > METRICS["elbo"].order


def test_the_catalogue_needs_no_torch() -> None:
    code = "import sys, mmvae_bench.metrics.catalogue as c; list(c.METRICS); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
