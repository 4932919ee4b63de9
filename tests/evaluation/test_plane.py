"""Regions of a latent space of two dimensions, against areas with a closed form and a search through every image."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.distributions.latents import FactorisedCategorical
from mmvae_bench.evaluation.plane import Codes, colours, draw_plane, nearest_concept, separability
from mmvae_bench.objectives.base import Objective

from .fakes import Store

SCHEMA = Schema((Attribute("right", ("no", "yes")), Attribute("height", ("low", "high"))))
EDGE = 0.5
"""Where right begins; high begins at 0."""


class Spec:
    name = "quadrants"
    posteriors = frozenset({"image", "concept"})
    likelihoods: ClassVar[frozenset[str]] = frozenset({"image", "concept"})


class Quadrants(torch.nn.Module):
    """An image is its z, beside which q(z|x) is; p(y|z) says on which side of two lines z is. p(x|z) shows z2 as a
    grey between -3 and 3."""

    schema, latent_size, captions = SCHEMA, 2, None
    image_shape, has_fixed_scale = (1, 1, 2), True
    device = torch.device("cpu")
    own_prior, sample_prior = Objective.own_prior, Objective.sample_prior
    centre, encode, describe_latents = Objective.centre, Objective.encode, Objective.describe_latents

    def __init__(self, spec: Any = Spec) -> None:
        super().__init__()
        self.spec = spec

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        assert image is not None
        return Independent(Normal(image.flatten(1)[:, :2], 0.3), 1)

    def concept_likelihood(self, z: Tensor) -> FactorisedCategorical:
        zero = torch.zeros(len(z))
        return FactorisedCategorical([torch.stack([zero, each], -1) for each in (z[:, 0] - EDGE, z[:, 1])])

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        grey = (z[:, 1] + 3) / 6
        return Independent(Normal(grey[:, None, None, None].expand(-1, 1, 2, 2), 0.1), 3)


class Points:
    """Images of one channel with two pixels; every tenth is called otherwise than the lines say."""

    schema, captions, image_shape = SCHEMA, None, (1, 1, 2)

    def __init__(self, number: int = 400) -> None:
        z = torch.randn(number, 2, generator=torch.Generator().manual_seed(0))
        self.concept = torch.stack([z[:, 0] > EDGE, z[:, 1] > 0], 1).long()
        self.concept[::10] = 1 - self.concept[::10]
        self.z, self.store = z, Store(z.reshape(-1, 1, 1, 2), self.concept)

    def rows(self, partition: str) -> Tensor:
        half = len(self.z) // 2
        return torch.arange(half) if partition == "train" else torch.arange(half, len(self.z))


def drawn(out: Path, data: Points | None = None, model: Quadrants | None = None, **options: Any) -> dict[str, Any]:
    return draw_plane(cast(Objective, model or Quadrants()), cast("Any", data or Points()), out, **options)


def test_the_prior_has_the_mass_of_quadrants(tmp_path: Path) -> None:
    found = drawn(tmp_path / "x.png")
    left = stats.norm.cdf(EDGE)
    masses = {each["concept"]: each["prior_mass"] for each in found["concepts"]}
    names = ["height=low, no other", "height=high, no other", "right, height=low", "right, height=high"]
    assert list(masses) == names
    assert list(masses.values()) == pytest.approx([left / 2, left / 2, (1 - left) / 2, (1 - left) / 2], abs=0.005)
    assert sum(masses.values()) == pytest.approx(1)
    # Of twenty columns from -3 to 3, twelve lie to the left of 0.5; ten rows are below 0.
    assert [each["grid_share"] for each in found["concepts"]] == pytest.approx([0.3, 0.3, 0.2, 0.2])
    assert found["by"] == "text"
    assert found["posterior"] == "image"


def test_the_share_of_images_that_regions_name_right(tmp_path: Path) -> None:
    """Every tenth image is called otherwise, so nine in ten are right, and nothing fitted to z does better."""
    found = drawn(tmp_path / "x.png")
    assert found["regions_right"] == pytest.approx(0.9, abs=1e-9)
    assert found["linear"] <= 0.9 + 1e-9
    assert found["neighbours"] > 0.75
    train, test = Points().concept[:200], Points().concept[200:]
    most = torch.unique(train, dim=0, return_counts=True)
    assert found["majority"] == pytest.approx(float((test == most[0][most[1].argmax()]).all(1).float().mean()))
    assert found["prior_linear"] > 0.97


def test_the_nearest_image_decides_where_there_is_no_text(tmp_path: Path) -> None:
    class ImagesAlone(Spec):
        likelihoods: ClassVar[frozenset[str]] = frozenset({"image"})

    assert drawn(tmp_path / "x.png", model=Quadrants(ImagesAlone))["by"] == "nearest"
    assert drawn(tmp_path / "x.png")["by"] == "text"
    assert drawn(tmp_path / "x.png", by="nearest")["by"] == "nearest"
    generator = np.random.default_rng(1)
    codes = Codes(generator.normal(size=(50, 2)), generator.integers(0, 4, 50))
    z = generator.normal(size=(200, 2))
    best = ((z[:, None] - codes.z[None]) ** 2).sum(-1).argmin(1)
    assert (nearest_concept(codes, z) == codes.concept[best]).all()


def test_z1_points_right_and_z2_up(tmp_path: Path) -> None:
    """The grey of an image is its z2; its colour is that of its quadrant."""
    drawn(tmp_path / "x.png", points=4)
    sheet = np.asarray(Image.open(tmp_path / "x.png"), dtype=float) / 255
    scale = 800 // (4 * 2)
    side = 2 * scale
    grid = sheet[-4 * side :, : 4 * side].reshape(4, side, 4, side, 3).mean((1, 3))
    palette = np.array(colours(4)) / 255
    for row in range(4):
        for column in range(4):
            z1, z2 = -3 + 2 * column, 3 - 2 * row
            number = 2 * int(z1 > EDGE) + int(z2 > 0)
            grey = (z2 + 3) / 6
            assert grid[row, column] == pytest.approx(1 - grey * (1 - palette[number]), abs=0.01)


def test_separability_of_a_line_and_of_a_ring() -> None:
    """A straight line cannot tell what is inside a circle; five neighbours can."""
    z = np.random.default_rng(0).normal(size=(3000, 2))
    halves, ring = (z[:, 0] > 0).astype(int), ((z**2).sum(1) < 1.4).astype(int)
    line = separability(Codes(z[:2000], halves[:2000]), Codes(z[2000:], halves[2000:]))
    assert line["linear"] > 0.99
    circle = separability(Codes(z[:2000], ring[:2000]), Codes(z[2000:], ring[2000:]))
    assert circle["linear"] < circle["neighbours"] - 0.3
    assert circle["majority"] == pytest.approx(max(ring[2000:].mean(), 1 - ring[2000:].mean()))


def test_what_has_no_plane(tmp_path: Path) -> None:
    model = Quadrants()
    model.latent_size = 3
    with pytest.raises(ConfigError, match="the model has 3 latents"):
        drawn(tmp_path / "x.png", model=model)
    data = Points()
    data.schema = Schema((Attribute("digit", tuple("0123456789")), Attribute("odd", ("no", "yes"))))
    with pytest.raises(ConfigError, match="20 concepts, and colours for at most 12"):
        drawn(tmp_path / "x.png", data)
    assert not (tmp_path / "x.png").exists()


def test_each_of_twelve_concepts_has_its_own_colour() -> None:
    for number in (1, 4, 10, 11, 12):
        assert len(set(colours(number))) == number
