"""Faces under one light: the equation by an independent renderer, shadows on surfaces where they are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmvae_bench.specs.built_in.few_labels import AZIMUTHS, ELEVATIONS
from mmvae_bench.worlds.lit_faces import (
    LIGHTS,
    NOISE,
    OFFSET,
    PER_PIXEL,
    LitFaces,
    binned,
    direction,
    face,
    gaussian,
    lit,
    normals_of,
    shading,
)

BINS = (AZIMUTHS, ELEVATIONS)
SIDE = 90
STEP = 2 / SIDE


def grid() -> tuple[np.ndarray, np.ndarray]:
    """x to the right and y up, of rows from the top down."""
    centres = (np.arange(SIDE) + 0.5) * STEP - 1
    x, y = np.meshgrid(centres, -centres)
    return x, y


def recipe(num_people: int = 2, canvas: int = 16, seed: int = 0) -> LitFaces:
    return LitFaces(num_people=num_people, canvas=canvas, seed=seed, bins=BINS)


def test_an_image_is_the_paper_s_equation_pixel_by_pixel() -> None:
    """(n . l)_+ v r + b, summed sample by sample in Python, with normals as cross products of the surface's edges."""
    canvas, person, which = 16, 1, LIGHTS.index((70, 45))
    one, (azimuth, elevation) = face(person, canvas=canvas, seed=0), LIGHTS[which]
    a, e = math.radians(azimuth), math.radians(elevation)
    light = (math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a))
    side, step = canvas * PER_PIXEL, 2 / (canvas * PER_PIXEL)
    free = lit(one.height, np.array(light), step)
    made = recipe().make(person * 64 + which, person * 64 + which + 1)
    assert made.concepts.tolist() == [[1, 3, 2]]
    found = []
    for row, column in ((5, 5), (8, 8), (10, 6), (9, 11), (12, 9), (0, 0)):
        total = 0.0
        for i in range(row * PER_PIXEL, (row + 1) * PER_PIXEL):
            for k in range(column * PER_PIXEL, (column + 1) * PER_PIXEL):
                up, down, left, right = max(i - 1, 0), min(i + 1, side - 1), max(k - 1, 0), min(k + 1, side - 1)
                along = ((right - left) * step, 0.0, one.height[i, right] - one.height[i, left])
                above = (0.0, (down - up) * step, one.height[up, k] - one.height[down, k])
                normal = np.cross(along, above)
                normal = normal / math.sqrt(float(normal @ normal))
                total += max(0.0, float(normal @ np.array(light))) * free[i, k] * one.albedo[i, k]
        grey = total / PER_PIXEL**2 + OFFSET
        found.append(grey)
        assert abs(made.pixels[0, row, column, 0] / 255 - grey) < 5 * NOISE + 0.5 / 255
    assert max(found) - min(found) > 0.2, "all pixels are alike: nothing was compared"


def test_the_noise_is_that_of_the_number_and_normal() -> None:
    noise = gaussian(torch.arange(40), 2500, seed=3)
    assert abs(noise.mean()) < 0.015
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert float((np.abs(noise) < 1).mean()) == pytest.approx(0.6827, abs=0.005)
    alone = gaussian(torch.tensor([17]), 2500, seed=3)
    assert np.array_equal(alone[0], noise[17])


def test_normals_are_those_of_a_sphere() -> None:
    x, y = grid()
    inside = x**2 + y**2 < 0.5
    height = np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    normals = normals_of(height, STEP)
    assert np.abs(normals[inside] - np.stack([x, y, height], -1)[inside]).max() < 2e-3
    # Where the light is, there it is brightest.
    brightest = np.unravel_index(np.clip(normals @ direction(30, 20), 0, None).argmax(), x.shape)
    assert (x[brightest], y[brightest]) == pytest.approx((math.cos(0.349) * 0.5, math.sin(0.349)), abs=0.03)


