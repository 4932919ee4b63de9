"""Calling a network so that no gradient reaches it and none of its buffers moves."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.func import functional_call


def frozen_call(network: nn.Module, *inputs: Any) -> Any:
    """``network(*inputs)`` with detached parameters and copied buffers.

    Gradients still flow through to the inputs. Toggling ``requires_grad`` inside a forward pass would do the same at
    the price of state; a functional call keeps the graph of the other passes through the same network intact. The
    buffers are copies because a batch norm in training mode updates the ones it is given even here.
    """
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    return functional_call(network, (parameters, buffers), inputs)
