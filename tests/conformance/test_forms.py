"""Every registered objective in each of its forms: one choice of a parameter changed, the rest as by default.

``test_objectives`` asks more of the defaults; here is what a choice may break: gradients, seeds, saving, answers.
"""

from __future__ import annotations

from typing import Literal, get_args, get_origin

import pytest
import torch

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import CapabilityError
from mmvae_bench.specs.components import objectives
from mmvae_bench.specs.trial import TrainingSpec, TrialSpec

from .test_objectives import NAMES, build

DIGITS = {"dataset": {"name": "mnist_a", "source": "digits", "canvas": 16}, "backbone": "mnist_a_thin"}
"""A form that needs another world has tests of its own, such as SSVAE's of faces under one light."""
ONLY_WITH_MISSING_IMAGES = {"meme": {"pseudo_images"}}


def forms() -> list[tuple[str, dict[str, object]]]:
    """(name, one parameter), for each choice other than the default of each parameter that has choices."""
    found: list[tuple[str, dict[str, object]]] = []
    for name in NAMES:
        for key, field in objectives.get(name).model_fields.items():
            annotations = [field.annotation, *get_args(field.annotation)]
            choices = [True, False] if bool in annotations else []
            choices += [choice for each in annotations if get_origin(each) is Literal for choice in get_args(each)]
            for choice in dict.fromkeys(choices):
                if choice == field.default:
                    continue
                try:
                    TrialSpec.parse({**DIGITS, "objective": {"name": name, key: choice}})
                except ConfigError:
                    continue
                found.append((name, {key: choice}))
    return found


FORMS = forms()
IDS = [f"{name}-{key}-{choice}" for name, form in FORMS for key, choice in form.items()]


@pytest.fixture
def batch(digits: ConceptDataModule) -> Batch:
    return digits.store.batch(digits.rows("train")[:32])


def test_the_forms_are_found() -> None:
    assert {"mvae-modalities-per_attribute", "vlvae-inference-joint", "mmvae-bound-elbo", "scan-dae-False"} <= set(IDS)
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize(("name", "form"), FORMS, ids=IDS)
def test_gradients_reach_what_a_stage_trains_and_nothing_else(
    name: str, form: dict[str, object], digits: ConceptDataModule, batch: Batch
) -> None:
    objective = build(name, digits, **form)
    stages = objective.stages(TrainingSpec(steps=4))
    assert [stage.name for stage in stages if stage.name not in objective.spec.stage_names] == []
    trained_once = {network for stage in stages for network in stage.trains}
    wanted = set(objective.network_names) - ONLY_WITH_MISSING_IMAGES.get(name, set())
    assert trained_once == wanted, "a network that no stage trains"
    for stage in stages:
        objective.begin_stage(stage)
        objective.train()
        frozen = set(objective.network_names) - set(stage.trains)
        before = {key: value.clone() for key, value in objective.named_buffers() if key.split(".")[0] in frozen}
        objective.zero_grad(set_to_none=True)
        torch.manual_seed(0)
        objective.terms(batch).loss.backward()  # type: ignore[no-untyped-call]
        for key, parameter in objective.named_parameters():
            trained = key.split(".")[0] in stage.trains
            assert (parameter.grad is not None) == trained, key
            assert not trained or bool(parameter.grad.abs().sum() > 0), key  # type: ignore[union-attr]
        assert all(torch.equal(dict(objective.named_buffers())[key], value) for key, value in before.items())


@pytest.mark.parametrize(("name", "form"), FORMS, ids=IDS)
def test_same_seed_same_loss_and_the_same_after_loading(
    name: str, form: dict[str, object], digits: ConceptDataModule, batch: Batch
) -> None:
    mine, same, other = (build(name, digits, seed=seed, **form) for seed in (0, 0, 1))

    def loss(objective: torch.nn.Module) -> torch.Tensor:
        torch.manual_seed(7)
        return objective.eval().terms(batch).loss  # type: ignore[operator, no-any-return]

    assert torch.equal(loss(mine), loss(same))
    assert not torch.equal(loss(mine), loss(other))
    other.load_state_dict(mine.state_dict())
    assert torch.equal(loss(mine), loss(other))


@pytest.mark.parametrize(("name", "form"), FORMS, ids=IDS)
def test_answers_have_their_shapes_and_ranges_or_are_refused(
    name: str, form: dict[str, object], digits: ConceptDataModule, batch: Batch
) -> None:
    objective = build(name, digits, **form)
    part, whole = torch.tensor([[3, 0, -1, -1], [-1, -1, -1, -1]]), torch.tensor([[3, 0, 1, 2]])
    if not objective.can_imagine:
        with pytest.raises(CapabilityError, match=name):
            objective.imagine(whole)
    else:
        asked = torch.cat([part, whole]) if objective.spec.partial_concepts else whole
        images = objective.imagine(asked, num_samples=2, generator=torch.Generator().manual_seed(0))
        assert images.shape == (len(asked), 2, 1, 16, 16)
        assert bool(((images == 0) | (images == 1)).all())
        if not objective.spec.partial_concepts:
            with pytest.raises(CapabilityError, match=f"{name} takes fully specified concepts only"):
                objective.imagine(part)
    if objective.can_describe:
        described = objective.describe(batch.image)
        digits.schema.check(described)
        assert described.shape == (32, 4)
        assert bool((described >= 0).all())
    else:
        with pytest.raises(CapabilityError, match=name):
            objective.describe(batch.image)
    for posterior, given in {"image": (batch.image, None), "joint": (batch.image, batch.concept)}.items():
        if posterior in objective.spec.posteriors:
            again = objective.reconstruct(*given)
            assert again.shape == batch.image.shape
            assert bool(((again >= 0) & (again <= 1)).all())
