"""The observation classifier: the fixed judge that reads attributes off images, real or imagined; and its networks.

Shapes: B batch, C channel, H height, W width, F feature, P place, A attribute, G given attribute, V value,
R combination of given values.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..base.heartbeat import beat
from ..concepts import Schema
from ..metrics.functional import NOT_SCORED, confusion_counts
from ..specs.built_in.classifiers import ConvPublishedSpec, ConvRgbSpec, ConvThinSpec

IMAGES_AT_ONCE = 125
"""Images that :meth:`ObservationClassifier.predict` passes to the network at once: their feature maps fit a CPU's
cache. Twice as many took a quarter longer (the thin network at 32x32); what is read is the same."""


class PublishedNetwork(nn.Module):
    """Two 5x5 convolutions, each with ReLU and 2x2 max-pooling, then a hidden layer and a linear head per attribute.

    The observation classifier of the released code of Vedantam et al. (2018). The hidden layers of all attributes are
    one matrix product here.

    Args:
        spec: Widths and dropout.
        schema: The attributes.
        image_shape: (C, H, W).
    """

    def __init__(self, spec: ConvPublishedSpec, *, schema: Schema, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.hidden = nn.Sequential(
            nn.Linear(64 * (height // 4) * (width // 4), spec.hidden * len(schema)), nn.ReLU(), nn.Dropout(spec.dropout)
        )
        self.heads = nn.ModuleList(nn.Linear(spec.hidden, size) for size in schema.sizes)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Float[B, C, H, W] to the logits of each attribute, Float[B, V]."""
        parts = self.hidden(self.features(image)).chunk(len(self.heads), dim=1)
        return [head(part) for head, part in zip(self.heads, parts, strict=True)]


