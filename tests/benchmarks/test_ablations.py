"""The two tables beside the report of the ablations, on scores and posteriors that are known."""

from __future__ import annotations

import ablations
import pytest
import torch
from scipy import stats

from mmvae_bench.specs.components import backbones, datasets, objectives


def result(plain: list[float | None], changed: list[float | None]) -> dict[str, object]:
    rows = [("correctness", plain), ("correctness_imputed", changed)]
    common = {"partition": "test", "protocol": "paper", "attribute": None, "level": 2, "groups": None}
    other = common | {"metric": "correctness", "level": 3, "per_query": [0.0] * 4}
    asked = [common | {"metric": name, "per_query": values} for name, values in rows]
    of_val = [row | {"partition": "val", "per_query": [0.0] * 4} for row in asked]
    return {"scores": [*asked, other, *of_val]}


def test_a_change_is_paired_query_by_query() -> None:
    """One seed: Student's interval over the differences of the queries that both have."""
    one = result([0.1, 0.5, None, 0.9], [0.4, 0.6, 0.2, 0.9])
    found = ablations.changed_less_plain({0: one}, "correctness", "_imputed", 2)
    paired = [0.3, 0.1, 0.0]
    assert found is not None
    assert found.value == pytest.approx(sum(paired) / 3)
    low, high = stats.t.interval(0.95, 2, loc=sum(paired) / 3, scale=stats.sem(paired))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert ablations.changed_less_plain({0: one}, "correctness", "_imputed", 3) is None
    assert ablations.changed_less_plain({0: one}, "coverage", "_imputed", 2) is None


def test_the_shape_of_a_product_whose_experts_are_set() -> None:
    """Every expert has scales 2 and 1: alone, k of them have 2 / sqrt(k) and 1 / sqrt(k), always a ratio of 2."""
    dataset = datasets.parse({"name": "mnist_a", "canvas": 16})
    backbone = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 2})
    built = backbone.build(schema=dataset.concept_schema(), image_shape=dataset.image_shape())
    for universal, wanted in ((False, (2 / 3**0.5, 2.0)), (True, ((1 + 3 / 4) ** -0.5, (4 / (1 + 3 / 4)) ** 0.5))):
        model = objectives.parse({"name": "telbo", "universal_expert": universal}).build(built).eval()
        with torch.no_grad():
            for head in model.concept_encoder.heads:
                for layer in (head.mean, head.log_scale):
                    layer.weight.zero_()
                head.mean.bias.zero_()
                head.log_scale.bias.copy_(torch.tensor([2.0, 1.0]).log())
        largest, ratio, divergence = ablations.shape_of(model, 3)
        assert (largest, ratio) == pytest.approx(wanted)
        scales = torch.tensor([largest, largest / ratio])
        assert divergence == pytest.approx(float((scales**2 / 2 - 0.5 - scales.log()).sum()), rel=1e-5)
