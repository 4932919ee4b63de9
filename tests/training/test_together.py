"""Objectives trained together come to what each comes to alone, and each can be resumed alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, objectives
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training import fit as module
from mmvae_bench.training.checkpoint import Checkpoint
from mmvae_bench.training.fit import Control, Fitting, TrainingInterrupted, fit
from mmvae_bench.training.stacked import Unstackable
from mmvae_bench.training.together import fit_together

SEEDS = (0, 1, 2)
TOLERANCE = 1e-4
"""Of weights after some dozen steps in float32, relative to their norm."""
Begin = Callable[..., list[Fitting]]


@pytest.fixture
def begin(digits: ConceptDataModule, tmp_path: Path) -> Begin:
    """Objectives of three seeds, begun in folders of their own where a name is given."""

    def begun(
        name: str = "telbo",
        *,
        folder: str | None = "x",
        seeds: Sequence[int] = SEEDS,
        stop: Callable[[], bool] = lambda: False,
        training: dict[str, Any] | None = None,
        **parameters: object,
    ) -> list[Fitting]:
        backbone = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3})
        built = backbone.build(schema=digits.schema, image_shape=digits.image_shape)
        settings = {"steps": 12, "batch_size": 16, "validations": 2, **(training or {})}
        found = []
        for seed in seeds:
            control = Control(stop=stop)
            if folder is not None:
                directory = tmp_path / folder / str(seed)
                directory.mkdir(parents=True, exist_ok=True)
                control.checkpoint, control.log = directory / "last.ckpt", directory / "log.jsonl"
            objective = objectives.parse({"name": name, **parameters}).build(built, seed=seed)
            found.append(
                Fitting.begin(
                    objective,
                    digits,
                    TrainingSpec.parse(settings),
                    key="k",
                    seed=seed,
                    device=torch.device("cpu"),
                    control=control,
                    together=len(seeds),
                )
            )
        return found

    return begun


def alone(fitting: Fitting) -> Objective:
    """Trains one to its end, from where it is saved."""
    seed = fitting.objective.training_seed
    fit(fitting.objective, fitting.data, fitting.training, key="k", seed=seed, control=fitting.control)
    return fitting.objective


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """The largest, over tensors, of the distance relative to the norm."""
    assert first.keys() == second.keys()
    return max(
        float((first[name].double() - second[name].double()).norm() / (1e-9 + second[name].double().norm()))
        for name in second
    )


def saved(fitting: Fitting) -> Checkpoint:
    assert fitting.control.checkpoint is not None
    return Checkpoint.load(fitting.control.checkpoint, key="k")


def counter(limit: int) -> Callable[[], bool]:
    """Says to stop from its ``limit``-th call on."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= limit

    return stop


@pytest.mark.parametrize(
    ("name", "parameters", "training"),
    [
        ("telbo", {}, {}),
        ("cvae", {"prior": "conditional"}, {}),
        ("mvae", {"modalities": "two"}, {"missing_images": {"fraction": 0.5}}),
        ("scan", {}, {"budget": "total", "steps": 15}),
        ("jnf", {}, {"budget": "total", "steps": 15}),
        ("ssvae", {"alpha": 50}, {"supervision": {"fraction": 0.2, "rate": 0.5, "by_seed": True}}),
    ],
)
def test_each_comes_to_what_it_comes_to_alone(
    begin: Begin, name: str, parameters: dict[str, Any], training: dict[str, Any]
) -> None:
    together, single = (begin(name, folder=folder, training=training, **parameters) for folder in "ab")
    fit_together(together)
    found = [saved(fitting) for fitting in together]
    assert distance(found[0].weights, found[1].weights) > 0.1
    for fitting, state in zip(single, found, strict=True):
        expected = alone(fitting)
        assert distance(state.weights, expected.state_dict()) < TOLERANCE
        steps = [(record["stage"], record["step"]) for record in state.history]
        assert steps == [(record["stage"], record["step"]) for record in saved(fitting).history]
        for record, other in zip(state.history, saved(fitting).history, strict=True):
            assert record["elbo"] == pytest.approx(other["elbo"], rel=TOLERANCE)
        assert fitting.control.checkpoint is not None
        other = fitting.control.checkpoint
        mine = other.parents[2] / "a" / other.parent.name / other.name
        assert mine.stat().st_size == pytest.approx(other.stat().st_size, rel=0.05, abs=2000)
    assert any("running_mean" in key for key in found[0].weights) or name == "ssvae"


def test_the_log_has_the_same_records(begin: Begin) -> None:
    together, single = begin(folder="a"), begin(folder="b")
    fit_together(together)
    for one, other in zip(together, single, strict=True):
        alone(other)
        assert one.control.log is not None
        assert other.control.log is not None
        logs = (one.control.log, other.control.log)
        first, second = ([json.loads(line) for line in log.read_text().splitlines()] for log in logs)
        assert [(each["event"], each["step"]) for each in first] == [(each["event"], each["step"]) for each in second]
        losses = [(a["loss"], b["loss"]) for a, b in zip(first, second, strict=True) if a["event"] == "train"]
        assert losses
        for found, expected in losses:
            assert found == pytest.approx(expected, rel=TOLERANCE)


def test_a_resume_together_and_a_resume_alone(begin: Begin) -> None:
    """In the second stage, with moments: stopped there, gone on together, stopped again, gone on alone."""
    settings = {"steps": 6}
    single = begin("scan", folder="b", training=settings)
    with pytest.raises(TrainingInterrupted):
        fit_together(begin("scan", training=settings, stop=counter(3 * 8)))
    halfway = [saved(each) for each in begin("scan", training=settings)]
    assert len({(state.stage, state.step) for state in halfway}) == 1
    assert halfway[0].stage == 1
    assert halfway[0].optimizer is not None
    with pytest.raises(TrainingInterrupted):
        fit_together(begin("scan", training=settings, stop=counter(3 * 3)))
    later = begin("scan", training=settings)
    assert (later[0].state.stage, later[0].state.step) > (halfway[0].stage, halfway[0].step)
    for fitting, other in zip(later, single, strict=True):
        assert distance(alone(fitting).state_dict(), alone(other).state_dict()) < TOLERANCE


