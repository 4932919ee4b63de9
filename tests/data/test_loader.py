"""The order of training batches: a resumed run sees what an uninterrupted one would have seen."""

from __future__ import annotations

from itertools import chain

import pytest
import torch

from mmvae_bench.data.base import OrderedBatches, ResidentLoader
from mmvae_bench.data.store import BitStore

NUM, BATCH = 50, 8
PER_EPOCH = NUM // BATCH


@pytest.fixture(scope="module")
def store() -> BitStore:
    packed = torch.randint(0, 256, (100, 2), generator=torch.Generator().manual_seed(0)).byte()
    return BitStore(packed, torch.arange(100)[:, None], image_shape=(1, 4, 4))


def order(
    store: BitStore, *, start: int = 0, stop: int = 4 * PER_EPOCH, seed: int = 0, stage: str = "fit"
) -> list[list[int]]:
    loader = ResidentLoader(
        store, torch.arange(20, 20 + NUM), batch_size=BATCH, seed=seed, stage=stage, start=start, stop=stop
    )
    batches = list(loader)
    assert len(batches) == len(loader)
    for batch in batches:
        assert torch.equal(batch.image, store.batch(batch.index).image)
    return [batch.index.tolist() for batch in batches]


@pytest.mark.parametrize("start", [1, PER_EPOCH - 1, PER_EPOCH, PER_EPOCH + 1, 3 * PER_EPOCH, 4 * PER_EPOCH])
def test_starting_in_the_middle_equals_going_on(store: BitStore, start: int) -> None:
    assert order(store, start=start) == order(store)[start:]


def test_the_end_does_not_change_what_comes_before(store: BitStore) -> None:
    assert order(store, stop=9) == order(store)[:9]


def test_an_epoch_shows_an_image_at_most_once_and_only_those_of_the_partition(store: BitStore) -> None:
    batches = order(store)
    for epoch in range(4):
        seen = list(chain(*batches[epoch * PER_EPOCH : (epoch + 1) * PER_EPOCH]))
        assert len(set(seen)) == len(seen) == PER_EPOCH * BATCH
        assert set(seen) <= set(range(20, 20 + NUM))
    assert batches[:PER_EPOCH] != batches[PER_EPOCH : 2 * PER_EPOCH]


def test_images_left_out_of_one_epoch_come_in_others(store: BitStore) -> None:
    assert set(chain(*order(store, stop=20 * PER_EPOCH))) == set(range(20, 20 + NUM))


def test_the_order_depends_on_seed_and_stage(store: BitStore) -> None:
    assert len({str(order(store, seed=seed, stage=stage)) for seed in (0, 1) for stage in ("fit", "flow")}) == 4


def test_a_partition_smaller_than_a_batch_is_taken_whole(store: BitStore) -> None:
    loader = ResidentLoader(store, torch.arange(5), batch_size=8, seed=0, stage="fit", start=0, stop=3)
    assert [sorted(batch.index.tolist()) for batch in loader] == [list(range(5))] * 3


def test_an_empty_partition_is_an_error(store: BitStore) -> None:
    with pytest.raises(ValueError, match="no images"):
        ResidentLoader(store, torch.arange(0), batch_size=8, seed=0, stage="fit", start=0, stop=3)


def test_ordered_batches_can_be_read_again(store: BitStore) -> None:
    batches = OrderedBatches(store, torch.arange(10), batch_size=4)
    assert len(batches) == 3
    for _ in range(2):
        assert [batch.index.tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
