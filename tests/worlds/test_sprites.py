"""Sprites against their definition, pixel by pixel and sample by sample, and against themselves in other batches."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import pytest
import scipy.stats
import torch
from torch import Tensor

from mmvae_bench.worlds.sprites import (
    BACKGROUNDS,
    CENTRES,
    COLOURS,
    HALF_EXTENTS,
    NUM_VALUES,
    Geometry,
    draw_concepts,
    draw_geometry,
    render,
)

EVERY = torch.tensor(list(product(*map(range, NUM_VALUES))))
"""The 240 concepts of the last level."""


def margin(shape: int, u: float, v: float) -> float:
    """Negative inside, as the module defines each shape."""
    if shape == 0:
        return max(abs(u), abs(v)) - 0.85
    if shape == 1:
        return (u / 1.25) ** 2 + (v / 0.62) ** 2 - 1
    a, b = 1.15 * u, 0.1 - 1.15 * v
    return (a * a + b * b - 0.9) ** 3 - 1.6 * a * a * b**3


def samples_inside(geometry: Geometry, row: int, column: int, *, canvas: int) -> int | None:
    """How many of a pixel's four samples are inside sprite 0; None where one is too close to the edge to say."""
    angle, extent, inside = geometry.angle.item(), geometry.half_extent.item(), 0
    for i, j in product((0.25, 0.75), repeat=2):
        x, y = (column + j) / canvas - geometry.centre[0, 0].item(), (row + i) / canvas - geometry.centre[0, 1].item()
        u, v = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
        value = margin(int(geometry.shape), u / extent, v / extent)
        if abs(value) < 1e-4:
            return None
        inside += value < 0
    return inside


@pytest.mark.parametrize("canvas", [20, 32])
def test_every_pixel_is_the_mean_of_its_samples_and_the_mask_is_where_half_are_inside(canvas: int) -> None:
    """Shapes, sizes, locations and backgrounds in full, colours in turn."""
    concepts = EVERY[:: 5 if canvas == 32 else 16].clone()
    concepts[:, 2] = torch.arange(len(concepts)) % 5
    numbers = torch.arange(len(concepts)) * 97
    geometry = draw_geometry(numbers, concepts, seed=3)
    pixels, masks = render(geometry, canvas=canvas)
    unsure = 0
    for k in range(len(concepts)):
        one = geometry[k : k + 1]
        colour, background = one.colour[0].tolist(), int(one.background)
        for row, column in product(range(canvas), repeat=2):
            inside = samples_inside(one, row, column, canvas=canvas)
            if inside is None:
                unsure += 1
                continue
            mixed = [math.floor((inside * c + (4 - inside) * background) / 4 + 0.5) for c in colour]
            assert pixels[k, :, row, column].tolist() == mixed
            assert bool(masks[k, 0, row, column]) == (inside >= 2)
    assert unsure < 1e-3 * len(concepts) * canvas**2
    assert {tuple(concept) for concept in concepts[:, [0, 1]].tolist()} == set(product(range(3), range(2)))


def test_a_concept_says_where_how_large_and_in_which_colours() -> None:
    numbers = torch.arange(240 * 40)
    concepts = EVERY.repeat(40, 1)
    geometry = draw_geometry(numbers, concepts, seed=0)
    shape, size, colour, location, background = concepts.unbind(1)
    assert torch.equal(geometry.shape, shape)
    relative = geometry.half_extent / torch.tensor(HALF_EXTENTS, dtype=torch.float64)[size] - 1
    offset = (geometry.centre - torch.tensor(CENTRES, dtype=torch.float64)[location]) / 0.04
    shade = geometry.background / 255 - torch.tensor(BACKGROUNDS, dtype=torch.float64)[background]
    for drawn in (relative / 0.12, geometry.angle / 0.5, offset[:, 0], offset[:, 1]):
        assert scipy.stats.kstest(drawn.numpy(), "uniform", (-1, 2)).pvalue > 1e-3
    assert bool((shade.abs() <= 0.1 + 0.5 / 255).all())
    assert scipy.stats.kstest((shade[background == 1] / 0.1).numpy(), "uniform", (-1, 2)).pvalue > 1e-3
    # Of the five colours, a sprite's is the closest; of two sizes and two backgrounds, none overlap.
    distances = torch.cdist(geometry.colour.double() / 255, torch.tensor(COLOURS, dtype=torch.float64))
    assert torch.equal(distances.argmin(1), colour)
    assert geometry.half_extent[size == 0].max() < geometry.half_extent[size == 1].min()
    assert geometry.background[background == 0].max() < geometry.background[background == 1].min()
    # Left and right, top and bottom: the middle of the canvas lies between.
    assert torch.equal(geometry.centre[:, 0] > 0.5, location % 2 == 1)
    assert torch.equal(geometry.centre[:, 1] > 0.5, location >= 2)


