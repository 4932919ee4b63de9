"""The training images that are nearest to some images, in pixels.

Shapes: N image, M image of the pool, C channel, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..base.errors import BenchmarkError
from ..base.heartbeat import beat
from ..base.randomness import own_randomness
from ..base.seeds import derive_seed
from ..data.base import ConceptDataModule
from ..data.preview import contact_sheet
from ..data.sheets import save_picture
from ..objectives.base import Objective, evaluating
from .sampling import real_batches

MAX_TRAINING = 10_000
"""The largest number of training images behind a mean image, and among which the nearest is looked for."""
TIE = 1e-9
"""Distances that differ by less, squared ones of values in [0, 1], are equal: rounding in float64 is far smaller."""
NUM_REAL = 500
"""Held-out images beside the samples of a picture."""
_AT_ONCE = 1_000


@dataclass(frozen=True)
class TrainingPool:
    """Training images that differ from each other in at least one pixel.

    Attributes:
        images: Float[M, C, H, W] in [0, 1].
        concepts: Long[M, A].
        index: Long[M], their numbers in the dataset; of equal images the one that comes first.
    """

    images: Tensor
    concepts: Tensor
    index: Tensor

    @classmethod
    def of(cls, data: ConceptDataModule, *, seed: int, device: torch.device) -> TrainingPool:
        """At most :data:`MAX_TRAINING` training images, the same ones for every model, in the order of their numbers.

        Args:
            data: After ``setup()``.
            seed: The evaluation's.
            device: Where they go.
        """
        batches = list(real_batches(data, "train", seed=seed, device=device, limit=MAX_TRAINING))
        index = torch.cat([each.index for each in batches])
        order = index.argsort()
        images = torch.cat([each.image for each in batches])[order]
        concepts = torch.cat([each.concept for each in batches])[order]
        kept = distinct(images).to(device)
        return cls(images[kept], concepts[kept], index[order][kept])


@dataclass(frozen=True)
class Nearest:
    """What is nearest to each of N images.

    Attributes:
        place: Long[N], of the nearest image in the pool, the first one of those that are equally near.
        distance: Float64[N], Euclidean, to it.
        second: Float64[N], to the nearest of all others.
    """

    place: Tensor
    distance: Tensor
    second: Tensor

    @property
    def ratio(self) -> Tensor:
        """``distance / second``: Float64[N] in [0, 1]; 1 where both are 0, to images that differ by rounding alone."""
        return torch.where(self.second > 0, self.distance / self.second, 1.0)


def nearest(images: Tensor, pool: Tensor) -> Nearest:
    """The images of a pool with the smallest Euclidean distance of all pixels.

    Args:
        images: Float[N, C, H, W].
        pool: Float[M, C, H, W], at least two, no two of them equal.
    """
    columns = []
    for part in pool.split(_AT_ONCE):
        columns.append(squared_distances(images, part))
        beat()
    squared = torch.cat(columns, 1)
    squared = squared.masked_fill(squared < TIE, 0)
    place = lowest(squared, within=TIE)
    first = squared.gather(1, place[:, None])[:, 0]
    second = squared.scatter(1, place[:, None], torch.inf).amin(1)
    return Nearest(place, first.sqrt(), second.sqrt())


def squared_distances(image: Tensor, others: Tensor, observed: Tensor | None = None) -> Tensor:
    """Squared Euclidean distances of all pixels, or of those that are observed of each image: Float64[N, M].

    Args:
        image: Float[N, C, H, W].
        others: Float[M, C, H, W].
        observed: Bool[N, H, W], of ``image``; None: all of them.
    """
    if observed is not None and bool((observed == observed[0]).all()):
        image, others = image[:, :, observed[0]], others[:, :, observed[0]]
        observed = observed[:, observed[0]]
    wide = others.flatten(2).double()
    if observed is None:
        seen, norms = image.flatten(1).double(), wide.flatten(1).square().sum(1)
    else:
        seen = (image * observed[:, None]).flatten(1).double()
        norms = observed.flatten(1).double() @ wide.square().sum(1).T
    squared = seen.square().sum(1, keepdim=True) + norms
    return (squared - 2 * seen @ wide.flatten(1).T).clamp_min(0)


def lowest(values: Tensor, *, within: float = TIE) -> Tensor:
    """The first place of the smallest value of each row, ties included: Float[N, M] to Long[N].

    ``argmin`` may return any of several equal values, and equal distances may differ in their last digits.

    Args:
        values: Float[N, M].
        within: Values that are larger than the smallest by no more are equal to it.

    >>> lowest(torch.tensor([[2.0, 1.0 + 1e-12, 1.0]], dtype=torch.float64)).tolist()
    [1]
    """
    places = torch.arange(values.shape[1], device=values.device).expand_as(values)
    tied = values <= values.amin(1, keepdim=True) + within
    return places.masked_fill(~tied, values.shape[1]).amin(1)


def distinct(images: Tensor) -> Tensor:
    """The places of images, Float[N, C, H, W], that none before them is equal to: Long[M], ascending, on the CPU."""
    first: dict[bytes, int] = {}
    for place, image in enumerate(images.cpu().numpy()):
        first.setdefault(image.tobytes(), place)
    return torch.tensor(list(first.values()), dtype=torch.long)


@torch.no_grad()
def show_nearest(
    model: Objective,
    data: ConceptDataModule,
    concept: Tensor | None,
    out: Path,
    *,
    name: str,
    number: int,
    mean: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Samples of a concept, or of the prior, each above the training image that is nearest to it.

    Args:
        model: With p(x|z), and q(z|y) where a concept is given.
        data: Its data, after ``setup()``.
        concept: Long[A], -1 where unspecified, or Long[T] in the text view; None: z ~ p(z).
        out: The picture.
        name: What the concept is called.
        number: Of samples.
        mean: Show the mean of p(x|z), not a sample.
        seed: Of the samples.

    Returns:
        Plain JSON: the file; the number of training images compared with; for each sample the number of the nearest in
        the dataset, its concept, its distance, the ratio to the second nearest, and the share of held-out images that
        are farther from training; and the median distance and ratio of held-out images.

    Raises:
        BenchmarkError: if training has fewer than two different images.
        CapabilityError: if the model lacks one of the distributions.
    """
    with evaluating(model), own_randomness(derive_seed("nearest", seed=seed), model.device):
        if concept is None:
            z, given = model.sample_prior(number).to(model.device), None
        else:
            z, given = model.draw_latents(concept.to(model.device)[None], number)
        px = model.image_likelihood(z, given)
        images = (px.mean if mean else px.sample()).clamp(0, 1)
    pool = TrainingPool.of(data, seed=0, device=model.device)
    if len(pool.images) < 2:
        raise BenchmarkError("fewer than two different training images: there is no second nearest")
    found = nearest(images, pool.images)
    batches = real_batches(data, "test", seed=0, device=model.device, limit=NUM_REAL)
    real = nearest(torch.cat([each.image for each in batches]), pool.images)
    entries = []
    for distance, ratio, place in zip(found.distance.tolist(), found.ratio.tolist(), found.place.tolist(), strict=True):
        entries.append(
            {
                "nearest": int(pool.index[place]),
                "concept": model.schema.format(pool.concepts[place].tolist()),
                "distance": distance,
                "ratio": ratio,
                "closer_than_real": float((real.distance > distance).double().mean()),
            }
        )
    median = {"distance": float(real.distance.median()), "ratio": float(real.ratio.median())}
    labels = [f"{name}\nsample {place + 1}" for place in range(number)]
    labels += [
        f"training image {each['nearest']}\ndistance {each['distance']:.2f}, ratio {each['ratio']:.2f}"
        for each in entries
    ]
    title = (
        f"{model.spec.name}: samples, and the nearest of {len(pool.images):,} training images; held-out images: "
        f"distance {median['distance']:.2f}, ratio {median['ratio']:.2f}"
    )
    both = torch.cat([images, pool.images[found.place]]).cpu()
    save_picture(contact_sheet(both, labels, title=title, num_columns=number), out)
    return {"file": str(out), "training_images": len(pool.images), "samples": entries, "held_out": median}
