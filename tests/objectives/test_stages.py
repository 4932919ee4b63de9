"""What all objectives in stages share: which networks train when, and the settings of their stages."""

from __future__ import annotations

import pytest
import torch

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import planned_stages
from mmvae_bench.objectives.common.staged import frozen_call, mask_at_random
from mmvae_bench.specs.components import objectives
from mmvae_bench.specs.trial import TrainingSpec

from .opinions import (
    Make,
    networks_with_gradients,
)

VARIANTS = [
    ("vlvae", {"prior_flow": True, "inference": "joint"}),
    ("q_agg", {"prior_flow": True, "inference": "joint"}),
    ("q_true", {"prior_flow": True, "mask_probability": 0.0}),
    ("jnf", {"unimodal_steps": 2}),
    ("scan", {"dae": False}),
    ("scan", {}),
]


@pytest.mark.parametrize(("name", "parameters"), VARIANTS)
def test_a_stage_trains_its_networks_and_leaves_the_others_to_the_bit(
    name: str, parameters: dict[str, object], make: Make, batch: Batch
) -> None:
    model = make(name, **parameters)
    stages = model.stages(TrainingSpec(steps=4))
    assert {network for stage in stages for network in stage.trains} == set(model.network_names)
    assert [stage.name for stage in stages] == [
        stage for stage in model.spec.stage_names if stage != "prior" or parameters.get("prior_flow")
    ]
    for stage in stages:
        model.begin_stage(stage)
        model.train()
        model.zero_grad(set_to_none=True)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        terms = model.terms(batch)
        terms.loss.backward()  # type: ignore[no-untyped-call]
        assert networks_with_gradients(model) == set(stage.trains)
        for key, value in model.state_dict().items():
            assert torch.equal(value, before[key]) or (key.split(".")[0] in stage.trains and "weight" not in key), key
    model.end_stages()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_a_stage_takes_by_default(make: Make) -> None:
    training = TrainingSpec(steps=10)
    assert [(s.name, s.steps) for s in make("q_agg", prior_flow=True).stages(training)] == [
        ("fit", 10),
        ("concept", 5),
        ("prior", 5),
    ]
    assert [s.steps for s in make("q_true", flow_steps=3).stages(training)] == [10, 3]
    assert [(s.name, s.steps) for s in make("scan").stages(training)] == [("denoise", 5), ("image", 10), ("concept", 5)]
    assert [s.steps for s in make("scan", denoise_steps=2, concept_steps=7).stages(training)] == [2, 10, 7]
    assert [s.steps for s in make("jnf").stages(training)] == [10, 10]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "q_agg", "flow_steps": 0}, "flow_steps"),
        ({"name": "jnf", "unimodal_steps": 0}, "unimodal_steps"),
        ({"name": "scan", "concept_steps": -1}, "concept_steps"),
        ({"name": "scan", "dae": False, "denoise_steps": 5}, "only applies to dae true"),
        ({"name": "vlvae", "flow_steps": 5}, "only applies to prior_flow true"),
        ({"name": "q_true", "mask_probability": 1.0}, "mask_probability"),
        ({"name": "q_agg", "inference": "concept"}, "not one of the choices"),
    ],
)
def test_what_has_no_meaning(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        objectives.parse(values)


def test_what_a_spec_says_of_itself_depends_on_its_settings() -> None:
    q_agg, scan = objectives.get("q_agg"), objectives.get("scan")
    assert q_agg.posteriors == {"image", "concept"} == q_agg().posteriors
    assert q_agg(inference="joint").posteriors == {"joint", "concept"}
    assert q_agg.partial_concepts is True
    assert q_agg(mask_probability=0.0).partial_concepts is False
    assert scan.stage_names == ("denoise", "image", "concept")
    assert scan(dae=False).stage_names == ("image", "concept")


def test_frozen_call_is_the_same_function(make: Make, batch: Batch) -> None:
    decoder = make("jvae").image_decoder.train()
    z = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    (free,) = torch.autograd.grad(decoder(z).log_prob(batch.image).sum(), z)
    (cut,) = torch.autograd.grad(frozen_call(decoder, z).log_prob(batch.image).sum(), z)
    torch.testing.assert_close(cut, free)


def test_masking_keeps_whole_concepts_and_every_size_of_part() -> None:
    torch.manual_seed(0)
    concept = torch.randint(3, (40_000, 4))
    masked = mask_at_random(concept, 0.6)
    assert bool(((masked == concept) | (masked == -1)).all())
    sizes = torch.bincount((masked >= 0).sum(1), minlength=5) / len(concept)
    torch.testing.assert_close(sizes, torch.tensor([0.15, 0.15, 0.15, 0.15, 0.4]), rtol=0, atol=0.01)
    kept = (masked >= 0).float().mean(0)
    torch.testing.assert_close(kept, torch.full((4,), 0.4 + 0.15 * 1.5), rtol=0, atol=0.01)
    assert mask_at_random(concept, 0.0) is concept
    some = mask_at_random(concept, 0.6, always=[2])
    assert torch.equal(some[:, 2], concept[:, 2])
    torch.testing.assert_close((some[:, :2] >= 0).float().mean(0), kept[:2], rtol=0, atol=0.01)


@pytest.mark.parametrize("steps", [3, 10, 101, 4000])
def test_a_total_budget_is_shared_by_the_stages(steps: int, make: Make) -> None:
    training = TrainingSpec(steps=steps, budget="total")
    for name, parameters in (("scan", {}), ("jnf", {}), ("q_agg", {"prior_flow": True}), ("jmvae", {})):
        model = make(name, **parameters)
        planned, own = planned_stages(model, training), model.stages(training)
        assert sum(stage.steps for stage in planned) == steps
        assert [(stage.name, stage.trains) for stage in planned] == [(stage.name, stage.trains) for stage in own]
        total = sum(stage.steps for stage in own)
        for stage, alone in zip(planned, own, strict=True):
            assert abs(stage.steps - steps * alone.steps / total) <= 2
    assert planned_stages(make("scan"), TrainingSpec(steps=steps)) == make("scan").stages(TrainingSpec(steps=steps))


def test_a_total_budget_has_a_step_for_every_stage(make: Make) -> None:
    with pytest.raises(BenchmarkError, match=r"2 in total are fewer than the stages \(denoise, image, concept\)"):
        planned_stages(make("scan"), TrainingSpec(steps=2, budget="total"))


def test_the_budget_of_a_stage_leaves_keys_as_they_are() -> None:
    assert "budget" not in TrainingSpec(steps=5).canonical()
    assert TrainingSpec(steps=5, budget="total").canonical()["budget"] == "total"