class ThinNetwork(nn.Module):
    """Four 3x3 convolutions with batch norm and ReLU, pooled over the canvas, a hidden layer, a linear head for each.

    Attributes that do not depend on the place are learned from all places together, through the maximum and the mean of
    each map; the means over the four quarters keep the place.

    Args:
        spec: Widths.
        schema: The attributes.
        image_shape: (C, H, W).
    """

    def __init__(self, spec: ConvThinSpec, *, schema: Schema, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = image_shape[0]
        for width, stride in ((spec.width, 2), (spec.width, 1), (2 * spec.width, 2), (2 * spec.width, 1)):
            layers += [nn.Conv2d(channels, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.features = nn.Sequential(*layers)
        self.trunk = nn.Sequential(
            nn.Linear(6 * channels, spec.hidden, bias=False), nn.BatchNorm1d(spec.hidden), nn.ReLU()
        )
        self.heads = nn.ModuleList(nn.Linear(spec.hidden, size) for size in schema.sizes)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Float[B, C, H, W] to the logits of each attribute, Float[B, V]."""
        maps = self.features(image)
        quarters = F.adaptive_avg_pool2d(maps, 2).flatten(1)
        features = self.trunk(torch.cat([maps.amax((2, 3)), maps.mean((2, 3)), quarters], dim=1))
        return [head(features) for head in self.heads]


class RgbNetwork(nn.Module):
    """Convolutions to an eighth of the canvas, then for each attribute a weighted mean over places and a small network.

    The weights of the places are a softmax over scores that are linear in the features and in the coordinates of a
    place, so an attribute can look at, say, the leftmost place with an object: the extreme one wins the softmax. Given
    attributes choose between scores: what "the first object" is depends on the relation. Apart from what it finds at
    the places, an attribute uses the means and the maxima of all maps.

    Args:
        spec: Widths.
        schema: The attributes; there are logits for those that are not given.
        image_shape: (C, H, W); H and W are at least 16.
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


@dataclass(frozen=True)
class HeldOut:
    """Real images that the classifier was not trained on, and what it reads in them.

    Attributes:
        concepts: Long[N, A], the truth.
        predictions: Long[N, A]; -1 for an attribute that is not scored.
    """

    concepts: Tensor
    predictions: Tensor

    @property
    def right(self) -> Tensor:
        """Double[N, A]: 1 where an attribute is read correctly, nan if it is not scored."""
        right = (self.predictions == self.concepts).double()
        return right.masked_fill(self.predictions == NOT_SCORED, math.nan)

    def confusion(self, sizes: Sequence[int]) -> list[Tensor]:
        """How often each true value of an attribute (row) is read as each value (column): Double[V, V] each.

        A value that no image has, or an attribute that is not scored, counts as read correctly.

        Args:
            sizes: The number of values of each attribute.
        """
        tables = []
        for counts in confusion_counts(self.predictions[:, None], self.concepts, sizes):
            total = counts.sum(1, keepdim=True)
            exact = torch.eye(len(counts), dtype=torch.float64)
            tables.append(torch.where(total > 0, counts.double() / total.clamp(min=1), exact))
        return tables


@dataclass(frozen=True)
class ObservationClassifier:
    """A trained network that recognises the attributes of images. The same one judges every objective and split.

    Attributes:
        name: Of its spec.
        fingerprint: Hash of the dataset's fingerprint and the spec.
        network: In eval mode.
        schema: The attributes.
        held_out: Real images of the test partition of the ``iid`` split, at most 20,000.
    """

    name: str
    fingerprint: str
    network: nn.Module
    schema: Schema
    held_out: HeldOut

    @torch.no_grad()
    def predict(self, images: Tensor, *, given: Tensor | None = None) -> Tensor:
        """The most probable value of each attribute, -1 for the given ones (``Schema.given``), which are not scored.

        Args:
            images: Float[B, C, H, W], on the network's device.
            given: Long[B, A], the concepts of the images, whose given attributes the network gets; needed where the
                schema has any.

        Returns:
            Long[B, A].

        Raises:
            ValueError: if the schema has given attributes and ``given`` leaves one out.
        """
        if given is None:
            parts = [read_concepts(self.network, part, None, self.schema) for part in images.split(IMAGES_AT_ONCE)]
        else:
            both = zip(images.split(IMAGES_AT_ONCE), given.split(IMAGES_AT_ONCE), strict=True)
            parts = [read_concepts(self.network, part, concepts, self.schema) for part, concepts in both]
        return torch.cat(parts) if parts else torch.empty(0, len(self.schema), dtype=torch.long, device=images.device)

    @property
    def accuracy(self) -> dict[str, float]:
        """The fraction of held-out real images whose attribute is read correctly, by attribute; no given ones."""
        right = self.held_out.right.mean(0).tolist()
        return {self.schema.names[k]: right[k] for k in self.schema.scored_positions}

    @property
    def mean_accuracy(self) -> float:
        """The mean of :attr:`accuracy` over attributes."""
        return float(self.held_out.right.nanmean())

    @property
    def weights_hash(self) -> str:
        """The first 12 hex digits of the sha256 of the weights: two machines may train one fingerprint differently."""
        digest = hashlib.sha256()
        for name, value in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    def to_json(self) -> dict[str, object]:
        """The description of the classifier that is stored in a result."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "weights": self.weights_hash,
            "accuracy": self.accuracy,
            "mean_accuracy": self.mean_accuracy,
        }


def logits_of(network: nn.Module, images: Tensor, concepts: Tensor | None, schema: Schema) -> list[Tensor]:
    """The logits of each scored attribute, Float[B, V], in the order of the schema.

    Args:
        network: Called with the images, and with the given attributes, Long[B, G], where the schema has any.
        images: Float[B, C, H, W].
        concepts: Long[B, A], of which only the given attributes are used; None if there are none.
        schema: The attributes.

    Raises:
        ValueError: if the schema has given attributes and ``concepts`` leaves one out.
    """
    given: tuple[Tensor, ...] = ()
    if schema.given:
        if concepts is None or bool((concepts[:, list(schema.given_positions)] < 0).any()):
            raise ValueError(f"the classifier needs {', '.join(schema.given)} with every image")
        given = (concepts[:, list(schema.given_positions)].to(images.device),)
    logits: list[Tensor] = network(images, *given)
    # Fewer heads than attributes would be broadcast over all of them.
    wanted = [(schema.names[place], (len(images), schema.sizes[place])) for place in schema.scored_positions]
    if [tuple(part.shape) for part in logits] != [shape for _, shape in wanted]:
        raise ValueError(
            f"{type(network).__name__} returns logits of shapes {[tuple(part.shape) for part in logits]}, expected one "
            f"for each attribute: {', '.join(f'{name} {shape}' for name, shape in wanted)}"
        )
    return logits


def read_concepts(network: nn.Module, images: Tensor, concepts: Tensor | None, schema: Schema) -> Tensor:
    """The largest of the logits of each attribute, Long[B, A], -1 for the given ones; see :func:`logits_of`."""
    beat()
    logits = logits_of(network, images, concepts, schema)
    values = torch.full((len(images), len(schema)), NOT_SCORED, dtype=torch.long, device=images.device)
    values[:, list(schema.scored_positions)] = torch.stack([part.argmax(1) for part in logits], dim=1)
    return values
