"""A table of bytes on one device, of which a few rows at a time are taken.

Shapes: N row, n row of a part, B row taken, K byte of a row.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class ByteRows:
    """Rows of equally many bytes: in consecutive parts on the CPU, mapped from files perhaps, or one tensor.

    Args:
        parts: Byte[n, K] each, or Byte[N, K].

    Raises:
        ValueError: where they are not bytes, or not equally many.
    """

    def __init__(self, parts: Sequence[np.ndarray] | Tensor) -> None:
        arrays = [parts] if isinstance(parts, Tensor) else list(parts)
        shapes: set[tuple[int, ...]] = {tuple(array.shape[1:]) for array in arrays}
        if len(shapes) != 1 or any(array.dtype not in (torch.uint8, np.uint8) for array in arrays):
            raise ValueError(f"rows are bytes, equally many in every part, got {[array.shape for array in arrays]}")
        (self.num_bytes,) = shapes.pop()
        *self._starts, self._num = itertools.accumulate((len(array) for array in arrays), initial=0)
        self._parts = parts
        self._views = [] if isinstance(parts, Tensor) else [part.reshape(-1).data for part in parts]

    def __len__(self) -> int:
        return self._num

    def take(self, rows: Tensor) -> Tensor:
        """Byte[B, K], a copy, of Long[B] on the device of the rows; raises IndexError outside of them."""
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
        # One join of slices: several times as fast as indexing one large tensor.
        return torch.frombuffer(bytearray().join(pieces), dtype=torch.uint8).view(len(pieces), width)

    def whole(self, device: torch.device | str) -> Tensor:
        """All rows as one tensor on a device, copied part by part."""
        if isinstance(self._parts, Tensor):
            return self._parts.to(device)
        whole = torch.empty(self._num, self.num_bytes, dtype=torch.uint8, device=device)
        for start, part in zip(self._starts, self._parts, strict=True):
            whole[start : start + len(part)] = torch.from_numpy(np.array(part)).to(device)
        return whole