def test_what_a_concept_leaves_open_does_not_depend_on_it_or_on_each_other() -> None:
    """The same number in another colour is the same sprite elsewhere in the schema: only its colour differs."""
    numbers, concepts = torch.arange(240), EVERY.clone()
    recoloured = concepts.clone()
    recoloured[:, 2] = (recoloured[:, 2] + 1) % 5
    (one, first), (other, second) = (
        render(draw_geometry(numbers, each, seed=0), canvas=32) for each in (concepts, recoloured)
    )
    assert torch.equal(first, second)
    assert bool((one != other).flatten(1).any(1).all())
    outside = ~torch.nn.functional.max_pool2d(first.float(), 3, 1, 1).bool().expand_as(one)
    assert torch.equal(one[outside], other[outside])
    drawn = draw_geometry(torch.arange(20_000), torch.zeros(20_000, 5, dtype=torch.long), seed=0)
    columns = [drawn.half_extent, drawn.angle, *drawn.centre.unbind(1), *drawn.colour.unbind(1), drawn.background]
    correlations = torch.corrcoef(torch.stack([column.double() for column in columns]))
    assert (correlations - torch.eye(len(columns))).abs().max() < 0.03


def test_an_image_depends_on_its_number_alone() -> None:
    numbers = torch.arange(150) * 11
    concepts = draw_concepts(numbers, level=5, seed=1)

    def drawn(part: Tensor) -> tuple[Tensor, Tensor]:
        return render(draw_geometry(numbers[part], concepts[part], seed=1), canvas=32)

    pixels, masks = drawn(torch.arange(150))
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    shuffled = drawn(order)
    assert torch.equal(shuffled[0], pixels[order])
    assert torch.equal(shuffled[1], masks[order])
    for k in range(0, 150, 7):
        assert torch.equal(drawn(torch.tensor([k]))[0][0], pixels[k])
    again = render(draw_geometry(numbers, concepts, seed=2), canvas=32)[0]
    assert bool((again != pixels).flatten(1).any(1).all())
    assert len({image.numpy().tobytes() for image in pixels}) == 150


def test_concepts_are_uniform_and_a_lower_level_has_the_first_attributes_of_a_higher_one() -> None:
    numbers = torch.arange(48_000)
    concepts = draw_concepts(numbers, level=5, seed=0)
    place = torch.tensor([math.prod(NUM_VALUES[k + 1 :]) for k in range(5)])
    counts = (concepts * place).sum(1).bincount(minlength=240)
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3
    for level in range(1, 5):
        assert torch.equal(draw_concepts(numbers, level=level, seed=0), concepts[:, :level])


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_what_a_level_leaves_out_is_big_white_in_the_middle_and_dark(level: int) -> None:
    numbers = torch.arange(500)
    concepts = draw_concepts(numbers, level=level, seed=0)
    geometry = draw_geometry(numbers, concepts, seed=0)
    assert geometry.background.max() <= 51
    if level < 4:
        assert (geometry.centre - 0.5).abs().max() <= 0.04
    if level < 3:
        assert geometry.colour.min() >= 0.9 * 0.95 * 255 - 1
    if level < 2:
        assert geometry.half_extent.min() >= 0.88 * 0.24


def test_the_canvas_holds_nearly_all_of_the_largest_sprites() -> None:
    """In a quadrant as in the middle, with the same size and angle."""
    concepts = EVERY[EVERY[:, 1] == 1].repeat(20, 1)
    geometry = draw_geometry(torch.arange(len(concepts)), concepts, seed=0)
    middle = replace(geometry, centre=torch.full_like(geometry.centre, 0.5))
    areas, whole = (render(each, canvas=32)[1].flatten(1).sum(1) for each in (geometry, middle))
    assert (areas / whole).min() > 0.85
    assert (areas / whole).mean() > 0.98
