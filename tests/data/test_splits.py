"""Splits by a hash, and by concept: whole concepts, their fractions, what is always held out and always seen."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.concepts import Attribute, Schema, compositional_split, satisfies
from mmvae_bench.data.splits import (
    FRACTIONS,
    TEST,
    TRAIN,
    VAL,
    PartitionedDataModule,
    combinations_of,
    compositional_partition,
    observed_partition,
    random_partition,
)
from mmvae_bench.data.store import ByteStore
from mmvae_bench.specs.built_in.datasets import CELEBA18_SCHEMA, MNIST_A_SCHEMA
from mmvae_bench.specs.components import datasets
from mmvae_bench.worlds.attribute_model import celeba_model

SOURCE, REPLICA = torch.arange(70_000).repeat_interleave(10), torch.arange(10).repeat(70_000)


class Assigned(PartitionedDataModule):
    """Six images, divided as it is told."""

    def __init__(self, partition: torch.Tensor) -> None:
        super().__init__(datasets.parse({"name": "sprites", "level": 2}))
        self.given = partition
        concepts = torch.zeros(6, 2, dtype=torch.long)
        self._store = ByteStore([torch.zeros(6, 4, dtype=torch.uint8).numpy()], concepts, image_shape=(1, 2, 2))

    def assign(self, split: str, seed: int) -> torch.Tensor:
        return self.given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            [0, 0, 0, 1, 2, 3],
            r"assign\('iid', 42\) has 3 for 1 images: the numbers are 0 for train, 1 for val",
        ),
        ([0, 0, 0, 1, 2, -1], "has -1 for 1 images"),
        ([0, 0, 0, 1, 2], r"one for each of the 6 images, got torch.int64 of shape \(5,\)"),
        ([0.0, 0.0, 0.0, 1.0, 1.0, 2.0], "must be whole numbers.*got torch.float32"),
        ([True, False, True, True, True, True], "must be whole numbers.*got torch.bool"),
    ],
)
def test_a_split_that_loses_images_is_refused(given: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Assigned(torch.tensor(given)).rows("train")
    assert Assigned(torch.tensor([0, 0, 0, 1, 2, 2])).rows("test").tolist() == [4, 5]


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


HELD_OUT = CELEBA18_SCHEMA.parse("Bald=yes, Male=no")[None]


def rows(num: int, seed: int = 0) -> torch.Tensor:
    import numpy as np

    return torch.from_numpy(celeba_model().sample(np.arange(num), seed=seed)).long()


@given(st.integers(0, 10**6), st.integers(300, 3000))
@settings(max_examples=15, deadline=None)
def test_every_promise_holds(seed: int, num: int) -> None:
    concepts = rows(num)
    partition = observed_partition(CELEBA18_SCHEMA, concepts, held_out=HELD_OUT, seed=seed)
    parts = {
        name: {tuple(concept) for concept in found} for name, found in combinations_of(concepts, partition).items()
    }
    # Whole concepts.
    assert not parts["train"] & parts["val"]
    assert not parts["train"] & parts["test"]
    assert not parts["val"] & parts["test"]
    # The fractions, but for the few concepts that are moved.
    total = sum(map(len, parts.values()))
    assert abs(len(parts["train"]) - 0.85 * total) <= 12
    assert abs(len(parts["val"]) - 0.05 * total) <= 12
    # Bald and not male is never seen in training.
    assert (partition[satisfies(concepts, HELD_OUT)[0]] == TEST).all()
    training = concepts[partition == TRAIN]
    for attribute in range(18):
        occurring = set(concepts[:, attribute].tolist())
        assert set(training[:, attribute].tolist()) == occurring


def test_another_seed_is_another_split_and_the_same_seed_the_same() -> None:
    concepts = rows(2000)
    first, again, other = (
        observed_partition(CELEBA18_SCHEMA, concepts, held_out=HELD_OUT, seed=seed) for seed in (42, 42, 43)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_order_of_images_does_not_matter_and_more_images_move_few_concepts() -> None:
    concepts = rows(4000)
    partition = observed_partition(CELEBA18_SCHEMA, concepts, held_out=HELD_OUT, seed=42)
    order = torch.randperm(len(concepts), generator=torch.Generator().manual_seed(0))
    shuffled = observed_partition(CELEBA18_SCHEMA, concepts[order], held_out=HELD_OUT, seed=42)
    assert torch.equal(shuffled, partition[order])
    fewer = observed_partition(CELEBA18_SCHEMA, concepts[:3000], held_out=HELD_OUT, seed=42)
    assert (fewer == partition[:3000]).double().mean() > 0.9


PAIR = Schema((Attribute("a", ("0", "1")), Attribute("b", ("0", "1", "2", "3", "4", "5"))))


@pytest.mark.parametrize("seed", range(8))
def test_a_value_that_one_concept_has_is_moved_to_training(seed: int) -> None:
    concepts = torch.tensor([[0, b] for b in range(6)])
    partition = observed_partition(PAIR, concepts, held_out=torch.tensor([[1, -1]]), seed=seed)
    # Every concept has a value that no other has, so that all must be seen.
    assert (partition == TRAIN).all()


def test_a_value_that_is_always_held_out_is_an_error() -> None:
    concepts = torch.tensor([[0, b] for b in range(6)] + [[1, 0]])
    with pytest.raises(BenchmarkError, match="every concept with a=1 is held out"):
        observed_partition(PAIR, concepts, held_out=torch.tensor([[1, -1]]), seed=0)


def test_all_three_parts_are_used() -> None:
    partition = observed_partition(CELEBA18_SCHEMA, rows(3000), held_out=HELD_OUT, seed=42)
    assert set(partition.tolist()) == {TRAIN, VAL, TEST}
