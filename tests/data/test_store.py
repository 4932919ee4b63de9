from __future__ import annotations

import numpy as np
import pytest
import torch

from mmvae_bench.data.store import BitStore, ByteStore, pack_bits, unpack_bits
from mmvae_bench.data.supervision import without_labels


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


def byte_store(num_images: int = 9) -> tuple[ByteStore, np.ndarray, np.ndarray]:
    """Images of 3x4x2 with two masks, in three parts; the pixels, [N, C, H, W], and the masks, [N, M, H, W]."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (num_images, 3, 4, 2), np.uint8)
    masks = random.integers(0, 2, (num_images, 2, 4, 2)).astype(bool)
    flat, packed = pixels.reshape(num_images, -1), np.packbits(masks.reshape(num_images, -1), axis=1)
    parts = [slice(0, 4), slice(4, 8), slice(8, None)]
    store = ByteStore(
        [flat[part] for part in parts],
        torch.arange(num_images)[:, None],
        image_shape=(3, 4, 2),
        masks=[packed[part] for part in parts],
    )
    return store, pixels, masks


@pytest.mark.parametrize("one_tensor", [False, True])
def test_bytes_come_back_as_floats_with_their_masks(one_tensor: bool) -> None:
    store, pixels, masks = byte_store()
    if one_tensor:  # as on a GPU
        images, bits = store._images.whole("cpu"), store._masks.whole("cpu")  # type: ignore[union-attr]
        store = ByteStore(images, store.concepts, image_shape=(3, 4, 2), masks=bits)
    rows = torch.tensor([8, 3, 4, 0, 3])
    batch = store.batch(rows)
    assert (batch.image.numpy() == pixels[rows].astype(np.float32) / np.float32(255)).all()
    assert batch.mask is not None
    assert (batch.mask.numpy() == masks[rows]).all()
    assert batch.concept[:, 0].tolist() == batch.index.tolist() == rows.tolist()
    assert store.batch(rows[:0]).image.shape == (0, 3, 4, 2)
    assert store.num_bytes == 9 * (24 + 2 + 8)
    moved = batch.to("cpu")
    assert moved.mask is not None
    assert torch.equal(moved.mask, batch.mask)
    assert moved.tokens is None


def test_scores_come_with_their_rows() -> None:
    pixels, concepts = np.zeros((4, 12), np.uint8), torch.tensor([[0, 1], [1, 1], [1, 0], [0, 0]])
    scores = torch.tensor([[-0.5, 0.25], [3.0, 1.0], [0.1, -7.0], [-1.0, 0.0]])
    store = ByteStore([pixels], concepts, image_shape=(3, 2, 2), strengths=scores.double())
    batch = store.batch(torch.tensor([2, 0]))
    assert batch.strength is not None
    assert batch.strength.dtype == torch.float32
    assert batch.strength.tolist() == torch.tensor([[0.1, -7.0], [-0.5, 0.25]]).tolist()
    assert store.num_bytes == 4 * (12 + 16 + 8)
    assert without_labels(batch, [1]).strength is None, "a score would tell the hidden label"
    for moved in (store.to("meta"), batch.to("meta")):
        strength = moved.strengths if isinstance(moved, ByteStore) else moved.strength
        assert strength is not None
        assert strength.device.type == "meta"
    assert byte_store()[0].batch(torch.tensor([0])).strength is None
    with pytest.raises(ValueError, match=r"Float\[4, 2\], got \[4, 1\]"):
        ByteStore([pixels], concepts, image_shape=(3, 2, 2), strengths=scores[:, :1])


def test_a_batch_is_a_copy() -> None:
    store, pixels, _ = byte_store()
    store.batch(torch.tensor([1])).image.zero_()
    assert (store.batch(torch.tensor([1])).image[0].numpy() * 255).round().astype(np.uint8).tolist() == pixels[
        1
    ].tolist()


@pytest.mark.parametrize("row", [-1, 9])
def test_rows_outside_are_errors(row: int) -> None:
    with pytest.raises(IndexError, match=f"row {row} of 9"):
        byte_store()[0].batch(torch.tensor([0, row]))


def test_bytes_must_fit_together() -> None:
    images, concepts = [np.zeros((4, 12), np.uint8)], torch.zeros(4, 1)
    for shape, labels, masks in (
        ((1, 3, 3), concepts, None),
        ((1, 3, 4), concepts[:3], None),
        ((1, 3, 4), concepts, [np.zeros((3, 2), np.uint8)]),
    ):
        with pytest.raises(ValueError, match="images of"):
            ByteStore(images, labels, image_shape=shape, masks=masks)
    with pytest.raises(ValueError, match="rows must be bytes"):
        ByteStore([np.zeros((4, 12), np.float32)], concepts, image_shape=(1, 3, 4))
