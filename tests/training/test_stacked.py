"""A stacked objective's losses, gradients and noise are those of its members; what it cannot map it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, RelaxedOneHotCategorical

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective, Terms, planned_stages
from mmvae_bench.specs.components import backbones, datasets, objectives
from mmvae_bench.training.stacked import Loss, Stacked, Unstackable


@pytest.fixture(scope="module")
def sprites() -> ConceptDataModule:
    data: ConceptDataModule = datasets.parse({"name": "sprites", "num_images": 200, "canvas": 16}).build()
    data.setup()
    return data


def members(data: ConceptDataModule, name: str, number: int = 3, **parameters: object) -> list[Objective]:
    """In float64, in the first stage, with optimisers."""
    networks = backbones.parse({"name": "rgb_thin", "width": 2, "hidden": 8, "likelihood": "normal",
                                "likelihood_scale": 0.5})  # fmt: skip
    backbone = networks.build(schema=data.schema, image_shape=data.image_shape)
    found = []
    for seed in range(number):
        objective: Objective = objectives.parse({"name": name, **parameters}).build(backbone, seed=seed)
        objective.double().begin_stage(planned_stages(objective, objective.training_spec)[0])
        objective.train().configure_optimizers()
        found.append(objective)
    return found


def batches(data: ConceptDataModule, number: int = 3) -> list[Batch]:
    found = []
    for place in range(number):
        batch = data.store.batch(torch.arange(16) + 20 * place)
        found.append(replace(batch, image=batch.image.double()))
    return found


@pytest.mark.parametrize("name", ["jmvae", "bivcca", "mvae", "ssvae"])
def test_a_member_is_what_it_is_alone(sprites: ConceptDataModule, name: str) -> None:
    alone, stacked = members(sprites, name), Stacked(members(sprites, name))
    assert any("running_mean" in key for key in stacked.buffers)
    weights = {key: value.detach().clone() for key, value in stacked.parameters.items()}
    terms = stacked.step(batches(sprites))
    assert len({float(each.loss) for each in terms}) == 3
    for place, (objective, batch) in enumerate(zip(alone, batches(sprites), strict=True)):
        output = objective.training_step(batch, 0)
        output["loss"].backward()
        assert output["terms"].parts.keys() == terms[place].parts.keys()
        torch.testing.assert_close(terms[place].loss, output["terms"].loss, rtol=1e-12, atol=0, check_dtype=False)
        for part, value in output["terms"].parts.items():
            torch.testing.assert_close(terms[place].parts[part], value, rtol=1e-9, atol=1e-11)
        for key, parameter in Loss(objective).named_parameters():
            found = stacked.parameters[key].grad
            assert found is not None
            assert torch.equal(weights[key][place], parameter)
            torch.testing.assert_close(found[place], parameter.grad, rtol=1e-9, atol=1e-12)
        for key, buffer in Loss(objective).named_buffers():
            torch.testing.assert_close(stacked.buffers[key][place], buffer, rtol=1e-12, atol=1e-15)
        assert objective.optimizer is not None
        objective.optimizer.step()
        for key, parameter in objective.named_parameters():
            mine = dict(stacked.objectives[place].named_parameters())[key]
            torch.testing.assert_close(mine.detach(), parameter.detach(), rtol=1e-9, atol=1e-12)


class Drawing(Objective):
    """An objective whose parts are what it draws."""

    kind: str

    def terms(self, batch: Batch) -> Terms:
        weight = next(self.image_encoder.parameters()).flatten()[:1]
        share = weight.sigmoid().expand(len(batch))
        drawn = {
            "normal": lambda: Normal(share * 0, 1.0).rsample(),
            "rand": lambda: torch.rand(len(batch), dtype=torch.float64),
            "randn_like": lambda: torch.randn_like(share),
            "randint": lambda: torch.randint(1000, (len(batch),)).double(),
            "bernoulli": lambda: Bernoulli(probs=share.detach()).sample(),
            "randperm": lambda: torch.randperm(len(batch)).double(),
            "relaxed": lambda: RelaxedOneHotCategorical(
                share.new_tensor(0.5), logits=torch.stack([share, -share], 1)
            ).rsample()[:, 0],
            "twice": lambda: torch.rand(len(batch)).double() + 10 * torch.rand(len(batch)).double(),
            "in place": lambda: torch.empty(len(batch)).uniform_().double(),
            "own generator": lambda: torch.rand(len(batch), generator=torch.Generator().manual_seed(0)).double(),
            "item": lambda: torch.full((len(batch),), weight.item()).double(),
        }[self.kind]()  # fmt: skip
        return Terms((weight * drawn).mean(), {"drawn": drawn})


def drawing(data: ConceptDataModule, kind: str) -> list[Objective]:
    return remade(members(data, "telbo"), Drawing, kind=kind)


def remade(found: list[Objective], base: type[Objective], **attributes: object) -> list[Objective]:
    """Objectives of another class that is derived from theirs."""
    other = type(base.__name__, (base, type(found[0])), attributes)
    for objective in found:
        objective.__class__ = other
    return found


@pytest.mark.parametrize(
    "kind", ["normal", "rand", "randn_like", "randint", "bernoulli", "randperm", "relaxed", "twice"]
)
def test_the_noise_is_that_of_the_member_alone_bit_for_bit(sprites: ConceptDataModule, kind: str) -> None:
    found = Stacked(drawing(sprites, kind)).step(batches(sprites))
    for objective, batch, terms in zip(drawing(sprites, kind), batches(sprites), found, strict=True):
        expected = objective.training_step(batch, 0)["terms"].parts["drawn"]
        assert torch.equal(terms.parts["drawn"], expected.detach())
    first, second, _ = (terms.parts["drawn"] for terms in found)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("in place", "random"), ("own generator", "generator of its own"), ("item", r"\.item\(\)")],
)
def test_what_cannot_be_mapped_is_refused(sprites: ConceptDataModule, kind: str, reason: str) -> None:
    with pytest.raises(Unstackable, match=reason):
        Stacked(drawing(sprites, kind)).step(batches(sprites))


def test_a_gradient_that_the_mapping_changes_is_noticed(sprites: ConceptDataModule) -> None:
    """A hook doubles it: alone, that is."""

    class Hooked(Drawing):
        kind = "rand"

        def terms(self, batch: Batch) -> Terms:
            terms = super().terms(batch)
            if terms.loss.requires_grad:  # Where it is mapped, it says no.
                terms.loss.register_hook(lambda gradient: 2 * gradient)
            return terms

    found = remade(members(sprites, "telbo"), Hooked)
    before = [[value.clone() for value in each.parameters()] for each in found]
    with pytest.raises(Unstackable, match=r"gradient of image_encoder.* is not what it is alone"):
        Stacked(found).step(batches(sprites))
    for objective, weights in zip(found, before, strict=True):
        assert all(torch.equal(value, own) for value, own in zip(objective.parameters(), weights, strict=True))
        assert objective.step_done == 0


class Counting(Drawing):
    """An objective with something of its own that changes from step to step."""

    kind = "rand"
    how = ""

    def terms(self, batch: Batch) -> Terms:
        terms = super().terms(batch)
        step = self.step_done
        if self.how == "late hook" and step >= 2 and terms.loss.requires_grad:
            terms.loss.register_hook(lambda gradient: 2 * gradient)
        elif self.how == "list":
            self.past: list[int]
            self.past = [*getattr(self, "past", []), step]
        elif self.how == "number":
            self.calls = getattr(self, "calls", 0) + 1
        elif self.how == "assigned buffer":
            self.seen_steps = self.seen_steps + 1
        elif self.how == "rate":
            assert self.optimizer is not None
            self.optimizer.param_groups[0]["lr"] = 1e-2 / (1 + step)
        return terms


def counting(data: ConceptDataModule, how: str) -> list[Objective]:
    found = remade(members(data, "telbo"), Counting, how=how)
    for objective in found:
        objective.register_buffer("seen_steps", torch.tensor(2000.0, dtype=torch.float64))
    return found


@pytest.mark.parametrize(
    ("how", "made", "reason"),
    [
        ("late hook", 3, "is not what it is alone"),
        ("list", 0, "changes past"),
        ("number", 0, "changes calls"),
        ("assigned buffer", 0, "a buffer is replaced"),
    ],
)
def test_what_changes_from_step_to_step_is_noticed(
    sprites: ConceptDataModule, how: str, made: int, reason: str
) -> None:
    """At the next step whose number is a power of two."""
    stacked = Stacked(counting(sprites, how))
    for _ in range(made):
        stacked.step(batches(sprites))
    with pytest.raises(Unstackable, match=reason):
        stacked.step(batches(sprites))
    assert stacked.objectives[0].step_done == made


def test_a_learning_rate_that_the_loss_sets_is_used(sprites: ConceptDataModule) -> None:
    stacked, alone = Stacked(counting(sprites, "rate")), counting(sprites, "rate")[1]
    for _ in range(3):
        stacked.step(batches(sprites))
        output = alone.training_step(batches(sprites)[1], 0)
        assert alone.optimizer is not None
        alone.optimizer.zero_grad()
        output["loss"].backward()
        alone.optimizer.step()
        alone.step_done += 1
    for found, expected in zip(stacked.objectives[1].parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(found.detach(), expected.detach(), rtol=1e-9, atol=1e-12)


def test_a_network_with_small_gradients_is_checked_as_any_other(sprites: ConceptDataModule) -> None:
    """Adam trains it at the full rate. Its gradient is a millionth of the whole, and doubled by a hook."""

    class Small(Drawing):
        kind = "rand"

        def terms(self, batch: Batch) -> Terms:
            terms = super().terms(batch)
            small = next(self.concept_encoder.parameters()).sum() * 1e-6
            if small.requires_grad:
                small.register_hook(lambda gradient: 2 * gradient)
            return Terms(terms.loss + small, terms.parts)

    with pytest.raises(Unstackable, match="gradient of concept_encoder"):
        Stacked(remade(members(sprites, "telbo"), Small)).step(batches(sprites))


def test_the_check_leaves_moving_means_as_they_were(sprites: ConceptDataModule) -> None:
    """It runs each member's networks once more."""
    stacked = Stacked(members(sprites, "jmvae"))
    stacked.step(batches(sprites))
    counts = [value for key, value in stacked.buffers.items() if key.endswith("num_batches_tracked")]
    assert counts
    assert all(int(each.max()) == 1 for each in counts)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda each: setattr(each, "optimizer", torch.optim.SGD(each.parameters(), lr=1e-3)), "SGD"),
        (lambda each: each.optimizer.param_groups[0].update(lr=each.training_seed), "different settings"),
        (lambda each: setattr(each, "training_step", each.training_step), "training_step"),
        (lambda each: each.optimizer.register_step_pre_hook(lambda *_: None), "hook on the step"),
        (lambda each: each.optimizer.register_step_post_hook(lambda *_: None), "hook on the step"),
        (lambda each: torch.optim.lr_scheduler.StepLR(each.optimizer, 1), "hook on the step|not Adam's: initial_lr"),
        (
            lambda each: next(each.parameters()).register_post_accumulate_grad_hook(lambda _: None),
            "hook on the gradient of",
        ),
        (lambda each: next(each.parameters()).register_hook(lambda gradient: gradient), "hook on the gradient of"),
    ],
)
def test_objectives_that_are_trained_otherwise_are_refused(
    sprites: ConceptDataModule, change: Any, reason: str
) -> None:
    found = members(sprites, "telbo")
    for objective in found:
        change(objective)
    with pytest.raises(Unstackable, match=reason):
        Stacked(found)


def test_batches_that_are_not_alike_are_refused(sprites: ConceptDataModule) -> None:
    first, second, third = batches(sprites)
    stacked = Stacked(members(sprites, "telbo"))
    shorter = replace(third, image=third.image[:8], concept=third.concept[:8], index=third.index[:8])
    for other in (shorter, replace(third, unlabelled=True)):
        with pytest.raises(Unstackable, match="not alike"):
            stacked.step([first, second, other])


def test_moments_go_back_as_copies(sprites: ConceptDataModule) -> None:
    stacked = Stacked(members(sprites, "jmvae"))
    for _ in range(2):
        stacked.step(batches(sprites))
    for place, objective in enumerate(stacked.objectives):
        stacked.hand_back(place)
        assert objective.optimizer is not None
        named = dict(Loss(objective).named_parameters())
        for key, own in named.items():
            state = objective.optimizer.state[own]
            assert float(state["step"]) == 2
            moment: Tensor = stacked.optimizer.state[stacked.parameters[key]]["exp_avg"][place]
            assert torch.equal(state["exp_avg"], moment)
            assert state["exp_avg"].is_contiguous()
            assert state["exp_avg"].untyped_storage().nbytes() == moment.numel() * moment.element_size()
