"""Pictures of faces: every attribute leaves a trace, also beside those that compete with it, and the mask is right."""

from __future__ import annotations

import numpy as np
import pytest

from mmvae_bench.specs.built_in.datasets import CELEBA18_NAMES
from mmvae_bench.worlds.faces.painter import Painter
from mmvae_bench.worlds.faces.person import Nuisance, _bounds, draw_nuisance
from mmvae_bench.worlds.faces.recipe import DrawnFaces

pytest.importorskip("skia", exc_type=ImportError)

VISIBLE = 24
"""A difference in a colour, of 255, that is seen."""


def row(*present: str) -> np.ndarray:
    return np.array([name in present for name in CELEBA18_NAMES], np.uint8)


def changed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How many pixels differ visibly: Byte[n, S, S, 3] twice to Long[n]."""
    return (abs(first.astype(int) - second).max(-1) > VISIBLE).sum((1, 2))


CONTEXTS = {
    "a man": ("Male",),
    "a woman": (),
    "a man with a hat": ("Male", "Wearing_Hat"),
    "a woman with a hat": ("Wearing_Hat",),
    "a bald man": ("Male", "Bald"),
    "a bald woman": ("Bald",),
    "long straight hair": ("Straight_Hair", "Brown_Hair"),
    "a man with curls": ("Wavy_Hair", "Male", "Black_Hair"),
    "bangs": ("Bangs", "Blond_Hair"),
    "a receding hairline": ("Receding_Hairline", "Male"),
    "glasses and a smile": ("Eyeglasses", "Smiling", "Heavy_Makeup"),
    "an open mouth under a moustache": ("Mustache", "Mouth_Slightly_Open", "Male"),
}


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_attribute_is_seen_beside_others(context: str) -> None:
    base = row(*CONTEXTS[context])
    rows = np.repeat(base[None], 18, 0)
    rows[np.arange(18), np.arange(18)] ^= 1
    for nuisance in draw_nuisance(np.arange(6), seed=0):
        pictures, _ = Painter(64).paint(np.concatenate([base[None], rows]), [nuisance] * 19)
        seen = changed(pictures[1:], pictures[:1])
        for name, count in zip(CELEBA18_NAMES, seen, strict=True):
            # A dozen of 4,096 pixels at the least: the lines of a smile on dark skin are no more.
            assert count >= 12, f"{name} beside {context}: {count} pixels"


def test_no_factor_is_without_effect() -> None:
    rows = np.stack(
        [
            row("Male", "Mustache"),
            row("Heavy_Makeup", "Straight_Hair", "Smiling"),
            row("Male", "Wearing_Hat", "Eyeglasses", "Mouth_Slightly_Open", "Smiling"),
            row("Male", "Wavy_Hair"),
        ]
    )
    low, high = _bounds()
    painter = Painter(64)
    base = [(low + 0.4 * (high - low)).tolist()] * len(rows)
    before, _ = painter.paint(rows, [Nuisance(*factors) for factors in base])
    for column, name in enumerate(Nuisance._fields):
        moved = [[*factors] for factors in base]
        for factors in moved:
            factors[column] = float(low[column] + 0.95 * (high[column] - low[column]))
        after, _ = painter.paint(rows, [Nuisance(*factors) for factors in moved])
        assert (before != after).any(), name


def test_the_mask_is_where_the_background_is_not() -> None:
    nuisance = [factors._replace(light_strength=0.0) for factors in draw_nuisance(np.arange(30), seed=1)]
    other = [
        factors._replace(background_red=0.9, background_green=0.1, background_contrast=-0.5) for factors in nuisance
    ]
    nuisance = [factors._replace(background_red=0.1, background_green=0.9) for factors in nuisance]
    rows = DrawnFaces(num_images=30, size=64, seed=1).make(0, 30).concepts
    first, mask = Painter(64).paint(rows, nuisance)
    second, same_mask = Painter(64).paint(rows, other)
    assert np.array_equal(mask, same_mask)
    different = (abs(first.astype(int) - second) > 3).any(-1)
    # Only the antialiased rim of a person mixes with the background.
    inside = different[mask].mean()
    outside = (~different)[~mask].mean()
    assert inside < 0.06
    assert outside < 0.01
    assert 0.2 < mask.mean() < 0.6
    # A head in the middle, nothing in the upper corners.
    assert mask[:, 30:40, 28:36].all()
    assert not mask[:, :4, :4].any()


def test_an_image_is_a_function_of_its_number() -> None:
    recipe = DrawnFaces(num_images=60, size=32, seed=5)
    together = recipe.make(0, 60)
    apart = [DrawnFaces(num_images=60, size=32, seed=5).make(start, start + 20) for start in (40, 0, 20)]
    for part, start in zip(apart, (40, 0, 20), strict=True):
        assert np.array_equal(part.pixels, together.pixels[start : start + 20])
        assert part.masks is not None
        assert together.masks is not None
        assert np.array_equal(part.masks, together.masks[start : start + 20])
        assert np.array_equal(part.concepts, together.concepts[start : start + 20])
        for name, values in part.columns.items():
            assert np.array_equal(values, together.columns[name][start : start + 20])
    other = DrawnFaces(num_images=60, size=32, seed=6).make(0, 60)
    assert (other.pixels != together.pixels).any((1, 2, 3)).all()


@pytest.mark.parametrize("size", [16, 100, 128])
def test_another_size_is_the_same_picture(size: int) -> None:
    large = DrawnFaces(num_images=8, size=128, seed=0).make(0, 8).pixels.astype(float)
    small = DrawnFaces(num_images=8, size=size, seed=0).make(0, 8).pixels.astype(float)
    assert small.shape == (8, size, size, 3)
    # Compared in sixteenths of the canvas.
    pooled = [
        np.stack(
            [
                np.stack([part.mean((1, 2)) for part in np.array_split(band, 4, 2)], 1)
                for band in np.array_split(x, 4, 1)
            ],
            1,
        )
        for x in (large, small)
    ]
    assert abs(pooled[0] - pooled[1]).max() < 8


def test_what_decides_the_pixels_is_in_the_fingerprint() -> None:
    recipes = [
        DrawnFaces(num_images=num, size=size, seed=seed)
        for num, size, seed in ((100, 64, 0), (101, 64, 0), (100, 65, 0), (100, 64, 1))
    ]
    assert len({recipe.fingerprint for recipe in recipes}) == 4
    assert recipes[0].fingerprint == DrawnFaces(num_images=100, size=64, seed=0).fingerprint


def test_the_background_is_what_the_picture_shows_where_nobody_is() -> None:
    """To the bit wherever the person leaves no trace, and as if nobody had ever been there where they are."""
    faces = DrawnFaces(num_images=12, size=32, seed=0)
    made, behind = faces.make(0, 12), faces.backgrounds(np.arange(12))
    assert made.masks is not None
    mask, painter = made.masks[:, 0], Painter(32)
    for number, factors in enumerate(draw_nuisance(np.arange(12), seed=0)):
        painter.paint(made.concepts[number : number + 1], [factors])
        untouched = painter._person_pixels[..., 3] == 0
        assert untouched.sum() > 200
        assert np.array_equal(made.pixels[number][untouched], behind[number][untouched])
    differing = (made.pixels != behind).any(-1)
    assert all(differing[number][mask[number]].mean() > 0.95 for number in range(12))
    # A smooth world: no edge of a person is left in it.
    steps = abs(np.diff(behind.astype(int), axis=1)).max()
    assert steps < 24 < abs(np.diff(made.pixels.astype(int), axis=1)).max()
    # Other attributes, the same background.
    assert np.array_equal(Painter(32).backgrounds(draw_nuisance(np.arange(12), seed=0)), behind)
    assert np.array_equal(faces.backgrounds(np.array([7, 3])), behind[[7, 3]])
