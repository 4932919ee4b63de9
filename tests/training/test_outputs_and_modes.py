"""What a training step hands to Lightning's callbacks, and that evaluating leaves no network in another mode."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.objectives.base import Objective, Terms, evaluating
from mmvae_bench.specs.components import backbones, objectives
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.fit import Control, fit, validation_terms


def build(data: ConceptDataModule, name: str = "telbo", **parameters: object) -> Objective:
    spec = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3})
    backbone = spec.build(schema=data.schema, image_shape=data.image_shape)
    objective = objectives.parse({"name": name, **parameters}).build(backbone)
    assert isinstance(objective, Objective)
    return objective


def modes(objective: Objective) -> dict[str, bool]:
    return {name: module.training for name, module in objective.named_modules()}


@pytest.fixture
def second_stage(digits: ConceptDataModule) -> Objective:
    """In training, with the decoders and the joint encoder frozen."""
    objective = build(digits, schedule="two_stage")
    objective.begin_stage(objective.stages(TrainingSpec(steps=1))[1])
    assert {*modes(objective.train()).values()} == {True, False}
    return objective


class Watcher(pl.Callback):
    """Keeps weak references to the terms of every step, and counts those still alive when the next step begins."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.seen: list[weakref.ref[Terms]] = []
        self.tensors: list[weakref.ref[torch.Tensor]] = []
        self.alive: list[int] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.alive.append(sum(reference() is not None for reference in (*self.seen, *self.tensors)))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        terms = outputs["terms"]
        assert isinstance(terms, Terms)
        self.losses.append(terms.loss.item())
        self.seen.append(weakref.ref(terms))
        self.tensors += [weakref.ref(part) for part in terms.parts.values()]


@pytest.mark.parametrize("name", ["telbo", "jmvae", "mvae"])
def test_a_plain_trainer_passes_the_terms_on_and_keeps_none(name: str, digits: ConceptDataModule) -> None:
    """The graph of a step hangs on its terms: none of it may be alive when the next step begins."""
    objective, watcher = build(digits, name), Watcher()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[watcher],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_train_batches=3,
    )
    trainer.fit(objective, train_dataloaders=digits.train_dataloader())
    assert len(watcher.losses) == 3
    assert all(torch.isfinite(torch.tensor(watcher.losses)))
    assert watcher.alive == [0, 0, 0]


def test_fit_keeps_no_terms_from_one_step_to_the_next(
    digits: ConceptDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, seen, alive = build(digits), list[weakref.ref[Terms]](), list[int]()
    original = objective.terms

    def terms(batch: Any) -> Terms:
        if objective.training:
            alive.append(sum(reference() is not None for reference in seen))
        result = original(batch)
        if objective.training:
            seen.append(weakref.ref(result))
        return result

    monkeypatch.setattr(objective, "terms", terms)
    fit(objective, digits, TrainingSpec(steps=6, batch_size=16, validations=2), key="k", seed=0)
    assert alive == [0] * 6


def test_evaluating_restores_every_mode(second_stage: Objective) -> None:
    before = modes(second_stage)
    with evaluating(second_stage):
        assert not any(modes(second_stage).values())
        with evaluating(second_stage):
            pass
        assert not any(modes(second_stage).values())
    assert modes(second_stage) == before


def test_evaluating_restores_every_mode_after_an_error(second_stage: Objective) -> None:
    before = modes(second_stage)
    with pytest.raises(ZeroDivisionError), evaluating(second_stage):
        raise ZeroDivisionError
    assert modes(second_stage) == before


def test_evaluating_leaves_a_model_in_eval_mode_there(digits: ConceptDataModule) -> None:
    objective = build(digits).eval()
    with evaluating(objective):
        pass
    assert not any(modes(objective).values())


def test_an_error_in_validation_does_not_leave_eval_mode_behind(
    second_stage: Objective, digits: ConceptDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = modes(second_stage)

    def fails(batch: object) -> Terms:
        assert not second_stage.training
        raise ZeroDivisionError

    monkeypatch.setattr(second_stage, "terms", fails)
    with pytest.raises(ZeroDivisionError):
        validation_terms(second_stage, digits)
    assert modes(second_stage) == before


@pytest.mark.parametrize("question", ["imagine", "describe", "reconstruct"])
def test_an_error_in_a_question_does_not_leave_eval_mode_behind(
    question: str, second_stage: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = modes(second_stage)

    def fails(*_: object) -> None:
        assert not second_stage.training
        raise ZeroDivisionError

    monkeypatch.setattr(second_stage, "_network", fails)
    given = torch.tensor([1, 0, 0, 0]) if question == "imagine" else torch.zeros(1, *second_stage.image_shape)
    with pytest.raises(ZeroDivisionError):
        getattr(second_stage, question)(given)
    assert modes(second_stage) == before


def test_a_point_of_the_score_curve_sees_eval_mode_and_leaves_the_stage_as_it_was(digits: ConceptDataModule) -> None:
    objective, found = build(digits, schedule="two_stage"), list[tuple[bool, bool]]()
    original = objective.training_step

    def step(batch: Any, batch_idx: int) -> Any:
        found.append((objective.image_encoder.training, objective.image_decoder.training))
        return original(batch, batch_idx)

    def score(model: Objective) -> list[dict[str, Any]]:
        assert not any(modes(model).values())
        return []

    objective.training_step = step  # type: ignore[method-assign]
    training = TrainingSpec(steps=3, batch_size=16, validations=1)
    fit(objective, digits, training, key="k", seed=0, control=Control(score=score, num_scores=6))
    assert found == [(False, True)] * 3 + [(True, False)] * 3
