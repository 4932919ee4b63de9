"""House numbers that are drawn: their digits are those of the typefaces, their blocks those of a JPEG."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmvae_bench.worlds.house_numbers import (
    BLOCK,
    CONTRAST,
    GLYPH,
    LUMINANCE,
    TYPEFACES,
    HouseNumbers,
    _colours,
    blocky,
    glyphs,
    widths,
)


def recipe(num_images: int = 400, canvas: int = 32, seed: int = 0) -> HouseNumbers:
    return HouseNumbers(num_images=num_images, canvas=canvas, seed=seed)


def pieces(covered: np.ndarray) -> int:
    """How many connected pieces there are, by flooding."""
    left, number = covered.copy(), 0
    while left.any():
        number += 1
        waiting = [tuple(np.argwhere(left)[0])]
        while waiting:
            row, column = waiting.pop()
            if 0 <= row < len(left) and 0 <= column < left.shape[1] and left[row, column]:
                left[row, column] = False
                waiting += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
    return number


@pytest.mark.parametrize("name", ["DejaVuSans", "DejaVuSerif-BoldItalic", "STIXGeneralBol", "cmss10"])
def test_a_glyph_has_the_holes_of_its_digit(name: str) -> None:
    """0, 4, 6 and 9 have one hole and 8 has two; each is of one piece, and as high as its square."""
    holes = {}
    for digit in range(10):
        glyph = glyphs()[TYPEFACES.index(name), digit]
        assert pieces(glyph) == 1
        holes[digit] = pieces(~np.pad(glyph, 1)) - 1
        rows = np.flatnonzero(glyph.any(1))
        assert (rows[0], rows[-1]) == (0, GLYPH - 1)
        columns = np.flatnonzero(glyph.any(0))
        assert abs(columns[0] + columns[-1] - (GLYPH - 1)) <= 2
        assert widths()[TYPEFACES.index(name), digit] == (columns[-1] - columns[0] + 1) / GLYPH
    assert holes == {0: 1, 1: 0, 2: 0, 3: 0, 4: 1, 5: 0, 6: 1, 7: 0, 8: 2, 9: 1}


def test_a_glyph_is_upright() -> None:
    """A 6 has its hole below, a 9 above; a 7 has its bar above, a 4 its foot to the right of the middle."""
    sans = TYPEFACES.index("DejaVuSans-Bold")
    middles = [np.argwhere(glyphs()[sans, digit])[:, 0].mean() for digit in (6, 9, 7)]
    assert middles[0] > GLYPH / 2 > middles[1]
    assert middles[2] < GLYPH / 2
    assert np.argwhere(glyphs()[sans, 4])[:, 1].mean() > GLYPH / 2
    assert not np.array_equal(glyphs()[sans, 2], glyphs()[sans, 2][::-1])


def test_a_block_is_rounded_in_its_cosines() -> None:
    """Against the definition of the transform, and with steps that grow with the frequency."""
    image = np.random.default_rng(0).random((16, 16, 3))
    found = blocky(image, step=0.1)
    basis = np.array([[math.sqrt((1 if k == 0 else 2) / 8) * math.cos(math.pi * (i + 0.5) * k / 8) for i in range(8)]
                      for k in range(8)])  # fmt: skip
    for top in (0, 8):
        block = image[top : top + 8, 8:, 1]
        cosines = basis @ block @ basis.T
        steps = 0.1 * (1 + np.add.outer(np.arange(8), np.arange(8)))
        expected = basis.T @ (np.round(cosines / steps) * steps) @ basis
        assert np.abs(found[top : top + 8, 8:, 1] - expected).max() < 1e-9
    assert np.abs(blocky(image, step=1e-9) - image).max() < 1e-6
    flat = np.full((8, 8, 1), 0.4)
    assert blocky(flat, step=0.1).std() < 1e-12


def test_paint_and_wall_are_told_apart() -> None:
    u = np.random.default_rng(0).random((2000, 13))
    for row in u:
        wall, paint = _colours(row)
        assert abs(LUMINANCE @ (paint - wall)) > 0.6 * CONTRAST
        assert min(wall.min(), paint.min()) >= 0
        assert max(wall.max(), paint.max()) <= 1


def test_an_image_depends_on_its_number_alone() -> None:
    together = recipe().make(0, 40)
    for number in (0, 17, 39):
        alone = recipe(1000).make(number, number + 1)
        assert np.array_equal(alone.pixels[0], together.pixels[number])
        assert np.array_equal(alone.concepts[0], together.concepts[number])
    assert not np.array_equal(recipe(seed=1).make(0, 1).pixels, together.pixels[:1])
    assert np.array_equal(recipe().make(5, 9).pixels, together.pixels[5:9])


def test_the_mask_is_the_digit_without_its_neighbours() -> None:
    """Of its typeface and in the middle; inside and outside differ in colour as paint and wall do."""
    made = recipe(canvas=64).make(0, 60)
    assert made.masks is not None
    apart = []
    for pixels, mask, digit, face in zip(
        made.pixels, made.masks[:, 0], made.concepts[:, 0], made.columns["typeface"], strict=True
    ):
        rows, columns = np.nonzero(mask)
        assert abs(rows.mean() / 64 - 0.5) < 0.2
        assert abs(columns.mean() / 64 - 0.5) < 0.2
        high = (rows.max() - rows.min() + 1) / 64
        assert 0.55 < high < 1.1
        # As much of its box is covered as of the glyph's.
        glyph = glyphs()[face, digit]
        box = glyph[:, np.flatnonzero(glyph.any(0))[0] : np.flatnonzero(glyph.any(0))[-1] + 1].mean()
        share = mask.sum() / ((rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1))
        assert 0.45 * box < share < 1.7 * box
        apart.append(np.abs(pixels[mask].mean(0) - pixels[~mask].mean(0)).max())
    assert np.median(apart) > 40


def test_neighbours_reach_into_most_frames() -> None:
    """More than half of the images have one on either side: 0.55 each, so 0.8 have any."""
    made = recipe(canvas=32).make(0, 300)
    assert made.masks is not None
    beside = 0
    for pixels, mask in zip(made.pixels.astype(float), made.masks[:, 0], strict=True):
        ink, ground = pixels[mask].mean(0), np.median(pixels[~mask], 0)
        toward = (pixels - ground) @ (ink - ground) / ((ink - ground) @ (ink - ground))
        edges = np.concatenate([toward[6:26, :3].ravel(), toward[6:26, -3:].ravel()])
        beside += (edges > 0.6).mean() > 0.03
    assert 0.4 < beside / 300 < 0.95


def test_blocks_fit_the_canvas() -> None:
    assert BLOCK == 8
    assert recipe(canvas=16).make(0, 1).pixels.shape == (1, 16, 16, 3)