@pytest.mark.parametrize(("azimuth", "elevation"), [(60, 0), (-60, 0), (0, 60), (0, -60)])
def test_a_wall_throws_a_shadow_as_long_as_it_must(azimuth: int, elevation: int) -> None:
    """A wall of height h on a plane, light at t from the normal: a shadow of length h tan t, away from the light."""
    x, y = grid()
    along = x if elevation == 0 else y
    height = np.where(np.abs(along) < 0.05, 0.3, 0.0)
    free = lit(height, direction(azimuth, elevation), STEP)
    away = -math.copysign(1, azimuth + elevation)
    line = along[0] if elevation == 0 else along[:, 0]
    dark = line[~(free[45] if elevation == 0 else free[:, 45])] * away
    assert dark.min() == pytest.approx(0.05, abs=2 * STEP)
    assert dark.max() == pytest.approx(0.05 + (0.3 - 0.02) * math.tan(math.radians(60)), abs=0.05)
    assert lit(height, direction(0, 0), STEP).all()


def test_what_turns_away_from_the_light_is_black() -> None:
    one = face(0, canvas=16, seed=0)
    for azimuth, elevation in LIGHTS[::7]:
        light = direction(azimuth, elevation)
        shade = shading(one, light)
        assert shade.min() == 0 or azimuth == elevation == 0
        assert bool((shade[one.normals @ light <= 0] == 0).all())
        assert shade.max() <= 1


def test_the_lights_are_those_of_yale_b() -> None:
    """64 different ones, mirrored; the bins hold them as the page of the dataset says."""
    assert len(set(LIGHTS)) == 64
    assert {(-azimuth, elevation) for azimuth, elevation in LIGHTS} == set(LIGHTS)
    angles = np.array(LIGHTS)
    bins = binned(angles, BINS)
    assert np.bincount(bins[:, 0]).tolist() == [9, 12, 22, 12, 9]
    assert np.bincount(bins[:, 1]).tolist() == [22, 30, 12]
    assert len({tuple(row) for row in bins.tolist()}) == 15
    off = np.abs(angles[:, 0] - np.array(AZIMUTHS)[bins[:, 0]])
    assert off.max() == 30


def test_an_image_depends_on_its_number_alone_and_people_differ() -> None:
    together = recipe(3).make(0, 192)
    for number in (0, 63, 64, 130):
        alone = recipe(8).make(number, number + 1)
        assert np.array_equal(alone.pixels[0], together.pixels[number])
        assert np.array_equal(alone.concepts[0], together.concepts[number])
    frontal = together.pixels[::64].astype(float) / 255
    assert all(np.abs(frontal[i] - frontal[k]).mean() > 0.02 for i in range(3) for k in range(i))
    assert not np.array_equal(recipe(1, seed=1).make(0, 1).pixels, together.pixels[:1])


def test_every_attribute_is_visible() -> None:
    """From the right the right half is brighter, from above the upper; the mask is where the head is."""
    made = recipe(2, canvas=32).make(0, 64)
    grey = made.pixels[..., 0].astype(float)
    for image, (azimuth, _) in zip(grey, LIGHTS, strict=True):
        if abs(azimuth) >= 35:
            assert np.sign(image[:, 16:].sum() - image[:, :16].sum()) == np.sign(azimuth)
    below, above = LIGHTS.index((0, -35)), LIGHTS.index((0, 45))
    lower = [grey[k, 16:].sum() / grey[k].sum() for k in (below, above)]
    assert lower[0] > 0.5
    columns = np.stack([made.columns[f"light_{axis}"] for axis in "xyz"], 1)
    assert np.abs(np.linalg.norm(columns, axis=1) - 1).max() < 1e-6
    assert made.columns["azimuth"].tolist() == [azimuth for azimuth, _ in LIGHTS]
    assert made.masks is not None
    assert 0.4 < made.masks.mean() < 0.85
    assert bool((made.masks == made.masks[:1]).all())
