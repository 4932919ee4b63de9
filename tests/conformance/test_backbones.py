"""Every registered backbone, under every objective: whatever the networks and the likelihood of the pixels.

One-channel thin networks are what ``test_objectives`` runs on; here they are met with one objective only, as are
networks of a published size, which have no small settings.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, objectives, of_domain
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.fit import Control, TrainingInterrupted, fit, validation_terms

from .learning import assert_gradients_reach_what_is_trained, losses_on
from .worlds import BANDS, objectives_on, small, world

BACKBONES = of_domain(backbones, "images")
QUICK = [name for name in BACKBONES if max(world(name).image_shape) <= 16]
EVERYWHERE = "telbo"
"""The objective that has every network, and calls both decoders frozen as well."""
PAIRS = [(name, EVERYWHERE) for name in BACKBONES] + [
    (name, objective)
    for name in QUICK
    for objective in objectives_on(name)
    if objective != EVERYWHERE and world(name).image_shape[0] == 3
]
LIKELIHOODS = [
    (name, settings)
    for name in QUICK
    if world(name).image_shape[0] == 3
    for settings in (
        [
            *({"likelihood": value} for value in ("quantised_normal", "beta")),
            *({"likelihood": value, "likelihood_scale": 0.1} for value in ("normal", "laplace")),
        ]
        if "likelihood" in backbones.get(name).model_fields
        else [{"likelihood_scale": 0.1}]
        if "likelihood_scale" in backbones.get(name).model_fields
        else [{}]
    )
]


def build(
    name: str, objective: str, *, seed: int = 0, objective_settings: object = (), **settings: object
) -> Objective:
    data = world(name)
    built = small(name, **settings).build(schema=data.schema, image_shape=data.image_shape)
    parameters = {"name": objective, **dict(objective_settings)}  # type: ignore[call-overload]
    result = objectives.parse(parameters).build(built, seed=seed)
    assert isinstance(result, Objective)
    return result


def batch_of(name: str) -> Batch:
    """Few of the large images."""
    return world(name).store.batch(torch.arange(32 if name in QUICK else 4))


@pytest.mark.parametrize("schedule", ["joint", "two_stage"])
@pytest.mark.parametrize(("name", "settings"), LIKELIHOODS)
def test_overfits_one_batch(name: str, settings: dict[str, object], schedule: str) -> None:
    """A density may be positive, so the fall is measured by the size of the first loss."""
    objective = build(name, EVERYWHERE, objective_settings={"schedule": schedule}, **settings)
    batch = batch_of(name)
    for stage, losses in losses_on(objective, batch, steps=40, rate=1e-3).items():
        first, last = sum(losses[:5]) / 5, sum(losses[-5:]) / 5
        assert first - last > 0.3 * abs(first), stage


@pytest.mark.parametrize(("name", "objective_name"), PAIRS)
def test_gradients_reach_what_a_stage_trains_and_nothing_else(name: str, objective_name: str) -> None:
    assert_gradients_reach_what_is_trained(build(name, objective_name), batch_of(name))


@pytest.mark.parametrize("name", BACKBONES)
def test_frozen_decoders_leave_batch_norm_as_one_pass_does(name: str) -> None:
    """The joint term alone moves the decoders' statistics; the frozen calls of the other terms do not."""
    both, one, batch = build(name, EVERYWHERE), build(name, EVERYWHERE), batch_of(name)
    for objective in (both, one):
        objective.begin_stage(objective.stages(TrainingSpec(steps=1))[0])
        objective.train()
        torch.manual_seed(0)
        objective.terms(batch) if objective is both else objective.joint(batch)  # type: ignore[operator]
    for decoder in both.decoders:
        moved, expected = (dict(getattr(objective, decoder).named_buffers()) for objective in (both, one))
        assert all(torch.equal(moved[key], value) for key, value in expected.items())


@pytest.mark.parametrize(("name", "objective_name"), PAIRS)
def test_answers_survive_save_and_load_and_lie_in_range(name: str, objective_name: str) -> None:
    objective, other = build(name, objective_name), build(name, objective_name, seed=1)
    batch = batch_of(name)
    objective.train()
    torch.manual_seed(1)
    objective.terms(batch)  # moves the statistics of batch norm
    other.load_state_dict(objective.state_dict())
    shape = objective.image_shape
    answers = []
    for model in (objective, other):
        given = []
        if model.can_imagine:
            concepts = torch.tensor([[1, 2, 0], [1, -1, 0], [-1, -1, -1]])
            concepts = concepts if model.spec.partial_concepts else concepts[:1]
            for mean in (False, True):
                images = model.imagine(concepts, num_samples=2, mean=mean, generator=torch.Generator().manual_seed(0))
                assert images.shape == (len(concepts), 2, *shape)
                given.append(images)
        if model.can_describe:
            described = model.describe(batch.image)
            BANDS.check(described)
            assert bool((described >= 0).all())
            given += [model.reconstruct(batch.image), described]
        torch.manual_seed(2)
        with torch.no_grad():
            given.append(model.eval().terms(batch).loss)
        answers.append(given)
    images = [answer for answer in answers[0] if answer.ndim > 3]
    assert all(bool(((image >= 0) & (image <= 1)).all()) for image in images)
    assert len(answers[0]) == len(answers[1])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*answers, strict=True))


@pytest.mark.parametrize(("name", "settings"), LIKELIHOODS)
def test_a_resumed_training_ends_with_the_bits_of_an_uninterrupted_one(
    name: str, settings: dict[str, object], tmp_path: Path
) -> None:
    """And validation gives the same numbers each time, although dequantisation draws noise."""
    data, training = world(name), TrainingSpec(steps=6, batch_size=16, learning_rate=1e-3, validations=2)
    weights = []
    for stops in ((), (2,)):
        for stop in (*stops, None):
            objective, asked = build(name, EVERYWHERE, **settings), iter(range(1, 100))
            control = Control(
                checkpoint=tmp_path / str(len(stops)), stop=lambda stop=stop, asked=asked: next(asked) == stop
            )
            if stop is None:
                fit(objective, data, training, key="k", seed=0, control=control)
            else:
                with pytest.raises(TrainingInterrupted):
                    fit(objective, data, training, key="k", seed=0, control=control)
        weights.append(objective.state_dict())
        assert validation_terms(objective, data) == validation_terms(objective, data)
    assert all(torch.equal(weights[0][key], value) for key, value in weights[1].items())
