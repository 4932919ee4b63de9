"""The factor grid of dSprites: sprites against their definition, sample by sample, and every place of one of them."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch

from mmvae_bench.worlds.dsprites import SCALES, SIDE, SIZES, WINDOW, Shifts, factors, same_sprite, sprites

NUM_IMAGES = 737_280


def margin(shape: int, u: float, v: float) -> float:
    """Negative inside, as the module defines each shape."""
    if shape == 0:
        return max(abs(u), abs(v)) - 0.66
    if shape == 1:
        return (u / 0.94) ** 2 + (v / 0.47) ** 2 - 1
    a, b = 1.2 * u, 0.15 - 1.2 * v
    return (a * a + b * b - 0.6) ** 3 - 1.6 * a * a * b**3


@pytest.mark.parametrize("number", [*range(0, 720, 31), 39, 719])
def test_a_pixel_is_white_where_half_of_its_samples_are_inside(number: int) -> None:
    shape, scale, turn = number // 240, SCALES[number // 40 % 6], number % 40
    cos, sin = math.cos(2 * math.pi * turn / 39), math.sin(2 * math.pi * turn / 39)
    unsure = 0
    for row, column in product(range(WINDOW), repeat=2):
        inside, doubtful = 0, 0
        for i, j in product((-0.375, -0.125, 0.125, 0.375), repeat=2):
            x, y = (column - 16 + j) / (16 * scale), (row - 16 + i) / (16 * scale)
            value = margin(shape, cos * x + sin * y, cos * y - sin * x)
            inside, doubtful = inside + (value < 0), doubtful + (abs(value) < 1e-5)
        if inside - doubtful < 8 <= inside + doubtful and doubtful:
            unsure += 1
            continue
        assert bool(sprites()[number, row, column]) == (inside >= 8)
    assert unsure <= 8


def test_702_of_the_720_sprites_differ_and_669_of_their_bitmaps() -> None:
    """The first and the last orientation are one. A square is the same after a quarter of a turn, an ellipse after a
    half: no two other orientations are that far apart. Bitmaps are coarser."""
    turns = [Fraction(k, 39) for k in range(40)]
    assert [len({turn % period for turn in turns}) for period in (Fraction(1, 4), Fraction(1, 2), 1)] == [39, 39, 39]
    assert torch.equal(sprites().view(3, 6, 40, -1)[:, :, 39], sprites().view(3, 6, 40, -1)[:, :, 0])
    bitmaps = [bitmap.numpy().tobytes() for bitmap in sprites()]
    assert len(bitmaps) == 720
    assert len(set(bitmaps)) == 669
    assert same_sprite().tolist() == [bitmaps.index(bitmap) for bitmap in bitmaps]
    # Equal bitmaps are of one shape and scale, and of orientations that are at most a step from a symmetry.
    for number, first in enumerate(same_sprite().tolist()):
        assert number // 40 == first // 40
        period = (90, 180, 360)[number // 240]
        apart = (number - first) * 360 / 39 % period
        assert min(apart, period - apart) < 360 / 39 + 1e-9


def test_a_larger_scale_and_a_turn_are_a_larger_area_and_the_same() -> None:
    areas = sprites().flatten(1).sum(1).view(3, 6, 40).double()
    for shape in range(3):
        mean = areas[shape].mean(1)
        ratio = mean / torch.tensor(SCALES, dtype=torch.float64) ** 2
        assert (ratio / ratio[-1] - 1).abs().max() < 0.03
        assert ((areas[shape] / mean[:, None]) - 1).abs().max() < 0.15


def test_the_last_factor_changes_fastest() -> None:
    numbers = torch.tensor([0, 1, 31, 32, 1024, 40_960, 245_760, 368_643, NUM_IMAGES - 1])
    expected = np.stack(np.unravel_index(numbers.numpy(), SIZES), 1)
    assert factors(numbers).tolist() == expected.tolist()
    assert math.prod(SIZES) == NUM_IMAGES


def test_every_place_of_a_sprite_is_the_sprite_there() -> None:
    sprite = 2 * 240 + 5 * 40 + 7
    images = Shifts().draw(sprite * 1024 + torch.arange(1024))
    assert images.dtype == torch.uint8
    for place, image in enumerate(images):
        x, y = divmod(place, 32)
        expected = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
        expected[y : y + WINDOW, x : x + WINDOW] = sprites()[sprite]
        assert torch.equal(image, expected)


def test_no_sprite_is_cut_and_none_touches_the_edge_of_its_window() -> None:
    edge = torch.ones(WINDOW, WINDOW, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    assert not (sprites() & edge).any()
    numbers = torch.arange(720)[:, None] * 1024 + torch.tensor([0, 31, 992, 1023])
    areas = Shifts().draw(numbers.flatten()).flatten(1).sum(1).view(720, 4)
    assert torch.equal(areas, sprites().flatten(1).sum(1)[:, None].expand(720, 4))


def test_x_is_to_the_right_and_y_is_down() -> None:
    corners = Shifts().draw(torch.tensor([0, 31, 992, 1023]) + 245_760).double()
    rows = (corners.sum(2) * torch.arange(SIDE)).sum(1) / corners.sum((1, 2))
    columns = (corners.sum(1) * torch.arange(SIDE)).sum(1) / corners.sum((1, 2))
    assert columns.tolist() == pytest.approx([16, 16, 47, 47], abs=0.5)
    assert rows.tolist() == pytest.approx([16, 47, 16, 47], abs=0.5)
