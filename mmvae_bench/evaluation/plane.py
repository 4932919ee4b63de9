"""Which concept each point of a latent space of two dimensions belongs to, and what is imagined there: Fig. 7 of
Vedantam et al. (2018).

Shapes: P point, N image, C concept, A attribute, D = 2 latent dimension, H height, W width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from ..base.errors import BenchmarkError, ConfigError
from ..base.heartbeat import beat
from ..base.randomness import own_randomness
from ..base.seeds import derive_seed
from ..data.base import ConceptDataModule
from ..data.sheets import INK, PAPER, Colour, draw_sheet, lettering, save_picture
from ..metrics.functional.representations import linear_probe
from ..objectives.base import Objective, evaluating
from .latent_plane import MAX_CONCEPTS, latent_grid
from .sampling import real_batches

Array = NDArray[Any]
By = Literal["text", "nearest"]

NUM_TRAINING, NUM_TEST = 60_000, 10_000
"""The largest numbers of images whose z is looked at."""
NUM_PRIOR = 100_000
"""Samples of p(z) behind the prior's mass, whose standard error is then at most 0.16 points."""
NUM_LINEAR = 10_000
"""Samples of p(z) that a linear classifier is fitted to, and as many that it is scored on."""
NEIGHBOURS = 5
SIDE = 800
"""About how many pixels the picture's longer side has."""
_FONT, _LINE = 14, 18


@dataclass(frozen=True)
class Codes:
    """The z of images, and what they show.

    Attributes:
        z: Float64[N, D], the centre of q(z|x), or of q(z|x,y) where there is no other.
        concept: Long[N], numbers of concepts.
    """

    z: Float[Array, "image d"]
    concept: Int[Array, " image"]


