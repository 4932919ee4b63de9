"""Binary images as bits: eight pixels a byte on the device, unpacked a batch at a time.

The 700,000 images of MNIST-A take 358 MB so, against 2.9 GB as bytes.

Shapes: N image, B batch, C channel, H height, W width, A attribute, P pixel (C x H x W), K byte (P / 8, rounded up).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding, pad

from .base import Batch


def pack_bits(pixels: Tensor) -> Tensor:
    """Packs eight pixels a byte, the first in the highest bit, the last byte filled up with zeros; as numpy.packbits.

    Args:
        pixels: Bool[N, P].

    Returns:
        Byte[N, K].

    >>> pack_bits(torch.tensor([[True] + 7 * [False] + [True]])).tolist()
    [[128, 128]]
    """
    padded = pad(pixels.to(torch.uint8), (0, -pixels.shape[1] % 8))
    shifted = padded.view(len(pixels), padded.shape[1] // 8, 8) << _shifts(pixels.device)
    return shifted.sum(-1, dtype=torch.uint8)


def unpack_bits(packed: Tensor, num_pixels: int) -> Tensor:
    """The inverse of :func:`pack_bits`: Byte[N, K] to Bool[N, P].

    >>> unpack_bits(torch.tensor([[128, 128]], dtype=torch.uint8), 9).int().tolist()
    [[1, 0, 0, 0, 0, 0, 0, 0, 1]]
    """
    return ((packed[..., None] >> _shifts(packed.device)) & 1).flatten(1)[:, :num_pixels].bool()


class BitStore:
    """A fixed set of binary images with their concepts, resident on one device.

    Args:
        packed: Byte[N, K], from :func:`pack_bits` of images flattened in the order channel, row, column.
        concepts: Integer[N, A], value indices.
        image_shape: (C, H, W).

    Raises:
        ValueError: where the shapes do not fit together.
    """

    def __init__(self, packed: Tensor, concepts: Tensor, *, image_shape: tuple[int, int, int]) -> None:
        channels, height, width = image_shape
        self.num_pixels = channels * height * width
        expected = (len(concepts), (self.num_pixels + 7) // 8)
        if tuple(packed.shape) != expected or packed.dtype != torch.uint8:
            raise ValueError(
                f"packed images of {image_shape} are Byte{list(expected)}, got {packed.dtype} {list(packed.shape)}"
            )
        self.packed, self.image_shape = packed, image_shape
        self.concepts = concepts.long()
        # The eight pixels of every byte: one look-up is faster than shifts and masks.
        every_byte = torch.arange(256, device=packed.device, dtype=torch.uint8)[:, None]
        self._pixels_of_byte = unpack_bits(every_byte, 8).float()

    def __len__(self) -> int:
        return len(self.packed)

    @property
    def num_bytes(self) -> int:
        """Memory that the images and concepts take."""
        return self.packed.nbytes + self.concepts.nbytes

    def batch(self, rows: Tensor) -> Batch:
        """The images of ``rows`` (Long[B]), as floats 0 and 1."""
        rows = rows.to(self.packed.device)
        pixels = embedding(self.packed[rows].int(), self._pixels_of_byte).flatten(1)[:, : self.num_pixels]
        return Batch(pixels.reshape(len(rows), *self.image_shape), self.concepts[rows], rows)

    def to(self, device: torch.device | str) -> BitStore:
        """The store on another device; itself where it is there already."""
        if self.packed.device == torch.device(device):
            return self
        return BitStore(self.packed.to(device), self.concepts.to(device), image_shape=self.image_shape)


def _shifts(device: torch.device) -> Tensor:
    return torch.arange(7, -1, -1, dtype=torch.uint8, device=device)
