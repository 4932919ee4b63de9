"""Members trained together have the losses, gradients and batch-norm statistics that they have alone."""

from __future__ import annotations

import pytest
import torch
from stacked import Loss, Stacked, together
from torch import Tensor
from torch.distributions import normal

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, datasets, objectives


def noise(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The same for a member as for the objective alone."""
    return torch.linspace(-1, 1, shape.numel(), dtype=dtype, device=device).view(shape)


@pytest.mark.parametrize("name", ["jmvae", "bivcca"])
def test_a_member_is_what_it_is_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normal, "_standard_normal", noise)
    data = datasets.parse({"name": "sprites", "num_images": 200, "canvas": 16}).build()
    data.setup()
    networks = backbones.parse({"name": "rgb_thin", "width": 2, "hidden": 8, "likelihood": "normal",
                                "likelihood_scale": 0.5})  # fmt: skip
    backbone = networks.build(schema=data.schema, image_shape=data.image_shape)

    def build(seed: int) -> Objective:
        built: Objective = objectives.parse(name).build(backbone, seed=seed)
        return built.double().train()

    batches = []
    for seed in range(3):
        batch = data.store.batch(torch.arange(16) + 20 * seed)
        batches.append(Batch(batch.image.double(), batch.concept, batch.index))
    stacked, alone = Stacked([build(seed) for seed in range(3)]), [Loss(build(seed)) for seed in range(3)]
    losses = stacked.losses(*together(batches))
    losses.sum().backward()
    assert len(set(losses.tolist())) == 3
    for place, (loss, batch) in enumerate(zip(alone, batches, strict=True)):
        value = loss(batch.image, batch.concept, batch.index)
        value.backward()
        torch.testing.assert_close(losses[place], value, rtol=1e-12, atol=0)
        for key, parameter in loss.named_parameters():
            found = stacked.parameters[key].grad
            assert found is not None
            torch.testing.assert_close(found[place], parameter.grad, rtol=1e-9, atol=1e-12)
        for key, buffer in loss.named_buffers():
            torch.testing.assert_close(stacked.buffers[key][place], buffer, rtol=1e-12, atol=1e-15)
        assert any("running_mean" in key for key in stacked.buffers)