def test_one_process_stopped_in_its_second_stage_and_then_each_alone(begin: Begin) -> None:
    """The weights were stacked twice there, in an order in memory that a new objective does not have."""
    settings = {"steps": 6}
    single = begin("scan", folder="b", training=settings)
    with pytest.raises(TrainingInterrupted):
        fit_together(begin("scan", training=settings, stop=counter(3 * 8)))
    later = begin("scan", training=settings)
    assert later[0].state.stage == 1
    assert later[0].state.step
    for fitting, other in zip(later, single, strict=True):
        assert distance(alone(fitting).state_dict(), alone(other).state_dict()) < TOLERANCE


def test_time_that_one_of_them_is_scored_in_is_training_of_none(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def score(_: object) -> list[dict[str, Any]]:
        nonlocal now
        now += 50
        return []

    monkeypatch.setattr(module.time, "process_time", lambda: now)
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    fittings = begin()
    for fitting in fittings:
        fitting.control.score, fitting.control.num_scores = score, 3
    fit_together(fittings)
    assert now == 3 * 3 * 50
    for fitting in fittings:
        state = saved(fitting)
        assert state.seconds == state.origin["segments"][0]["processor_seconds"] == 0


def test_those_that_are_behind_catch_up_alone(begin: Begin) -> None:
    single = begin(folder="b")
    for seed, steps in zip(SEEDS, (7, 2, 5), strict=True):
        (one,) = begin(seeds=[seed], stop=counter(steps))
        with pytest.raises(TrainingInterrupted):
            alone(one)
    fittings = begin()
    assert [fitting.state.step for fitting in fittings] == [7, 2, 5]
    fit_together(fittings)
    for fitting, other in zip(fittings, single, strict=True):
        assert distance(saved(fitting).weights, alone(other).state_dict()) < TOLERANCE


def test_what_is_recorded_of_the_machine(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member's processor time is its share: here the process takes three seconds for a step of all."""
    now = 0.0

    def clock() -> float:
        return now

    step = module.Objective.seed_step

    def timed(self: Objective) -> None:
        nonlocal now
        now += 1
        step(self)

    monkeypatch.setattr(module.time, "process_time", clock)
    monkeypatch.setattr(module.Objective, "seed_step", timed)
    fittings = begin()
    fit_together(fittings)
    for fitting in fittings:
        origin = saved(fitting).origin
        assert origin["together"] == origin["segments"][0]["together"] == 3
        # Two more each at the first, second, fourth and eighth step, which are checked.
        assert origin["segments"][0]["processor_seconds"] == pytest.approx(12 + 2 * 4)
    (one,) = begin(folder="b", seeds=[0])
    alone(one)
    assert "together" not in saved(one).origin


def test_one_whose_loss_breaks_leaves_the_others_as_they_are(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    single = begin(folder="b", seeds=(0, 2))
    update = module.FiniteWatch.update
    fittings = begin()

    def breaking(self: module.FiniteWatch, step: int, terms: Any) -> None:
        broken = fittings[1].objective
        if step == 6 and broken.step_done == 7 and self is watches[1]:
            raise module.FiniteWatch.error(self, step, ["log_px"])
        update(self, step, terms)

    watches: list[module.FiniteWatch] = []
    make = module.FiniteWatch.__init__

    def made(self: module.FiniteWatch, stage: str) -> None:
        make(self, stage)
        watches.append(self)

    monkeypatch.setattr(module.FiniteWatch, "__init__", made)
    monkeypatch.setattr(module.FiniteWatch, "update", breaking)
    fit_together(fittings)
    monkeypatch.undo()
    for fitting, other in zip((fittings[0], fittings[2]), single, strict=True):
        assert saved(fitting).stage == 1
        assert distance(saved(fitting).weights, alone(other).state_dict()) < TOLERANCE
    assert fittings[1].control.checkpoint is not None
    assert not fittings[1].control.checkpoint.exists()


@pytest.mark.parametrize(
    ("name", "parameters", "training", "reason"),
    [
        # A hook on the gradient of z, which the mapping passes over.
        ("mmvae", {"bound": "iwae", "num_samples": 2}, {}, "gradient of .* is not what it is alone"),
        # Which subsets count is drawn, and looked at.
        ("mvae", {"modalities": "per_attribute"}, {}, "the loss cannot be mapped"),
        ("meme", {"num_samples": 2}, {}, "the loss cannot be mapped"),
        ("telbo", {}, {"precision": "bfloat16"}, "bfloat16"),
        ("telbo", {}, {"compile": True}, "compile"),
    ],
)
def test_what_cannot_be_trained_together_is_left_as_it_was(
    begin: Begin, name: str, parameters: dict[str, Any], training: dict[str, Any], reason: str
) -> None:
    fittings = begin(name, training=training, **parameters)
    before = [{key: value.clone() for key, value in each.objective.state_dict().items()} for each in fittings]
    with pytest.raises(Unstackable, match=reason):
        fit_together(fittings)
    for fitting, state in zip(fittings, before, strict=True):
        parameters_now = dict(fitting.objective.named_parameters())
        assert all(torch.equal(value, state[key]) for key, value in parameters_now.items())
        assert fitting.control.checkpoint is not None
        assert not fitting.control.checkpoint.exists()
