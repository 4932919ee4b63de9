"""Training with compiled code (``torch.compile``): each network for itself, or the loss as a whole.

The LightningModule is not compiled: its hooks break the graph. Nothing stays compiled after training, so that a model
is evaluated with the same code whether it was just trained or loaded from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from ..data.batch import Batch, KnownBatch
from ..objectives.base import Objective, Terms


@contextmanager
def compiled(objective: Objective, *, what: bool | Literal["loss"]) -> Iterator[None]:
    """Compiles inside the block, and leaves the objective as it was.

    Args:
        objective: What is trained.
        what: True: its networks, in training and in validation. ``loss``: networks, distributions and all that is
            between them, in training steps; what cannot be captured in a graph runs as ever between two of them. What
            is drawn stays what it is without: random numbers come from torch's generators. False: nothing.
    """
    if what == "loss":
        with _loss_compiled(objective):
            yield
    else:
        with _networks_compiled([getattr(objective, name) for name in objective.network_names] if what else []):
            yield


@contextmanager
def _networks_compiled(networks: list[Any]) -> Iterator[None]:
    for network in networks:
        network.compile()
    try:
        yield
    finally:
        for network in networks:
            # What nn.Module.compile sets; torch has no public way to undo it.
            network._compiled_call_impl = None


@contextmanager
def _loss_compiled(objective: Objective) -> Iterator[None]:
    plain: Callable[[Batch], Terms] = objective.terms
    # One graph for each kind of batch; sizes are not made variables, since a kind of batch has one size.
    fast = torch.compile(plain, options={"fallback_random": True})

    def terms(batch: Batch) -> Terms:
        if not (objective.training and torch.is_grad_enabled()):
            return plain(batch)
        return fast(KnownBatch.of(batch))

    vars(objective)["terms"] = terms
    try:
        # A number that a schedule reads, such as that of the step, would otherwise be a constant of its graph.
        with torch._dynamo.config.patch(allow_unspec_int_on_nn_module=True):
            yield
    finally:
        del vars(objective)["terms"]
