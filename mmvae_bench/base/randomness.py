"""Random numbers: counter-based ones, and torch's generators seeded for a step or a block.

A counter-based number is a hash of what it is for, not of what was drawn before. So an image is the same regardless of
the order, the batch or the process in which it is made. The hash is the output function of SplitMix64 (Steele, Lea and
Flood 2014, "Fast splittable pseudorandom number generators", figure 17); a stream is the sequence of that generator.
Integer arithmetic on int64 wraps modulo 2^64 on every device, so the numbers are equal everywhere.

Shapes: B item, K number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# The constants of SplitMix64 as signed 64-bit integers.
GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)


def mix(state: Tensor) -> Tensor:
    """The output of SplitMix64 for a state: a bijection of the 64-bit integers that scatters neighbours.

    Args:
        state: Long[...].

    Returns:
        Long[...].

    >>> hex(mix(torch.tensor(0)).item() % 2**64)
    '0xe220a8397b1dcdaf'
    """
    z = state + GAMMA
    z = (z ^ _shift(z, 30)) * _FIRST
    z = (z ^ _shift(z, 27)) * _SECOND
    return z ^ _shift(z, 31)


def keys(seed: int, *counters: Tensor) -> Tensor:
    """The key of each item: a hash of the seed and of the item's counters, in order.

    Args:
        seed: 63-bit seed of the purpose; see :func:`mmvae_bench.base.seeds.derive_seed`.
        *counters: Long[B] each.

    Returns:
        Long[B].
    """
    key = mix(torch.tensor(seed, dtype=torch.int64, device=counters[0].device))
    for counter in counters:
        key = mix(key + counter)
    return key


def hashes(key: Tensor, num: int) -> Tensor:
    """The first ``num`` numbers of the stream of each key: Long[B] -> Long[B, K]."""
    return mix(key[:, None] + torch.arange(num, device=key.device) * GAMMA)


def uniform(key: Tensor, num: int) -> Tensor:
    """Uniform numbers in the open interval (0, 1), 52 bits each: Long[B] -> Double[B, K].

    >>> u = uniform(keys(0, torch.arange(10_000)), 3)
    >>> bool((u > 0).all() and (u < 1).all()), round(u.mean().item(), 2)
    (True, 0.5)
    """
    return (_shift(hashes(key, num), 12).double() + 0.5) * 2.0**-52


def uniform16(key: Tensor, num: int) -> Tensor:
    """Uniform whole numbers in [-32768, 32767], four from each hash, for draws by the million: Long[B] -> Short[B, K].

    The order of the four in a hash is that of a little-endian machine.
    """
    return hashes(key, (num + 3) // 4).view(torch.int16)[:, :num]


def bits(key: Tensor, grey: Tensor) -> Tensor:
    """Each element of an item as Bernoulli of its grey, in steps of 2^-16: Long[B], Float[B, ...] -> Bool[B, ...].

    >>> bits(keys(0, torch.arange(2)), torch.tensor([[0.0, 1.0], [1.0, 0.0]])).tolist()
    [[False, True], [True, False]]
    """
    draws = uniform16(key, grey[0].numel()).view(grey.shape)
    return draws < (grey * 2**16).round() - 2**15


def _shift(value: Tensor, bits: int) -> Tensor:
    """Logical (not arithmetic) shift to the right."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def seed_generators(seed: int, device: torch.device) -> None:
    """Seeds the CPU's generator, and that of ``device`` if it is a GPU.

    ``torch.manual_seed`` also queues a call, with the stack as text, for every backend that is not initialised: half
    a millisecond and some kilobytes per step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


@contextmanager
def own_randomness(seed: int | None, device: torch.device) -> Iterator[None]:
    """Inside the block the generators are seeded with ``seed``; afterwards their state is restored.

    If ``seed`` is None, nothing is done: draws come from the generators as they are.
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
