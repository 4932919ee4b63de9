"""Thin networks for small RGB images, for runs on a CPU."""

from __future__ import annotations

from ..specs.backbones.rgb_thin import RGBThinSpec
from .thin import ThinNetworks


class RGBThinBackbone(ThinNetworks):
    """The image is halved at least twice, and on while its shorter side is above 8 and both sides are even."""

    spec: RGBThinSpec

    @property
    def channels(self) -> tuple[int, ...]:
        """``width``, twice that, then four times that: 2 convolutions at 32x32, 3 at 48 and 64, 4 at 112 and 128."""
        height, width = self.image_shape[1:]
        count = 2
        while min(height, width) >> count > 8 and not (height >> count) % 2 and not (width >> count) % 2:
            count += 1
        return tuple(self.spec.width * min(2**i, 4) for i in range(count))

    @property
    def hidden(self) -> int:
        """Width of the fully connected layers."""
        return self.spec.hidden

    @property
    def likelihood(self) -> str:
        """The spec's."""
        return self.spec.likelihood
