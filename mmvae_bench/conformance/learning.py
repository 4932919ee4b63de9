"""What the conformance tests do to an objective, whatever its networks and its view."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.batch import Batch
from ..objectives.base import Objective
from ..specs.trial import TrainingSpec


def losses_on(objective: Objective, batch: Batch, *, steps: int, rate: float) -> dict[str, list[float]]:
    """Trains on one batch, stage by stage: the loss at every step, by stage. Each step has a seed of its own.

    A stage ends early with a loss that is not finite: nan where a distribution refuses what the networks say.
    """
    found: dict[str, list[float]] = {}
    for stage in objective.stages(TrainingSpec(steps=steps)):
        objective.begin_stage(stage)
        objective.train()
        objective.training_spec = TrainingSpec(learning_rate=rate)
        optimizer = objective.configure_optimizers()
        losses = found[stage.name] = []
        for step in range(stage.steps):
            torch.manual_seed(step)
            loss = _loss(objective, batch)
            losses.append(loss.item())
            if not loss.isfinite():
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return found


def _loss(objective: Objective, batch: Batch) -> Tensor:
    try:
        return objective.terms(batch).loss
    except ValueError as error:
        if "to satisfy the constraint" not in str(error):  # What torch's distributions say of wrong parameters.
            raise
        return torch.tensor(torch.nan)


def assert_gradients_reach_what_is_trained(objective: Objective, batch: Batch) -> None:
    """Stage by stage: finite and somewhere not zero for each trained parameter, none for others, buffers untouched."""
    for stage in objective.stages(TrainingSpec(steps=1)):
        objective.begin_stage(stage)
        objective.train()
        frozen = {*objective.network_names} - {*stage.trains}
        buffers = {key: value.clone() for key, value in objective.named_buffers() if key.split(".")[0] in frozen}
        torch.manual_seed(0)
        objective.zero_grad(set_to_none=True)
        objective.terms(batch).loss.backward()
        for key, parameter in objective.named_parameters():
            trained = key.split(".")[0] in stage.trains
            where, grad = f"stage {stage.name}: {key}", parameter.grad
            if not trained:
                assert grad is None, f"{where} is not trained, and gets a gradient"
                continue
            assert grad is not None, f"{where} is trained, and the loss does not depend on it"
            assert bool(grad.isfinite().all()), f"{where} gets a gradient that is not finite"
            assert bool(grad.abs().sum() > 0), f"{where} is trained, and its gradient is zero"
        for key, value in buffers.items():
            moved = not torch.equal(dict(objective.named_buffers())[key], value)
            assert not moved, f"stage {stage.name}: {key} is not trained, and changes"
