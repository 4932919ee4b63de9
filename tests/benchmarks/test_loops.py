"""The two loops of the benchmarks do the same work, and are timed between the right steps."""

from __future__ import annotations

import pytest
import torch
from loops import StepClock, as_in_training, bare_steps, time_bare, time_fit
from torch.distributions import Distribution

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, objectives
from mmvae_bench.specs.trial import TrainingSpec


def build(data: ConceptDataModule, **parameters: object) -> Objective:
    backbone = backbones.parse({"name": "mnist_a_thin", "width": 1, "hidden": 8, "latent_size": 2})
    built = backbone.build(schema=data.schema, image_shape=data.image_shape)
    return objectives.parse({"name": "telbo", **parameters}).build(built)


def test_the_clock_leaves_the_warm_up_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = StepClock(torch.device("cpu"), warm_up=2, num_steps=5)
    seconds = iter([10.0, 16.0])
    monkeypatch.setattr(StepClock, "_now", lambda self: next(seconds))
    for step in range(6):
        clock.tick(step)
    assert clock.seconds_a_step == 2.0


def test_nothing_to_time_is_an_error(digits: ConceptDataModule) -> None:
    with pytest.raises(RuntimeError, match="ended before step 9"):
        time_bare(build(digits), digits, TrainingSpec(steps=3, batch_size=32), num_steps=9)
    with pytest.raises(ValueError, match="no steps left to time: 3 steps, of which 3 are warm-up"):
        StepClock(torch.device("cpu"), warm_up=3, num_steps=3)
    with pytest.raises(ValueError, match="warm_up must be at least 1"):
        time_fit(build(digits), digits, TrainingSpec(steps=5), warm_up=0)


def test_the_bare_loop_trains_stage_by_stage(digits: ConceptDataModule) -> None:
    objective = build(digits, schedule="two_stage", unimodal_steps=3)
    before = {name: value.clone() for name, value in objective.named_parameters()}
    moved: list[set[str]] = []
    for _ in bare_steps(objective, digits, TrainingSpec(steps=2, batch_size=32)):
        changed = {name for name, value in objective.named_parameters() if not torch.equal(value, before[name])}
        moved.append({name.partition(".")[0] for name in changed})
    assert len(moved) == 5
    assert moved[1] == {"joint_encoder", "image_decoder", "concept_decoder"}
    assert moved[4] == moved[1] | {"image_encoder", "concept_encoder"}


@pytest.mark.parametrize("stop", [3, 6])
def test_both_loops_stop_where_they_are_told(digits: ConceptDataModule, stop: int) -> None:
    training = TrainingSpec(steps=6, batch_size=32, validations=1)
    bare, fitted = build(digits), build(digits)
    assert time_bare(bare, digits, training, warm_up=1, num_steps=stop) > 0
    assert time_fit(fitted, digits, training, warm_up=1, num_steps=stop) > 0
    for objective in (bare, fitted):
        assert objective.optimizer is not None
        state = objective.optimizer.state_dict()["state"]
        assert {int(entry["step"]) for entry in state.values()} == {stop}


def test_the_switches_of_training_are_put_back() -> None:
    validated, threads = Distribution._validate_args, torch.get_num_threads()
    with as_in_training(TrainingSpec(precision="tf32", num_threads=2)):
        assert torch.backends.cudnn.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.get_num_threads() == 2
        assert not Distribution._validate_args
    assert not torch.backends.cuda.matmul.allow_tf32
    assert Distribution._validate_args == validated
    assert torch.get_num_threads() == threads
