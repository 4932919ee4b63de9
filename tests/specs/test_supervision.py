"""The settings of few labels: what they mean, what is refused, and that nothing else changes its key."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.components import objectives
from mmvae_bench.specs.supervision import SupervisionSpec, num_supervised, step_rate
from mmvae_bench.specs.trial import TrialSpec

TRIAL: dict[str, Any] = {"dataset": {"name": "mnist"}, "backbone": "mlp", "objective": "ssvae"}


def trial(supervision: object, **changes: Any) -> TrialSpec:
    return TrialSpec.parse({**TRIAL, "training": {"steps": 100, "supervision": supervision}, **changes})


def test_a_trial_without_it_keeps_its_key() -> None:
    plain = TrialSpec.parse({**TRIAL, "training": {"steps": 100}})
    assert trial(None).key == plain.key
    assert "supervision" not in plain.canonical()["training"]
    keys = {trial({"labels_per_class": number}).key for number in (1, 2)} | {plain.key}
    assert len(keys) == 3


@pytest.mark.parametrize("rate", [0, 1, 0.1, 0.29, 1e-3, 0.999, 1 / 3, 0.07])
def test_supervised_steps_are_a_closed_form_evenly_spaced_and_as_many_as_the_rate_says(rate: float) -> None:
    counts = [num_supervised(step, rate) for step in range(5001)]
    kinds = [later - earlier for earlier, later in pairwise(counts)]
    assert set(kinds) <= {0, 1}
    assert counts[0] == 0
    assert abs(counts[5000] - 5000 * rate) < 1 - 1e-9
    places = [step for step, kind in enumerate(kinds) if kind]
    gaps = {later - earlier for earlier, later in pairwise(places)}
    assert max(gaps, default=1) - min(gaps, default=1) <= 1


def test_a_decimal_rate_is_exact() -> None:
    """0.29 times 100 is 28.999... in floating point."""
    assert [num_supervised(100, rate) for rate in (0.29, 0.57, 0.1)] == [29, 57, 10]


def test_the_rate_of_a_stage_depends_on_what_it_can_learn_from() -> None:
    few = SupervisionSpec(labels_per_class=1, rate=0.25)
    rates = {(name, stage): step_rate(few, objectives.parse(name), stage) for name, stage in (
        ("ssvae", "fit"), ("jvae", "fit"), ("vae", "fit"), ("scan", "image"), ("scan", "concept"), ("vlvae", "prior")
    )}  # fmt: skip
    assert list(rates.values()) == [0.25, 1.0, 0.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("supervision", "words"),
    [
        ({}, ["training.supervision: needs either labels_per_class or fraction", "given: neither"]),
        ({"labels_per_class": 1, "fraction": 0.5}, ["needs either labels_per_class or fraction", "given: both"]),
        ({"labels_per_class": 0}, ["training.supervision.labels_per_class", "greater than 0"]),
        ({"labels_per_class": 1_798}, ["labels_per_class: more labels than images", "only 1,797 images"]),
        ({"fraction": 0}, ["training.supervision.fraction", "greater than 0"]),
        ({"fraction": 1.5}, ["training.supervision.fraction", "less than or equal to 1"]),
        ({"labels_per_class": 1, "rate": 1.1}, ["training.supervision.rate", "less than or equal to 1"]),
        ({"labels_per_class": 1, "rate": -0.1}, ["training.supervision.rate", "greater than or equal to 0"]),
        ({"labels_per_class": 1, "rate": 0.003333333333333333}, ["none of 100 steps is supervised", "step 301"]),
        ({"labels_per_class": 1, "rate": 0.001}, ["none of 100 steps is supervised", "the first is step 1,000"]),
        ({"labels_per_class": 1, "attributes": ["digits"]}, ["unknown attribute 'digits'", "nearest: digit"]),
        ({"labels_per_class": 1, "attributes": ["digit", "digit"]}, ["needs each attribute once"]),
        ({"labels_per_class": 1, "attributes": []}, ["training.supervision.attributes"]),
        ({"labels": 1}, ["unknown key 'labels'", "labels_per_class"]),
        (3, ["training.supervision"]),
    ],
)
def test_what_cannot_be_is_refused(supervision: object, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        trial(supervision)
    for word in words:
        assert word in str(caught.value)


def test_a_rate_of_zero_means_no_label_and_needs_an_objective_that_can_do_without() -> None:
    assert trial({"labels_per_class": 1, "rate": 0}).training.supervision is not None
    with pytest.raises(ConfigError) as caught:
        trial({"labels_per_class": 1, "rate": 0}, objective="jmvae")
    assert "no step sees a label, and stage fit of jmvae needs labels" in str(caught.value)


def test_captions_have_no_word_for_a_missing_label() -> None:
    with pytest.raises(ConfigError, match="a caption cannot leave them open"):
        trial({"labels_per_class": 1}, dataset={"name": "celeba18", "view": "text"}, backbone="rgb_thin",
              objective="vlvae")  # fmt: skip
