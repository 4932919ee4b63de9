"""Seeding torch's generators, cheaply enough for every step, and blocks with a seed of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_generators(seed: int, device: torch.device) -> None:
    """Seeds the CPU's generator, and the one of ``device`` where that is a GPU.

    ``torch.manual_seed`` also queues a call, with the stack as text, for every backend that is not initialised: half
    a millisecond and some kilobytes a step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


@contextmanager
def own_randomness(seed: int | None, device: torch.device) -> Iterator[None]:
    """Inside the block the generators are seeded with ``seed``; afterwards they are as they were.

    With ``seed`` None nothing is done: draws come from the generators as they are.
    """
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_generators(seed, device)
        yield


def seed_from(generator: torch.Generator | None) -> int | None:
    """A seed drawn from ``generator``: torch Distributions take no generator of their own."""
    return None if generator is None else int(torch.randint(2**62, (), generator=generator, device=generator.device))
