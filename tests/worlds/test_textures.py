"""Textures against their formulas, pixel by pixel, and behind sprites."""

from __future__ import annotations

import math

import pytest
import torch

from mmvae_bench.base import randomness
from mmvae_bench.base.seeds import derive_seed
from mmvae_bench.worlds.sprites import coverage, draw_concepts, draw_geometry, render
from mmvae_bench.worlds.textures import Procedural, Swatches

LARGEST = 26
"""A contrast of 0.1 in 256 shades, rounded."""


def uniforms(purpose: str, number: int, count: int, *, seed: int) -> list[float]:
    key = randomness.keys(derive_seed(purpose, seed=seed), torch.tensor([number]))
    values: list[float] = randomness.uniform(key, count)[0].tolist()
    return values


def pattern(number: int, row: int, column: int, *, seed: int, canvas: int) -> float | None:
    """Stripes, checks or waves at the middle of a pixel, in [-1, 1]; None where a sign is in doubt, or for grain."""
    kind, cycles, turn, phase, other_phase = uniforms("texture", number, 5, seed=seed)
    x, y, cycles, angle = (column + 0.5) / canvas, (row + 0.5) / canvas, 2 + 4 * cycles, math.pi * turn
    across, down = cycles * math.cos(angle), cycles * math.sin(angle)
    first = math.cos(2 * math.pi * (across * x + down * y + phase))
    second = math.cos(2 * math.pi * (across * y - down * x + other_phase))
    if kind >= 0.75 or (kind < 0.5 and abs(first) < 1e-4) or (0.25 <= kind < 0.5 and abs(second) < 1e-4):
        return None
    if kind >= 0.5:
        return (first + second) / 2
    return math.copysign(1, first if kind < 0.25 else first * second)


@pytest.mark.parametrize("number", range(8))
def test_a_texture_is_its_formula_less_the_mean(number: int) -> None:
    canvas, seed = 20, 3
    texture = Procedural(seed=seed, canvas=canvas).draw(torch.tensor([number]))[0]
    places = [(row, column) for row in range(canvas) for column in range(canvas)]
    expected = [pattern(number, row, column, seed=seed, canvas=canvas) for row, column in places]
    known = [(place, 25.5 * value) for place, value in zip(places, expected, strict=True) if value is not None]
    if uniforms("texture", number, 5, seed=seed)[0] >= 0.75:
        assert not known
        return
    assert len(known) > 390
    mean = sum(value for _, value in known) / len(known)
    for (row, column), value in known:
        assert abs(int(texture[row, column]) - (value - mean)) <= 1.2


def test_grain_is_noise_in_squares() -> None:
    grain = [n for n in range(200) if uniforms("texture", n, 5, seed=0)[0] >= 0.75]
    textures = Procedural(seed=0, canvas=32).draw(torch.tensor(grain))
    squares = textures.unflatten(1, (16, 2)).unflatten(3, (16, 2))
    assert torch.equal(squares, squares[:, :, :1, :, :1].expand_as(squares))
    values = textures[:, ::2, ::2].double()
    assert values.std() == pytest.approx(25.5 / math.sqrt(3), rel=0.03)
    neighbours = (values[:, 1:] * values[:, :-1]).mean() / values.var()
    assert abs(neighbours) < 0.02


def test_every_kind_occurs_as_often_and_no_texture_is_darker_or_stronger_than_another() -> None:
    numbers = torch.arange(2000)
    textures = Procedural(seed=0, canvas=16).draw(numbers)
    kinds = torch.tensor([int(4 * uniforms("texture", n, 1, seed=0)[0]) for n in numbers.tolist()]).bincount()
    assert kinds.min() > 430
    assert textures.double().mean((1, 2)).abs().max() <= 0.5
    assert textures.abs().max() <= 2 * LARGEST
    assert (textures.abs() <= LARGEST + 1).double().mean() > 0.9
    assert textures.double().std((1, 2)).min() > 3


def test_a_texture_depends_on_its_number_alone() -> None:
    numbers = torch.arange(100) * 7
    drawing = Procedural(seed=1, canvas=32)
    textures = drawing.draw(numbers)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawing.draw(numbers[order]), textures[order])
    for k in (0, 50, 99):
        assert torch.equal(drawing.draw(numbers[k : k + 1])[0], textures[k])
    assert len({texture.numpy().tobytes() for texture in textures}) == 100
    assert not torch.equal(Procedural(seed=2, canvas=32).draw(numbers), textures)


def test_a_swatch_is_a_part_of_a_picture_or_all_of_it_shrunk() -> None:
    canvas = 6
    pictures = torch.randint(256, (5, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    numbers = torch.arange(300)
    drawn = Swatches(pictures, seed=4).draw(numbers)
    shrunk = 0
    for number, texture in zip(numbers.tolist(), drawn, strict=True):
        which, top, left, zoom = uniforms("swatch", number, 4, seed=4)
        picture = pictures[int(5 * which)].double()
        if zoom < 0.5:
            shrunk += 1
            grey = torch.tensor(
                [[picture[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean() for c in range(canvas)] for r in range(canvas)]
            )
        else:
            grey = picture[int(7 * top) : int(7 * top) + canvas, int(7 * left) : int(7 * left) + canvas]
        difference = grey - grey.mean()
        expected = difference * 25.5 / difference.abs().max()
        assert (texture - expected).abs().max() <= 1.01
    assert 110 < shrunk < 190


def test_a_picture_of_one_grey_is_no_texture() -> None:
    assert not Swatches(torch.full((2, 16, 16), 77, dtype=torch.uint8), seed=0).draw(torch.arange(20)).any()


def test_a_texture_is_behind_the_sprite_and_nowhere_else() -> None:
    numbers = torch.arange(120)
    geometry = draw_geometry(numbers, draw_concepts(numbers, level=5, seed=0), seed=0)
    texture = Procedural(seed=0, canvas=32).draw(numbers)
    plain, masks = render(geometry, canvas=32)
    textured, same_masks = render(geometry, canvas=32, texture=texture)
    assert torch.equal(masks, same_masks)

    samples = coverage(geometry, canvas=32)[:, None].expand_as(plain)
    outside, inside = samples == 0, samples == 4
    behind = (geometry.background[:, None, None] + texture).clamp(0, 255)[:, None].expand_as(plain)
    assert torch.equal(textured[outside].short(), behind[outside])
    assert torch.equal(textured[inside], plain[inside])
    # Dark stays darker than light.
    means = torch.where(outside, textured.double(), torch.nan).flatten(1).nanmean(1)
    light = draw_concepts(numbers, level=5, seed=0)[:, 4] == 1
    assert means[~light].max() + 50 < means[light].min()
