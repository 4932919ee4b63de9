"""Networks over patches: every layer is one matrix product, which is what a CPU computes fastest.

The image is cut into squares of 4x4 pixels. One layer, the same for all, makes features of each square; then four
neighbours become one, through another layer, until the shorter side has at most 4 squares or a side cannot be halved.
No layer normalises over the batch. The decoder mirrors this.

Shapes: B batch, C channel, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from einops.layers.torch import Rearrange
from torch import nn

from ..specs.built_in.backbones import PatchesSpec
from .thin import CaptionedNetworks

SIDE = 4
"""Pixels along a side of a patch."""
COARSE = 4
"""Patches are merged while a side has more of them."""


class PatchBackbone(CaptionedNetworks):
    """Any number of channels; sides divisible by 4."""

    spec: PatchesSpec

    @property
    def _grid(self) -> tuple[int, int]:
        """Patches along the height and the width at the finest level."""
        return self.image_shape[1] // SIDE, self.image_shape[2] // SIDE

    @property
    def _num_merges(self) -> int:
        height, width = self._grid
        count = 0
        while min(height, width) >> count > COARSE and not (height >> count) % 2 and not (width >> count) % 2:
            count += 1
        return count

    @property
    def _widths(self) -> tuple[int, ...]:
        """Features of a patch at each level, from the finest: at most four times ``width``."""
        return tuple(self.spec.width * min(2**level, 4) for level in range(self._num_merges + 1))

    @property
    def _flat_size(self) -> int:
        height, width = (side >> self._num_merges for side in self._grid)
        return height * width * self._widths[-1]

    def _trunk(self) -> nn.Module:
        patch_size = self.image_shape[0] * SIDE**2
        layers: list[nn.Module] = [Rearrange("b c (h p) (w q) -> b h w (c p q)", p=SIDE, q=SIDE)]
        layers += [nn.Linear(patch_size, self._widths[0]), nn.ELU()]
        for fine, coarse in pairwise(self._widths):
            layers.append(Rearrange("b (h p) (w q) c -> b h w (p q c)", p=2, q=2))
            layers += [nn.Linear(4 * fine, coarse), nn.ELU()]
        return nn.Sequential(*layers, Rearrange("b h w c -> b (h w c)"))

    def _pixels(self) -> Sequence[nn.Module]:
        height, width = (side >> self._num_merges for side in self._grid)
        layers: list[nn.Module] = [Rearrange("b (h w c) -> b h w c", h=height, w=width)]
        for coarse, fine in pairwise(reversed(self._widths)):
            layers += [nn.Linear(coarse, 4 * fine), nn.ELU()]
            layers.append(Rearrange("b h w (p q c) -> b (h p) (w q) c", p=2, q=2))
        layers.append(nn.Linear(self._widths[0], self._num_pixel_parameters * SIDE**2))
        return [*layers, Rearrange("b h w (c p q) -> b c (h p) (w q)", p=SIDE, q=SIDE)]
