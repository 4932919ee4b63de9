"""Where the time of a training step goes: the share of each network, forward and backward.

The backward pass runs outside the code that names the parts. Each of its events carries the sequence number of the
operation that it differentiates, so it is attributed to the part in which that operation ran.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

PREFIX = "part: "
BACKWARD = "autograd::engine::evaluate_function: "
OTHER = "the rest"


@dataclass
class Shares:
    """Time per part, in milliseconds per step.

    Attributes:
        forward: Time in the part itself.
        backward: Time in the gradient of what the part computed.
        kernels: Kernels launched per step; 0 on a CPU.
    """

    forward: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    backward: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    kernels: float = 0.0

    @property
    def total(self) -> float:
        """The time of all parts together."""
        return sum(self.forward.values()) + sum(self.backward.values())

    def parts(self) -> list[str]:
        """The names of the parts, the slowest first."""
        return sorted({*self.forward, *self.backward}, key=lambda name: -self.forward[name] - self.backward[name])


def part(name: str) -> record_function:
    """Attributes what runs inside the block to a named part of :func:`shares`."""
    return record_function(PREFIX + name)


@contextmanager
def named(networks: Mapping[str, nn.Module]) -> Iterator[None]:
    """Inside the block, every call of a network is a part, including calls through ``functional_call``."""
    with ExitStack() as handles:
        for name, network in networks.items():
            for handle in _hooks(name, network):
                handles.callback(handle.remove)
        yield


def shares(step: Callable[[], object], *, num_steps: int, device: torch.device) -> Shares:
    """Profiles ``num_steps`` calls of ``step``: wall time on a CPU, time in kernels on a GPU."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        for _ in range(num_steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    events = [event for event in profiler.events() or () if event.device_type.name == "CPU"]
    found, parts = Shares(), _part_of_operations(events)
    for event in events:
        own = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        name, backward = _part_of(event, parts)
        (found.backward if backward else found.forward)[name] += own / 1e3 / num_steps
        found.kernels += len(event.kernels) / num_steps
    return found


def _part_of_operations(events: list[FunctionEvent]) -> dict[int, str]:
    """The part of the forward operation for each sequence number.

    An operation without a gradient carries the number of the next operation that has one, so the last to start counts.
    """
    found: dict[int, tuple[float, str]] = {}
    for event in events:
        if event.sequence_nr < 0 or _backward_event(event) is not None:
            continue
        name, started = _named_ancestor(event), event.time_range.start
        if started >= found.get(event.sequence_nr, (-1.0, ""))[0]:
            found[event.sequence_nr] = (started, name)
    return {number: name for number, (_, name) in found.items()}


def _part_of(event: FunctionEvent, parts: Mapping[int, str]) -> tuple[str, bool]:
    node = _backward_event(event)
    if node is None:
        return _named_ancestor(event), False
    return parts.get(node.sequence_nr, OTHER), True


def _backward_event(event: FunctionEvent) -> FunctionEvent | None:
    """The node of the backward pass that the event belongs to, if any."""
    return next((item for item in _ancestors(event) if item.name.startswith(BACKWARD)), None)


def _named_ancestor(event: FunctionEvent) -> str:
    names = (item.name.removeprefix(PREFIX) for item in _ancestors(event) if item.name.startswith(PREFIX))
    return next(names, OTHER)


def _ancestors(event: FunctionEvent) -> Iterator[FunctionEvent]:
    current: FunctionEvent | None = event
    while current is not None:
        yield current
        current = current.cpu_parent


def _hooks(name: str, network: nn.Module) -> list[Any]:
    running: list[record_function] = []

    def enter(*_: object) -> None:
        running.append(part(name))
        running[-1].__enter__()

    def leave(*_: object) -> None:
        running.pop().__exit__(None, None, None)

    return [network.register_forward_pre_hook(enter), network.register_forward_hook(leave)]
