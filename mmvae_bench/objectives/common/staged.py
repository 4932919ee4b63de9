"""What objectives share that fit one network to another: frozen calls, sums of terms, partly masked concepts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...concepts import UNSPECIFIED
from ..base import Terms


def frozen_call(network: nn.Module, *inputs: Any) -> Any:
    """``network(*inputs)`` with detached parameters and copied buffers.

    Gradients still flow through to the inputs. Toggling ``requires_grad`` inside a forward pass would do the same at
    the price of state; a functional call keeps the graph of the other passes through the same network intact. The
    buffers are copies because a batch norm in training mode updates the ones it is given even here.
    """
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    return functional_call(network, (parameters, buffers), inputs)


def total(*terms: Terms) -> Terms:
    """The sum of losses with different parts, as a single loss."""
    first, *others = terms
    result = Terms(first.loss, dict(first.parts), dict(first.latents))
    for other in others:
        result.loss = result.loss + other.loss
        result.parts |= other.parts
        result.latents |= other.latents
    return result


def mask_at_random(concept: Tensor, probability: float, *, always: Sequence[int] = ()) -> Tensor:
    """Leaves a random part of some concepts unspecified, using torch's global generator.

    With ``probability`` a concept keeps a uniformly random set of attributes, whose number is uniform from none to all
    but one; otherwise all of it is kept. A distribution q(z|y_O) fitted by ``E log q(z|y_O)`` over such concepts is, at
    the optimum, the aggregate of its target over every example that has the attributes y_O, since the set O is
    independent of the values.

    Args:
        concept: Long[B, A], fully specified.
        probability: Of masking a concept at all.
        always: Positions of attributes that every query specifies, which are never masked.

    Returns:
        Long[B, A], -1 where unspecified.
    """
    if not probability:
        return concept
    num_concepts, num_attributes = concept.shape
    kept = torch.randint(num_attributes, (num_concepts, 1), device=concept.device)
    whole = torch.rand(num_concepts, 1, device=concept.device) >= probability
    ranks = torch.rand(concept.shape, device=concept.device).argsort(-1).argsort(-1)
    masked = concept.masked_fill((ranks >= kept) & ~whole, UNSPECIFIED)
    for position in always:
        masked[:, position] = concept[:, position]
    return masked
