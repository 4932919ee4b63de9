from __future__ import annotations

import numpy as np
import pytest
import torch

from mmvae_bench.data.store import BitStore, pack_bits, unpack_bits


@pytest.mark.parametrize("num_pixels", [1, 7, 8, 9, 17 * 17, 33 * 33, 64 * 64])
def test_packing_is_that_of_numpy_and_loses_nothing(num_pixels: int) -> None:
    pixels = torch.rand(50, num_pixels, generator=torch.Generator().manual_seed(num_pixels)) < 0.4
    packed = pack_bits(pixels)
    assert np.array_equal(packed.numpy(), np.packbits(pixels.numpy(), axis=1))
    assert torch.equal(unpack_bits(packed, num_pixels), pixels)


@pytest.mark.parametrize("shape", [(1, 17, 17), (1, 64, 64), (3, 5, 7)])
def test_a_batch_holds_the_images_of_its_rows(shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(40, *shape, generator=generator) < 0.5
    concepts = torch.randint(0, 5, (40, 4), generator=generator)
    store = BitStore(pack_bits(images.flatten(1)), concepts.byte(), image_shape=shape)
    rows = torch.tensor([39, 0, 17, 17, 3])
    batch = store.batch(rows)
    assert torch.equal(batch.image, images[rows].float())
    assert torch.equal(batch.concept, concepts[rows])
    assert torch.equal(batch.index, rows)
    assert batch.concept.dtype == torch.long
    assert len(store) == 40


def test_an_empty_batch() -> None:
    store = BitStore(torch.zeros(3, 2, dtype=torch.uint8), torch.zeros(3, 1), image_shape=(1, 3, 4))
    assert store.batch(torch.zeros(0, dtype=torch.long)).image.shape == (0, 1, 3, 4)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Byte\[4, 32\]"):
        BitStore(torch.zeros(4, 31, dtype=torch.uint8), torch.zeros(4, 4), image_shape=(1, 16, 16))
    with pytest.raises(ValueError, match="float32"):
        BitStore(torch.zeros(4, 32), torch.zeros(4, 4), image_shape=(1, 16, 16))
