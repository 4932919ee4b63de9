"""Properties of the objectives, in the papers' words."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.objectives.common.staged import frozen_call
from mmvae_bench.specs.trial import TrainingSpec

Make = Callable[..., Objective]


def seeded_terms(model: Objective, batch: Batch) -> torch.Tensor:
    torch.manual_seed(5)
    return model.terms(batch).loss


def test_jmvae_with_alpha_zero_is_jvae(make: Make, batch: Batch) -> None:
    jmvae, jvae = make("jmvae", alpha=0.0), make("jvae")
    jvae.load_state_dict({key: value for key, value in jmvae.state_dict().items() if key in jvae.state_dict()})
    torch.testing.assert_close(seeded_terms(jmvae, batch), seeded_terms(jvae, batch), rtol=0, atol=0)
    assert seeded_terms(make("jmvae", alpha=1.0), batch) > seeded_terms(make("jmvae", alpha=0.0), batch)


def test_the_joint_term_of_telbo_is_jvae(make: Make, batch: Batch) -> None:
    telbo, jvae = make("telbo"), make("jvae")
    jvae.load_state_dict({key: value for key, value in telbo.state_dict().items() if key in jvae.state_dict()})
    torch.manual_seed(5)
    joint = telbo.joint(batch).loss  # type: ignore[attr-defined]
    torch.testing.assert_close(joint, seeded_terms(jvae, batch), rtol=0, atol=0)


@pytest.mark.parametrize(("mu", "untouched"), [(1.0, "concept_encoder"), (0.0, "image_encoder")])
def test_bivcca_at_the_ends_never_touches_one_posterior(mu: float, untouched: str, make: Make, batch: Batch) -> None:
    model = make("bivcca", mu=mu)
    model.terms(batch).loss.backward()  # type: ignore[no-untyped-call]
    for name in model.network_names:
        gradients = [parameter.grad for parameter in getattr(model, name).parameters()]
        assert all(gradient is None for gradient in gradients) == (name == untouched)


def test_unimodal_terms_of_telbo_leave_the_decoders_alone(make: Make, batch: Batch) -> None:
    model = make("telbo").train()
    before = {key: value.clone() for key, value in model.state_dict().items() if "decoder" in key}
    model.unimodal(batch).loss.backward()  # type: ignore[attr-defined]
    for name in model.decoders:
        assert all(parameter.grad is None for parameter in getattr(model, name).parameters())
    after = model.state_dict()
    assert any("running_mean" in key for key in before)
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, rtol=0, atol=0)
    for name in ("image_encoder", "concept_encoder"):
        assert all(parameter.grad is not None for parameter in getattr(model, name).parameters())


def test_the_joint_term_of_telbo_moves_the_statistics_once(make: Make, batch: Batch) -> None:
    model = make("telbo").train()
    model.terms(batch)
    counts = [value for key, value in model.state_dict().items() if key.startswith("image_decoder") and "num_b" in key]
    assert counts
    assert all(int(count) == 1 for count in counts)


def test_frozen_call_is_the_same_function(make: Make, batch: Batch) -> None:
    decoder = make("jvae").image_decoder.train()
    z = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    (free,) = torch.autograd.grad(decoder(z).log_prob(batch.image).sum(), z)
    (cut,) = torch.autograd.grad(frozen_call(decoder, z).log_prob(batch.image).sum(), z)
    torch.testing.assert_close(cut, free)


@pytest.mark.parametrize("name", ["telbo", "jmvae", "bivcca"])
def test_nothing_specified_gives_exactly_the_prior(name: str, make: Make) -> None:
    model = make(name)
    q = model.posterior(concept=torch.full((2, 4), -1))
    assert torch.equal(q.mean, torch.zeros(2, 3, dtype=torch.float64))
    assert torch.equal(q.stddev, torch.ones(2, 3, dtype=torch.float64))


def test_one_more_attribute_narrows_the_posterior(make: Make) -> None:
    model = make("telbo")
    concept = torch.tensor([[4, 1, 2, 3]])
    spread = [model.posterior(concept=concept.masked_fill(torch.arange(4) >= level, -1)).stddev for level in range(5)]
    for wider, narrower in pairwise(spread):
        assert bool((narrower < wider).all())


def test_two_stages_train_their_own_networks_only(make: Make, batch: Batch) -> None:
    model = make("telbo", schedule="two_stage", unimodal_steps=7)
    first, second = model.stages(TrainingSpec(steps=5))
    assert (first.steps, second.steps) == (5, 7)
    for stage in (first, second):
        model.begin_stage(stage)
        model.train()
        for name in model.network_names:
            network = getattr(model, name)
            assert network.training == (name in stage.trains)
            assert all(parameter.requires_grad == (name in stage.trains) for parameter in network.parameters())
        model.zero_grad(set_to_none=True)
        model.terms(batch).loss.backward()  # type: ignore[no-untyped-call]
        for name in model.network_names:
            assert all((p.grad is not None) == (name in stage.trains) for p in getattr(model, name).parameters())


def test_the_two_stages_sum_to_the_joint_schedule(make: Make, batch: Batch) -> None:
    model = make("telbo").eval()
    torch.manual_seed(3)
    total = model.terms(batch)
    parts = [model.joint(batch).loss, model.unimodal(batch).loss]  # type: ignore[attr-defined]
    torch.manual_seed(3)
    parts = [model.joint(batch).loss, model.unimodal(batch).loss]  # type: ignore[attr-defined]
    torch.testing.assert_close(total.loss, parts[0] + parts[1])


def test_jvae_says_why_it_cannot_imagine(make: Make) -> None:
    model = make("jvae")
    assert not model.can_imagine
    assert not model.can_describe
    with pytest.raises(CapabilityError, match=r"jvae trains no q\(z\|y\); it has q\(z\|x,y\).*3 C's"):
        model.imagine(torch.tensor([1, 0, 0, 0]))
    with pytest.raises(CapabilityError, match=r"jvae trains no q\(z\|x\)"):
        model.describe(torch.zeros(1, 1, 16, 16, dtype=torch.float64))


def test_bivcca_has_no_joint_posterior(make: Make, batch: Batch) -> None:
    with pytest.raises(CapabilityError, match=r"bivcca trains no q\(z\|x,y\); it has q\(z\|y\), q\(z\|x\)"):
        make("bivcca").posterior(batch.image, batch.concept)


def test_common_networks_start_equal_whatever_the_objective(make: Make) -> None:
    states = [make(name).state_dict() for name in ("jvae", "telbo", "jmvae", "bivcca")]
    for key in states[1]:
        shared = [state[key] for state in states if key in state]
        assert "decoder" not in key or len(shared) == 4
    telbo, jmvae = states[1], states[2]
    # The fixture's perturbation runs over the parameters in one order, so equal sets stay equal.
    assert all(torch.equal(telbo[key], jmvae[key]) for key in telbo)
