from __future__ import annotations

import pytest
import torch

from mmvae_bench.concepts import compositional_split
from mmvae_bench.data.splits import FRACTIONS, compositional_partition, random_partition
from mmvae_bench.specs.built_in.datasets import MNIST_A_SCHEMA

SOURCE, REPLICA = torch.arange(70_000).repeat_interleave(10), torch.arange(10).repeat(70_000)


@pytest.mark.parametrize("seed", [42, 0])
def test_iid_sizes_of_the_full_dataset(seed: int) -> None:
    sizes = random_partition(SOURCE, REPLICA, seed=seed).bincount().tolist()
    for size, expected in zip(sizes, (595_000, 35_000, 70_000), strict=True):
        assert abs(size / expected - 1) < 0.02


def test_iid_divides_the_replicas_of_a_digit() -> None:
    partition = random_partition(SOURCE, REPLICA, seed=42).view(-1, 10)
    mixed = (partition != partition[:, :1]).any(1).double().mean()
    expected = 1 - sum(fraction**10 for fraction in FRACTIONS)
    assert mixed == pytest.approx(expected, abs=0.01)


def test_iid_disjoint_keeps_the_replicas_of_a_digit_together() -> None:
    partition = random_partition(SOURCE, seed=42).view(-1, 10)
    assert (partition == partition[:, :1]).all()
    sizes = partition[:, 0].bincount().double() / 70_000
    torch.testing.assert_close(sizes, torch.tensor(FRACTIONS).double(), rtol=0.05, atol=0)


def test_an_image_stays_where_it_is_when_others_are_added() -> None:
    few = SOURCE < 500
    assert torch.equal(
        random_partition(SOURCE[few], REPLICA[few], seed=1), random_partition(SOURCE, REPLICA, seed=1)[few]
    )


def test_compositional_partition_is_the_split_of_the_concept() -> None:
    combinations = MNIST_A_SCHEMA.combinations()
    partition = compositional_partition(MNIST_A_SCHEMA, combinations, seed=42)
    split = compositional_split(MNIST_A_SCHEMA, seed=42)
    for index, (name, size) in enumerate({"train": 204, "val": 12, "test": 24}.items()):
        found = {tuple(concept) for concept in combinations[partition == index].tolist()}
        assert found == {tuple(concept) for concept in split[name].tolist()}
        assert len(found) == size
