"""Training on changed images: what a step sees, exact resume, and what sees images as they are."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective, Terms
from mmvae_bench.objectives.discvae import DisCVAE
from mmvae_bench.objectives.ssvae import SSVAE
from mmvae_bench.specs.components import backbones, datasets, objectives
from mmvae_bench.specs.trial import TrainingSpec, TrialSpec
from mmvae_bench.training.fit import Control, TrainingInterrupted, fit
from mmvae_bench.training.rehearsal import rehearse

from .conftest import same

THIN: dict[str, Any] = {"name": "attribute2image_thin", "width": 2, "latent_size": 4}
ANEW = {"flip": 0, "gain": 0, "sharpening": 0, "binarise": True}
CHANGED = {"flip": 0.5, "gain": 0.03, "sharpening": 1.5, "rotation": 0.08}


@pytest.fixture(scope="module")
def sprites() -> Any:
    data = datasets.parse({"name": "sprites", "level": 1, "canvas": 16, "num_images": 120}).build()
    data.setup()
    return data


def trained(
    data: Any,
    folder: Path | None = None,
    *,
    stop_after: int | None = None,
    name: str = "discvae",
    networks: dict[str, Any] = THIN,
    **settings: Any,
) -> Objective:
    backbone = backbones.parse(networks)
    objective = objectives.parse(name).build(backbone.build(schema=data.schema, image_shape=data.image_shape))
    training = TrainingSpec.parse({"steps": 6, "batch_size": 32, "validations": 2} | settings)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return stop_after is not None and asked >= stop_after

    control = Control(stop=stop, checkpoint=None if folder is None else folder / "last.ckpt")
    with suppress(TrainingInterrupted):
        fit(objective, data, training, key="k", seed=0, control=control)
    return objective


@pytest.mark.parametrize("more", [{}, {"supervision": {"fraction": 0.5, "rate": 0.5}}], ids=["all", "few_labels"])
def test_stopped_and_resumed_is_bitwise_uninterrupted(more: dict[str, Any], sprites: Any, tmp_path: Path) -> None:
    name = "vae" if more else "discvae"
    whole = trained(sprites, augmentation=CHANGED, name=name, **more)
    plain = trained(sprites, name=name, **more)
    assert not same(plain.state_dict(), whole.state_dict())
    for _ in range(3):
        resumed = trained(sprites, tmp_path, stop_after=2, augmentation=CHANGED, name=name, **more)
    assert same(resumed.state_dict(), whole.state_dict())


def test_only_steps_see_changed_images(sprites: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the layers of a mirrored image are its mirrored layers: a step sees what Eq. 7 scores, image and mask."""
    seen: list[tuple[bool, Batch]] = []
    terms = DisCVAE.terms

    def noted(self: DisCVAE, batch: Batch) -> Terms:
        seen.append((self.training, batch))
        return terms(self, batch)

    monkeypatch.setattr(DisCVAE, "terms", noted)
    trained(sprites, augmentation={"flip": 0.5, "gain": 0, "sharpening": 0})
    mirrored = 0
    for in_training, batch in seen:
        stored = sprites.store.batch(batch.index)
        if not in_training:
            assert torch.equal(batch.image, stored.image)
            continue
        assert batch.mask is not None
        for image, mask, real, inside in zip(batch.image, batch.mask, stored.image, stored.mask, strict=True):
            turned = not torch.equal(image, real)
            mirrored += turned
            assert torch.equal(image, real.flip(-1) if turned else real)
            assert torch.equal(mask, inside.flip(-1) if turned else inside)
    assert 60 < mirrored < 132  # Of 192, half of them but for the few that are symmetric.
    assert {in_training for in_training, _ in seen} == {True, False}


def test_a_rehearsal_makes_its_step_on_changed_images() -> None:
    plain = {
        "dataset": {"name": "celeba18", "size": 16},
        "backbone": {"name": "attribute2image_thin", "width": 2, "latent_size": 4},
        "objective": "discvae",
        "training": {"augmentation": CHANGED},
    }
    assert rehearse(TrialSpec.parse(plain)) is None


def test_a_rehearsal_draws_its_pixels_anew() -> None:
    """It has no digits, and a trial whose rehearsal fails is never trained."""
    spec = {
        "dataset": {"name": "mnist", "canvas": 16},
        "backbone": {"name": "mlp", "hidden": 8, "latent_size": 2},
        "objective": "ssvae",
        "training": {"augmentation": ANEW, "supervision": {"labels_per_class": 2, "by_seed": True}},
    }
    assert rehearse(TrialSpec.parse(spec)) is None


@pytest.fixture(scope="module")
def digits() -> Any:
    data = datasets.parse({"name": "mnist", "canvas": 16, "num_images": 200}).build()
    data.prepare_data()
    data.setup()
    return data


def test_only_steps_see_pixels_drawn_anew(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, Batch]] = []
    terms = SSVAE.terms

    def noted(self: SSVAE, batch: Batch) -> Terms:
        seen.append((self.training, batch))
        return terms(self, batch)

    monkeypatch.setattr(SSVAE, "terms", noted)
    few = {"supervision": {"labels_per_class": 2, "rate": 0.5}}
    trained(digits, name="ssvae", networks={"name": "mlp", "hidden": 8, "latent_size": 2}, augmentation=ANEW, **few)
    kinds = set()
    for in_training, batch in seen:
        stored, grey = digits.store.batch(batch.index).image, digits.greys(batch).image
        assert torch.equal(batch.image, stored) != in_training
        assert bool((batch.image[grey == 0] == 0).all())
        assert bool((batch.image[grey == 1] == 1).all())
        kinds.add((in_training, batch.unlabelled))
    assert kinds == {(True, True), (True, False), (False, False)}


def test_a_run_on_pixels_drawn_anew_is_resumed_bit_by_bit(digits: Any, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"name": "vae", "networks": {"name": "mlp", "hidden": 8, "latent_size": 2}}
    whole = trained(digits, augmentation=ANEW, **settings)
    assert not same(trained(digits, **settings).state_dict(), whole.state_dict())
    for _ in range(3):
        resumed = trained(digits, tmp_path, stop_after=2, augmentation=ANEW, **settings)
    assert same(resumed.state_dict(), whole.state_dict())
