"""Images resident on one device, served in batches as floats: binary ones stored as bits, others as bytes.

The 700,000 images of MNIST-A take 358 MB as bits, compared with 2.9 GB as bytes.

Shapes: N image, n image of a part, B batch, C channel, H height, W width, A attribute, P pixel (C x H x W), K byte of a
row (of packed pixels P / 8, rounded up), M mask, L mask byte (M x H x W / 8, rounded up).
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import embedding, pad

from ..base.heartbeat import beat
from .batch import Batch


class ByteRows:
    """Rows of equal length in bytes: consecutive parts on the CPU, possibly mapped from files, or one tensor.

    Args:
        parts: Byte[n, K] each, or one Byte[N, K].

    Raises:
        ValueError: if the rows are not bytes, or differ in length.
    """

    def __init__(self, parts: Sequence[np.ndarray] | Tensor) -> None:
        arrays = [parts] if isinstance(parts, Tensor) else list(parts)
        shapes: set[tuple[int, ...]] = {tuple(array.shape[1:]) for array in arrays}
        if len(shapes) != 1 or any(array.dtype not in (torch.uint8, np.uint8) for array in arrays):
            raise ValueError(
                f"rows must be bytes of equal length in every part, got {[array.shape for array in arrays]}"
            )
        (self.num_bytes,) = shapes.pop()
        *self._starts, self._num = itertools.accumulate((len(array) for array in arrays), initial=0)
        self._parts = parts
        self._views = [] if isinstance(parts, Tensor) else [part.reshape(-1).data for part in parts]

    def __len__(self) -> int:
        return self._num

    def take(self, rows: Tensor) -> Tensor:
        """Byte[B, K], a copy, of Long[B] on the device of the rows; raises IndexError for a row that does not exist."""
        if isinstance(self._parts, Tensor):
            return self._parts[rows]
        width, pieces = self.num_bytes, []
        for row in rows.tolist():
            if not 0 <= row < self._num:
                raise IndexError(f"row {row} of {self._num}")
            part = bisect_right(self._starts, row) - 1
            start = (row - self._starts[part]) * width
            pieces.append(self._views[part][start : start + width])
        if not pieces:
            return torch.empty(0, width, dtype=torch.uint8)
        # Joining slices is several times as fast as indexing one large tensor.
        return torch.frombuffer(bytearray().join(pieces), dtype=torch.uint8).view(len(pieces), width)

    def whole(self, device: torch.device | str) -> Tensor:
        """All rows as one tensor on a device, copied part by part."""
        if isinstance(self._parts, Tensor):
            return self._parts.to(device)
        whole = torch.empty(self._num, self.num_bytes, dtype=torch.uint8, device=device)
        for start, part in zip(self._starts, self._parts, strict=True):
            whole[start : start + len(part)] = torch.from_numpy(np.array(part)).to(device)
        return whole


def pack_bits(pixels: Tensor) -> Tensor:
    """Packs eight pixels per byte, the first in the highest bit, the last byte padded with zeros; as numpy.packbits.

    Args:
        pixels: Bool[N, P].

    Returns:
        Byte[N, K].

    >>> pack_bits(torch.tensor([[True] + 7 * [False] + [True]])).tolist()
    [[128, 128]]
    """
    padded = pad(pixels.to(torch.uint8), (0, -pixels.shape[1] % 8))
    shifted = rearrange(padded, "n (k bit) -> n k bit", bit=8) << _shifts(pixels.device)
    return shifted.sum(-1, dtype=torch.uint8)


def unpack_bits(packed: Tensor, num_pixels: int) -> Tensor:
    """The inverse of :func:`pack_bits`: Byte[N, K] to Bool[N, P].

    >>> unpack_bits(torch.tensor([[128, 128]], dtype=torch.uint8), 9).int().tolist()
    [[1, 0, 0, 0, 0, 0, 0, 0, 1]]
    """
    bits = (packed[..., None] >> _shifts(packed.device)) & 1
    return rearrange(bits, "n k bit -> n (k bit)")[:, :num_pixels].bool()


class BitStore:
    """A fixed set of binary images with their concepts, resident on one device.

    Args:
        packed: Byte[N, K], from :func:`pack_bits` of images flattened in the order channel, row, column.
        concepts: Integer[N, A], value indices.
        image_shape: (C, H, W).

    Raises:
        ValueError: if the shapes do not match.
    """

    def __init__(self, packed: Tensor, concepts: Tensor, *, image_shape: tuple[int, int, int]) -> None:
        channels, height, width = image_shape
        self.num_pixels = channels * height * width
        expected = (len(concepts), (self.num_pixels + 7) // 8)
        if tuple(packed.shape) != expected or packed.dtype != torch.uint8:
            raise ValueError(
                f"packed images of shape {image_shape} must be Byte{list(expected)}, "
                f"got {packed.dtype} {list(packed.shape)}"
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
        beat()
        rows = rows.to(self.packed.device)
        pixels = embedding(self.packed[rows].int(), self._pixels_of_byte).flatten(1)[:, : self.num_pixels]
        return Batch(pixels.reshape(len(rows), *self.image_shape), self.concepts[rows], rows)

    def to(self, device: torch.device | str) -> BitStore:
        """The store on another device; itself if it is already there."""
        if self.packed.device == torch.device(device):
            return self
        return BitStore(self.packed.to(device), self.concepts.to(device), image_shape=self.image_shape)


class ByteStore:
    """A fixed set of images of 256 shades with their concepts, resident on one device.

    On the CPU the images may be in several parts, files mapped into memory that the processes of one machine share;
    they are read, not copied. On a GPU they are one tensor.

    Args:
        images: Byte[n, P] each, consecutive, flattened in the order channel, row, column: arrays on the CPU, or one
            tensor.
        concepts: Integer[N, A], value indices.
        image_shape: (C, H, W).
        masks: Byte[n, L] each, foreground masks as :func:`pack_bits` of Bool[M, H, W]; None if there are none.
        strengths: Float[N, A], a score of each attribute, see :class:`Batch`; None if there are none.

    Raises:
        ValueError: if the shapes do not match.

    >>> store = ByteStore([np.array([[0, 51, 255]], np.uint8)], torch.tensor([[1]]), image_shape=(3, 1, 1))
    >>> store.batch(torch.tensor([0])).image.flatten().tolist() == [0.0, torch.tensor(0.2).item(), 1.0]
    True
    """

    def __init__(
        self,
        images: Sequence[np.ndarray] | Tensor,
        concepts: Tensor,
        *,
        image_shape: tuple[int, int, int],
        masks: Sequence[np.ndarray] | Tensor | None = None,
        strengths: Tensor | None = None,
    ) -> None:
        channels, height, width = image_shape
        self.image_shape, self.concepts = image_shape, concepts.long()
        self.strengths = None if strengths is None else strengths.float()
        if strengths is not None and strengths.shape != concepts.shape:
            raise ValueError(f"scores of every attribute are Float{list(concepts.shape)}, got {list(strengths.shape)}")
        self._images = ByteRows(images)
        self._masks = None if masks is None else ByteRows(masks)
        # The padding of the last byte of the masks has fewer bits than one mask.
        self.num_masks = 0 if self._masks is None else self._masks.num_bytes * 8 // (height * width)
        expected, found = (len(concepts), channels * height * width), (len(self._images), self._images.num_bytes)
        if found != expected or (self._masks is not None and len(self._masks) != len(concepts)):
            raise ValueError(
                f"images of shape {image_shape} must be Byte{list(expected)}, with one set of masks each, "
                f"got {list(found)}"
            )

    def __len__(self) -> int:
        return len(self.concepts)

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.concepts.device

    @property
    def num_bytes(self) -> int:
        """Memory that the images, masks and concepts take."""
        row = self._images.num_bytes + (0 if self._masks is None else self._masks.num_bytes)
        scores = 0 if self.strengths is None else self.strengths.nbytes
        return row * len(self) + int(self.concepts.nbytes) + scores

    def batch(self, rows: Tensor) -> Batch:
        """The images of ``rows`` (Long[B]), as floats, multiples of 1/255; with masks and scores if there are any."""
        beat()
        rows = rows.to(self.device)
        pixels = self._images.take(rows).view(len(rows), *self.image_shape)
        image = pixels.float().div_(255)
        strength = None if self.strengths is None else self.strengths[rows]
        return Batch(image, self.concepts[rows], rows, mask=self._mask(rows), strength=strength)

    def to(self, device: torch.device | str) -> ByteStore:
        """The store on another device; itself if it is already there."""
        if self.device == torch.device(device):
            return self
        masks = None if self._masks is None else self._masks.whole(device)
        concepts = self.concepts.to(device)
        strengths = None if self.strengths is None else self.strengths.to(device)
        images = self._images.whole(device)
        return ByteStore(images, concepts, image_shape=self.image_shape, masks=masks, strengths=strengths)

    def _mask(self, rows: Tensor) -> Tensor | None:
        if self._masks is None:
            return None
        _, height, width = self.image_shape
        packed, num_bits = self._masks.take(rows), self.num_masks * height * width
        if packed.device.type == "cpu":  # numpy has a dedicated loop, many times as fast
            bits = torch.from_numpy(np.unpackbits(packed.numpy(), axis=1, count=num_bits)).view(torch.bool)
        else:
            bits = unpack_bits(packed, num_bits)
        return rearrange(bits, "b (m h w) -> b m h w", m=self.num_masks, h=height, w=width)


def _shifts(device: torch.device) -> Tensor:
    return torch.arange(7, -1, -1, dtype=torch.uint8, device=device)
