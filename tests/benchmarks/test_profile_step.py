"""The account of a step: every moment is counted once, and being watched changes nothing."""

from __future__ import annotations

import pytest
import torch
from profile_step import BETWEEN, LOOP, Account, account_of, table, watched

from mmvae_bench.data.base import ConceptDataModule, ResidentLoader
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, objectives
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.fit import fit

TRAINING = TrainingSpec(steps=6, batch_size=32, validations=1)


def build(data: ConceptDataModule) -> Objective:
    backbone = backbones.parse({"name": "mnist_a_thin", "width": 1, "hidden": 8, "latent_size": 2})
    objective: Objective = objectives.parse("telbo").build(
        backbone.build(schema=data.schema, image_shape=data.image_shape)
    )
    return objective


def test_a_part_inside_another_is_counted_once() -> None:
    seconds = iter([0.0, 1.0, 3.0, 7.0, 15.0])
    account = Account(torch.device("cpu"), now=lambda: next(seconds))
    account.timed("outer", account.timed("inner", lambda: None))()
    assert account.seconds == {LOOP: 1.0, "outer": 2.0 + 8.0, "inner": 4.0}


def test_a_part_that_fails_has_ended() -> None:
    account = Account(torch.device("cpu"))
    with pytest.raises(ZeroDivisionError):
        account.timed("part", lambda: 1 / 0)()
    assert account.running == [LOOP]


def test_every_part_of_a_step_is_there_and_the_weights_are_as_unwatched(digits: ConceptDataModule) -> None:
    objective, unwatched = build(digits), build(digits)
    step, batches = torch.optim.Adam.step, ResidentLoader.__iter__
    found = account_of(objective, digits, TRAINING, warm_up=1, num_steps=6)
    assert torch.optim.Adam.step is step
    assert ResidentLoader.__iter__ is batches
    assert "training_step" not in vars(objective)
    fit(unwatched, digits, TRAINING, key="k", seed=0)
    mine, theirs = objective.state_dict(), unwatched.state_dict()
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
    networks = {f"forward: {name.replace('_', ' ')}" for name in objective.network_names}
    parts = {"data", "seeds", "loss, divergences", "backward", "optimiser", "check of the loss", "logging", "status"}
    assert found.keys() >= networks | parts | {"validation", BETWEEN, LOOP}
    assert all(milliseconds > 0 for milliseconds in found.values())
    assert table(found, "telbo").splitlines()[-1].startswith("| together |")


def test_nothing_is_left_of_the_watch_after_an_error(digits: ConceptDataModule) -> None:
    objective, account = build(digits), Account(torch.device("cpu"))
    before = objective.image_encoder._forward_hooks.copy()
    with pytest.raises(ZeroDivisionError), watched(objective, account):
        raise ZeroDivisionError
    assert objective.image_encoder._forward_hooks == before
