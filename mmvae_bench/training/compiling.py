"""Training with compiled code (``torch.compile``): each network for itself, or the loss as a whole.

The LightningModule is not compiled: its hooks break the graph. Nothing stays compiled after training, so that a model
is evaluated with the same code whether it was just trained or loaded from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from ..base.randomness import own_randomness
from ..data.batch import Batch, KnownBatch
from ..objectives.base import Objective, Terms, evaluating


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
    own = vars(objective).get("terms")
    plain: Callable[[Batch], Terms] = objective.terms
    # What was compiled for a training before would decide which sizes are variables in this one, and so its last bits.
    torch.compiler.reset()
    fast = torch.compile(plain, options={"fallback_random": True})
    ready = False

    def terms(batch: Batch) -> Terms:
        nonlocal ready
        if not (objective.training and torch.is_grad_enabled()):
            return plain(batch)
        known = KnownBatch.of(batch)
        if not ready:
            _look_up_divergences(objective, plain, known)
            ready = True
        return fast(known)

    vars(objective)["terms"] = terms
    try:
        # A number that a schedule reads, such as that of the step, would otherwise be a constant of its graph.
        with torch._dynamo.config.patch(allow_unspec_int_on_nn_module=True):
            yield
    finally:
        if own is None:
            del vars(objective)["terms"]
        else:
            vars(objective)["terms"] = own


def _look_up_divergences(objective: Objective, terms: Callable[[Batch], Terms], batch: Batch) -> None:
    """One call that changes nothing: torch keeps which formula a divergence has once it was asked for it.

    The search itself cannot be captured: the first step, and with it the first after a resume, would run other pieces
    of code than those that follow.
    """
    with own_randomness(0, batch.index.device), evaluating(objective), torch.no_grad():
        terms(batch)
