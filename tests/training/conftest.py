"""Small trainings that can be stopped at any step."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmvae_bench.base.processes import StopSignals
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, objectives
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.fit import Control, Fitted, TrainingInterrupted, fit

Run = Callable[..., tuple[Objective, Fitted | None]]


@pytest.fixture
def run(digits: ConceptDataModule, tmp_path: Path) -> Run:
    """Trains an objective, on the digits unless there are other ``data``. It stops after ``stop_after`` steps of this
    call where that is given.

    With ``signal_after`` SIGTERM comes in that step, just after the loop has asked whether to stop. It is caught as
    ``run_trial`` catches it.
    """

    def train(
        name: str = "telbo",
        *,
        data: ConceptDataModule = digits,
        steps: int = 20,
        stop_after: int | None = None,
        signal_after: int | None = None,
        seed: int = 0,
        folder: str | None = None,
        learning_rate: float = 1e-3,
        supervision: object = None,
        missing_images: object = None,
        **parameters: object,
    ) -> tuple[Objective, Fitted | None]:
        backbone = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3})
        built = backbone.build(schema=data.schema, image_shape=data.image_shape)
        objective = objectives.parse({"name": name, **parameters}).build(built, seed=seed)
        training = TrainingSpec.parse(
            {"steps": steps, "batch_size": 32, "learning_rate": learning_rate, "validations": 4,
             "supervision": supervision, "missing_images": missing_images}
        )  # fmt: skip
        asked = 0

        def stop() -> bool:
            nonlocal asked
            asked += 1
            requested = signals.requested()
            if asked == signal_after:
                os.kill(os.getpid(), signal.SIGTERM)
            return requested or (stop_after is not None and asked >= stop_after)

        control = Control(stop=stop)
        if folder is not None:
            control.checkpoint, control.log = tmp_path / folder / "last.ckpt", tmp_path / folder / "log.jsonl"
        with StopSignals(signal.SIGTERM) as signals, suppress(TrainingInterrupted):
            return objective, fit(objective, data, training, key="k", seed=seed, control=control)
        return objective, None

    return train


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