@torch.no_grad()
def draw_plane(
    model: Objective,
    data: ConceptDataModule,
    out: Path,
    *,
    by: By | None = None,
    points: int = 20,
    reach: float = 3.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Draws a sample of p(x|z) at each point of a grid, in the colour of the concept that the point belongs to, and
    measures the regions. Where the scale of p(x|z) is a setting, the mean is drawn.

    A point belongs to the concept that is most probable by p(y|z) (``text``), or to that of the training image whose z
    is nearest to it (``nearest``): the figure's panels b and a.

    Args:
        model: With two latents and a p(x|z) that is not told y.
        data: After ``setup()``.
        out: The picture.
        by: What a point belongs to; None: ``text`` where the model has p(y|z).
        points: Images along a side.
        reach: The grid reaches from -reach to reach; z1 points right, z2 up.
        seed: Of the choice of images, and of the samples.

    Returns:
        Plain JSON. ``concepts``: of each its name, the ``prior_mass`` of its points, and its ``grid_share`` of the
        pictured points, most of which have little mass; both sum to 1 but for points whose text cannot be read.
        ``prior_linear``: the share of p(z) whose concept straight lines name right, 1 if the regions are linearly
        separable. ``posterior``: whose centres the other numbers are about. ``linear`` and ``neighbours``: the share of
        test images whose whole concept a logistic regression on z, and the five nearest training images, name right;
        ``majority`` is what the most frequent concept of training would have. ``regions_right``: the share of test
        images whose z lies in the region of their own concept.

    Raises:
        ConfigError: if there are not two latents, or more than 12 concepts.
        CapabilityError: if p(x|z) does not exist without y, or ``by`` is ``text`` and there is no p(y|z).
    """
    number = math.prod(data.schema.sizes)
    if model.latent_size != 2:
        raise ConfigError(f"the model has {model.latent_size} latents, and a plane has two: train it with 2")
    if number > MAX_CONCEPTS:
        raise ConfigError(f"there are {number} concepts, and colours for at most {MAX_CONCEPTS}")
    by = by or ("text" if "concept" in model.spec.likelihoods else "nearest")
    with evaluating(model):
        posterior = "image" if "image" in model.spec.posteriors else "joint"
        train, test = (
            codes(model, data, partition, seed=seed, limit=limit, told=posterior == "joint")
            for partition, limit in (("train", NUM_TRAINING), ("test", NUM_TEST))
        )

        def region(z: Tensor) -> Int[Array, " point"]:
            if by == "nearest":
                return nearest_concept(train, z.cpu().double().numpy())
            return concept_numbers(torch.cat([model.describe_latents(part) for part in z.split(4096)]), data)

        generator = torch.Generator().manual_seed(derive_seed("prior of a plane", seed=seed))
        drawn = model.sample_prior(NUM_PRIOR, generator=generator)
        there = region(drawn.to(model.device))
        mass, straight = shares(there, number), linear_share(drawn.double().numpy(), there)
        beat()
        grid = latent_grid(reach, num_points=points).to(model.device)
        belongs = region(grid)
        with own_randomness(derive_seed("plane", seed=seed), model.device):
            px = model.image_likelihood(grid)
            images = (px.mean if model.has_fixed_scale else px.sample()).clamp(0, 1).cpu()
        right = float((region(torch.from_numpy(test.z).float().to(model.device)) == test.concept).mean())
    names = [", ".join(data.schema.words(concept)) for concept in data.schema.combinations().tolist()]
    legend = [f"{name}: {100 * share:.1f} %" for name, share in zip(names, mass, strict=True)]
    save_picture(_picture(images, belongs, legend, points=points, title=f"{model.spec.name}: share of p(z)"), out)
    return {
        "file": str(out),
        "by": by,
        "concepts": [
            {"concept": name, "prior_mass": float(share), "grid_share": float(seen)}
            for name, share, seen in zip(names, mass, shares(belongs, number), strict=True)
        ],
        "prior_linear": straight,
        "posterior": posterior,
        **separability(train, test),
        "regions_right": right,
    }


def codes(
    model: Objective, data: ConceptDataModule, partition: str, *, seed: int, limit: int, told: bool = False
) -> Codes:
    """The z of at most ``limit`` images of a partition; ``told``: by q(z|x,y) instead of q(z|x)."""
    found, concepts = [], []
    for batch in real_batches(data, partition, seed=seed, device=torch.device(model.device), limit=limit):
        found.append(model.encode(batch.image, batch.description if told else None).cpu().double())
        concepts.append(concept_numbers(batch.concept, data))
        beat()
    if not found:
        raise BenchmarkError(f"there is no {partition} image")
    return Codes(torch.cat(found).numpy(), np.concatenate(concepts))


def concept_numbers(concept: Tensor, data: ConceptDataModule) -> Int[Array, " point"]:
    """Their places among all combinations of values: Long[P, A] to Int[P]; -1 where a value is unspecified."""
    whole = (concept >= 0).all(1)
    number = np.ravel_multi_index(tuple(concept.clamp_min(0).cpu().numpy().T), data.schema.sizes)
    return np.where(whole.cpu().numpy(), number, -1)


def nearest_concept(codes: Codes, z: Float[Array, "point d"]) -> Int[Array, " point"]:
    """The concept of the image whose z is nearest."""
    from scipy.spatial import KDTree

    return np.asarray(codes.concept[KDTree(codes.z).query(z)[1]])


def shares(region: Int[Array, " point"], number: int) -> Float[Array, " concept"]:
    """The share of the points in each region; points without a concept belong to none.

    >>> shares(np.array([0, 0, 1, -1]), 2).tolist()
    [0.5, 0.25]
    """
    counts: Float[Array, " concept"] = np.bincount(region[region >= 0], minlength=number) / len(region)
    return counts


def linear_share(z: Float[Array, "point d"], region: Int[Array, " point"]) -> float:
    """The share of points whose region a linear classifier names, which was fitted to other points and their regions.

    >>> z = np.random.default_rng(0).normal(size=(4000, 2))
    >>> linear_share(z, (z[:, 0] > 0).astype(int)) > 0.99, linear_share(z, (abs(z[:, 0]) > 0.7).astype(int)) < 0.6
    (True, True)
    """
    count = min(NUM_LINEAR, len(z) // 2)
    return float((linear_probe(z[:count], region[:count], z[-count:]) == region[-count:]).mean())


def separability(train: Codes, test: Codes) -> dict[str, float]:
    """How well z tells the concept of an image: see :func:`draw_plane`."""
    from sklearn.neighbors import KNeighborsClassifier

    by_neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(train.z))).fit(train.z, train.concept).predict(test.z)
    majority = np.bincount(train.concept).argmax()
    told = {"linear": linear_probe(train.z, train.concept, test.z), "neighbours": by_neighbours, "majority": majority}
    return {name: float((read == test.concept).mean()) for name, read in told.items()}


def colours(number: int) -> list[Colour]:
    """A colour for each of at most 12 concepts."""
    from matplotlib import colormaps

    palette = colormaps["tab10"].colors if number <= 10 else colormaps["Paired"].colors  # type: ignore[attr-defined]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in palette[:number]]


def _picture(
    images: Tensor, belongs: Int[Array, " point"], legend: list[str], *, points: int, title: str
) -> Image.Image:
    """Images of one channel in the colour of their concept, on white; others in a frame of it."""
    palette = [*colours(len(legend)), INK]
    own = [palette[number] for number in belongs]
    grey = images.shape[1] == 1
    if grey:
        ink = torch.tensor(own, dtype=images.dtype)[:, :, None, None] / 255
        images = 1 - images * (1 - ink)
    # The first coordinate is the fastest, and the second points up.
    upwards = rearrange(torch.arange(points * points), "(y x) -> y x", x=points).flip(0).flatten()
    font, lines = lettering(_FONT, [title, *legend])
    sheet, _ = draw_sheet(
        images[upwards],
        num_columns=points,
        scale=max(1, SIDE // (points * images.shape[-1])),
        gap=0 if grey else 1,
        border=0 if grey else 2,
        colours=[own[int(place)] for place in upwards],
        margins=(0, (len(lines) + 1) * _LINE, 0, 0),
        paper=PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    for place, (line, colour) in enumerate(zip(lines, [INK, *palette], strict=False)):
        draw.text((_LINE // 2, _LINE // 2 + place * _LINE), line, colour, font)
    return sheet
