"""The network of the observation classifier for colour images.

Shapes: B batch, C channel, H height, W width, F feature, P place, A scored attribute, G given attribute, V value,
R combination of given values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..concepts import Schema
from ..specs.built_in.classifiers import ConvRgbSpec


class RgbNetwork(nn.Module):
    """Convolutions to an eighth of the canvas, then for each attribute a weighted mean over places and a small network.

    The weights of the places are a softmax over scores that are linear in the features and in the coordinates of a
    place, so an attribute can look at, say, the leftmost place with an object: the extreme one wins the softmax. Given
    attributes choose between scores: what "the first object" is, depends on the relation. Beside what stands at the
    places an attribute sees the means and the maxima of all maps.

    Args:
        spec: Widths.
        schema: The attributes; there are logits for those that are not given.
        image_shape: (C, H, W); H and W of 16 or more.
    """

    def __init__(self, spec: ConvRgbSpec, *, schema: Schema, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shift = spec.shift
        layers: list[nn.Module] = []
        channels, width = image_shape[0], spec.width
        for features, kernel, stride in (
            (width, 5, 2), (2 * width, 3, 2), (2 * width, 3, 1), (4 * width, 3, 2), (4 * width, 3, 1), (4 * width, 3, 1)
        ):  # fmt: skip
            layers += [
                nn.Conv2d(channels, features, kernel, stride, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(features),
                nn.ReLU(),
            ]
            channels = features
        self.features = nn.Sequential(*layers)
        self.sizes = [schema.sizes[k] for k in schema.scored_positions]
        self.given_sizes = [schema.sizes[k] for k in schema.given_positions]
        # A score of every place for each attribute and each combination of given values; the last two are coordinates.
        self.scores = nn.Conv1d(channels + 2, len(self.sizes) * math.prod(self.given_sizes), 1)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(3 * channels, spec.hidden), nn.ReLU(), nn.Linear(spec.hidden, size))
            for size in self.sizes
        )

    def forward(self, image: Tensor, given: Tensor | None = None) -> list[Tensor]:
        """The logits of each scored attribute, Float[B, V].

        Args:
            image: Float[B, C, H, W] in [0, 1].
            given: Long[B, G], the values of the given attributes; needed where the schema has any.
        """
        if self.training and self.shift:
            image = shifted(image, fraction=self.shift)
        maps = self.features(image - 0.5)
        features = maps.flatten(2)
        scores = self.scores(torch.cat([features, coordinates(maps)], dim=1)).unflatten(1, (len(self.sizes), -1))
        if self.given_sizes:
            assert given is not None
            scores = scores[torch.arange(len(image), device=image.device), :, self._combination(given)]
        else:
            scores = scores[:, :, 0]
        seen = torch.einsum("bap,bfp->abf", scores.softmax(-1), features)
        overall = torch.cat([features.mean(2), features.amax(2)], dim=1)
        return [head(torch.cat([part, overall], dim=1)) for head, part in zip(self.heads, seen, strict=True)]

    def _combination(self, given: Tensor) -> Tensor:
        """The number of the combination of given values: Long[B, G] to Long[B] below R."""
        number = torch.zeros(len(given), dtype=torch.long, device=given.device)
        for values, size in zip(given.unbind(1), self.given_sizes, strict=True):
            number = number * size + values
        return number


def shifted(image: Tensor, *, fraction: float) -> Tensor:
    """Each image moved by whole pixels, uniform up to ``fraction`` of its sides each way; its edges are repeated.

    Args:
        image: Float[B, C, H, W].
        fraction: Of the height and of the width.

    Returns:
        Float[B, C, H, W].
    """
    places = []
    for size in image.shape[2:]:
        most = int(fraction * size)
        moves = torch.randint(-most, most + 1, (len(image), 1), device=image.device)
        places.append((torch.arange(size, device=image.device) + moves).clamp(0, size - 1))
    rows, columns = places
    example = torch.arange(len(image), device=image.device)[:, None, None]
    return image[example, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def coordinates(maps: Tensor) -> Tensor:
    """x and y of every place, from -1 to 1: Float[B, F, H, W] to Float[B, 2, P]."""
    height, width = maps.shape[2:]
    rows, columns = (torch.linspace(-1, 1, size, device=maps.device, dtype=maps.dtype) for size in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y]).flatten(1).expand(len(maps), -1, -1)
