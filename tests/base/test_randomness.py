from __future__ import annotations

import scipy.stats
import torch

from mmvae_bench.base.randomness import hashes, keys, mix, uniform, uniform16


def splitmix64(seed: int, num: int) -> list[int]:
    """The generator as its authors publish it, on Python's integers."""
    state, numbers, mask = seed, [], 2**64 - 1
    for _ in range(num):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        numbers.append(z ^ (z >> 31))
    return numbers


def test_a_stream_is_that_of_splitmix64() -> None:
    seeds = [0, 1, 1234567, 2**63 - 1]
    found = hashes(torch.tensor(seeds), 50)
    assert [[number % 2**64 for number in row] for row in found.tolist()] == [splitmix64(seed, 50) for seed in seeds]


def test_published_value() -> None:
    assert mix(torch.tensor(1234567)).item() % 2**64 == 6457827717110365317


def test_keys_of_the_full_dataset_are_distinct_and_depend_on_every_part() -> None:
    source, replica = torch.arange(70_000).repeat_interleave(10), torch.arange(10).repeat(70_000)
    key = keys(0, source, replica)
    assert len(key.unique()) == 700_000
    assert not (key == keys(1, source, replica)).any()
    assert not (key[:700] == keys(0, replica[:700], source[:700])).all()


def test_uniform_numbers_are_uniform_and_independent() -> None:
    u = uniform(keys(3, torch.arange(40_000)), 7)
    for stream in u.unbind(1):
        assert scipy.stats.kstest(stream.numpy(), "uniform").pvalue > 1e-3
    between_streams = torch.corrcoef(u.T) - torch.eye(7)
    between_items = torch.corrcoef(torch.stack([u[1:, 0], u[:-1, 0]]))[0, 1]
    assert max(between_streams.abs().max(), between_items.abs()) < 5 / 40_000**0.5


def unmix(output: int) -> int:
    """The signed state whose hash is ``output``: mix is a bijection."""

    def unshift(value: int, bits: int) -> int:
        result = value
        for _ in range(64 // bits):
            result = value ^ (result >> bits)
        return result

    z = unshift(output, 31) * pow(0x94D049BB133111EB, -1, 2**64) % 2**64
    z = unshift(z, 27) * pow(0xBF58476D1CE4E5B9, -1, 2**64) % 2**64
    state = (unshift(z, 30) - 0x9E3779B97F4A7C15) % 2**64
    return state - 2**64 if state >= 2**63 else state


def test_uniform_numbers_stay_in_the_open_interval_at_the_ends_of_the_hash() -> None:
    lowest, highest = uniform(torch.tensor([unmix(0), unmix(2**64 - 1)]), 1)[:, 0].tolist()
    assert lowest == 2.0**-53
    assert highest == 1 - 2.0**-53 < 1


def test_short_numbers_are_uniform_in_each_of_the_four_places() -> None:
    u = uniform16(keys(5, torch.arange(20_000)), 6)
    assert u.shape == (20_000, 6)
    for place in u.unbind(1):
        cells = (place.int() + 2**15).div(2**10, rounding_mode="floor").bincount(minlength=64)
        assert scipy.stats.chisquare(cells.numpy()).pvalue > 1e-3
    assert (torch.corrcoef(u.T.double()) - torch.eye(6)).abs().max() < 5 / 20_000**0.5
