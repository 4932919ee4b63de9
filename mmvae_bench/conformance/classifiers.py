"""What is relied on of an observation classifier, on images made in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..data.batch import Batch
from ..evaluation.classifier import logits_of
from ..evaluation.classifier_training import cross_entropy, new_network
from ..specs.built_in.classifiers import TrainedClassifierSpec
from .worlds import SHAPES, BandsData, BandsSpec, images_at_once

NUM_STEPS = 60


def _world(spec: TrainedClassifierSpec) -> tuple[BandsData, Batch]:
    """The smallest images that it takes, and a batch of them."""
    reasons = []
    for shape in SHAPES:
        data = BandsSpec(shape=shape, num_images=3 * images_at_once(shape)).build()
        assert isinstance(data, BandsData)
        data.setup()
        batch = data.store.batch(torch.arange(images_at_once(shape)))
        try:
            _logits(new_network(spec, data), batch, data)
        except (RuntimeError, ValueError) as error:
            reasons.append(f"{shape}: {error}")
        else:
            return data, batch
    raise AssertionError("it takes no images of these shapes:\n" + "\n".join(reasons))


def _logits(network: nn.Module, batch: Batch, data: BandsData) -> list[Tensor]:
    """Checked: one Float[B, V] per attribute."""
    return logits_of(network, batch.image, batch.concept, data.schema)


def gives_logits_for_each_attribute(spec: TrainedClassifierSpec) -> None:
    """One Float[B, V] per attribute, in the order of the schema; in eval mode those of an image are its own."""
    data, batch = _world(spec)
    network = new_network(spec, data).eval()
    logits = _logits(network, batch, data)
    assert all(bool(part.isfinite().all()) for part in logits), "logits are not finite"
    some = data.store.batch(torch.arange(2))
    for one, other in zip(_logits(network, some, data), logits, strict=True):
        same = torch.allclose(one, other[:2], atol=1e-4)
        assert same, "in eval mode the logits of an image depend on the images beside it"


def same_seed_same_network(spec: TrainedClassifierSpec) -> None:
    """And another seed, other weights: all objectives of a grid have one judge."""
    data, _ = _world(spec)
    again = spec.model_copy(update={"seed": spec.seed + 1})
    first, second, other = (new_network(each, data).state_dict() for each in (spec, spec, again))
    moved = [name for name, value in first.items() if not torch.equal(value, second[name])]
    assert not moved, f"other weights with the same seed: {', '.join(moved[:5])}: draw them by torch"
    assert any(not torch.equal(value, other[name]) for name, value in first.items()), "weights do not depend on seed"


def learns_a_batch(spec: TrainedClassifierSpec) -> None:
    """Its loss on one batch falls at its own learning rate, or at a hundredth of it; gradients reach every weight."""
    data, batch = _world(spec)
    told = []
    for rate in (spec.learning_rate, spec.learning_rate / 100):
        network = new_network(spec, data).train()
        optimiser = torch.optim.AdamW(network.parameters(), lr=rate)
        losses = []
        for step in range(NUM_STEPS):
            torch.manual_seed(step)
            loss = cross_entropy(_logits(network, batch, data), batch.concept)
            losses.append(loss.item())
            optimiser.zero_grad()
            loss.backward()
            if not step:
                missed = [name for name, each in network.named_parameters() if each.grad is None]
                assert not missed, f"the logits do not depend on {', '.join(missed[:5])}"
            optimiser.step()
        if losses[-1] < 0.9 * losses[0]:
            return
        told.append(f"{NUM_STEPS} steps of size {rate:g} on one batch take the loss from {losses[0]:.4g} to "
                    f"{losses[-1]:.4g}")  # fmt: skip
    raise AssertionError("; ".join(told))


CHECKS: list[Callable[[Any], None]] = [gives_logits_for_each_attribute, same_seed_same_network, learns_a_batch]
