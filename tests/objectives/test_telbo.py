"""TELBO: three ELBOs, and decoders that learn from the joint one only."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch

from mmvae_bench.data.batch import Batch
from mmvae_bench.specs.trial import TrainingSpec

from .opinions import (
    Make,
    assert_agree,
    assert_parts_add_up,
    bound,
    gaussian,
    kl,
    log_px,
    log_py,
    prior_of,
    product,
    redraw,
    seeded_terms,
)


def test_value_and_gradient(make: Make, batch: Batch) -> None:
    model = make("telbo", **{"lambda": 7.0, "gamma": 3.0})
    terms = model.terms(batch)
    q = gaussian(model.joint_encoder(batch.image, batch.concept))  # type: ignore[operator]
    image_decoder, concept_decoder = copy.deepcopy(model.image_decoder), copy.deepcopy(model.concept_decoder)
    image_decoder.requires_grad_(False)
    concept_decoder.requires_grad_(False)
    q_image = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    z_image = redraw(q_image, terms.latents["image"])
    image_bound = log_px(image_decoder, z_image, batch.image) - kl(q_image, prior_of(q_image))
    q_concept = product(model, batch.concept)
    z_concept = redraw(q_concept, terms.latents["concept"])
    concept_bound = 3.0 * log_py(concept_decoder, z_concept, batch.concept) - kl(q_concept, prior_of(q_concept))
    joint_bound = bound(model, batch, q, terms.latents["joint"], 1.0, 7.0)
    assert_agree(model, terms.loss, -(joint_bound + image_bound + concept_bound).mean())


def test_parts_add_up(make: Make, batch: Batch) -> None:
    weights = {
        "joint/log_px": -1,
        "joint/log_py": -7,
        "joint/kl": 1,
        "image/log_px": -1,
        "image/kl": 1,
        "concept/log_py": -3,
        "concept/kl": 1,
    }
    assert_parts_add_up(make("telbo", **{"lambda": 7.0, "gamma": 3.0}).terms(batch), weights, batch_size=len(batch))


def test_the_joint_term_of_telbo_is_jvae(make: Make, batch: Batch) -> None:
    telbo, jvae = make("telbo"), make("jvae")
    jvae.load_state_dict({key: value for key, value in telbo.state_dict().items() if key in jvae.state_dict()})
    torch.manual_seed(5)
    joint = telbo.joint(batch).loss  # type: ignore[attr-defined]
    torch.testing.assert_close(joint, seeded_terms(jvae, batch), rtol=0, atol=0)


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
