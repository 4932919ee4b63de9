"""Pictures: where things are, what colour they have, and that a picture depends on its number alone."""

from __future__ import annotations

import colorsys
import json
import multiprocessing
import pickle
from dataclasses import replace

import numpy as np
import pytest

from mmvae_bench.specs.built_in.datasets import COLOURS, MATERIALS
from mmvae_bench.worlds.clevr.camera import project
from mmvae_bench.worlds.clevr.recipe import _renderer
from mmvae_bench.worlds.clevr.renderer import Renderer, despeckled, frame_width, lamp, squash
from mmvae_bench.worlds.clevr.variant import Variant
from mmvae_bench.worlds.recipe import Images

from .conftest import pairs, singles

HUES = {"red": 0, "brown": 28, "yellow": 55, "green": 114, "cyan": 180, "blue": 229, "purple": 276}
"""Degrees, of the linear reflectances."""


def made(task: tuple[bytes, int, int]) -> Images:
    recipe, start, stop = task
    return pickle.loads(recipe).make(start, stop)


def test_bytes_do_not_depend_on_order_or_process(fast: Variant) -> None:
    recipe = pairs(fast)
    together = recipe.make(0, 8)
    for index in (5, 2, 7, 2):
        alone = recipe.make(index, index + 1)
        np.testing.assert_array_equal(alone.pixels[0], together.pixels[index])
        np.testing.assert_array_equal(alone.masks[0], together.masks[index])
    tasks = [(pickle.dumps(recipe), start, start + 2) for start in (0, 2, 4, 6)]
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        apart = pool.map(made, tasks, chunksize=1)
    for name in ("pixels", "masks", "concepts"):
        parts = np.concatenate([getattr(images, name) for images in apart])
        np.testing.assert_array_equal(parts, getattr(together, name))
    for name, values in together.columns.items():
        np.testing.assert_array_equal(np.concatenate([images.columns[name] for images in apart]), values)
    assert len({picture.tobytes() for picture in together.pixels}) == 8


def test_masks_agree_with_the_path_tracers_own_geometry() -> None:
    scalar, canvas = Variant("scalar"), 40
    pytest.importorskip("mitsuba", reason="needs Mitsuba 3: pip install 'mmvae-bench[clevr]'")
    recipe = pairs(scalar, canvas=canvas)
    renderer = Renderer(scalar, num_objects=2, canvas=canvas, samples=16)
    scenes, sensor = recipe.scenes(np.arange(6)), renderer.scene.sensors()[0]
    for row in range(len(scenes)):
        _, ours = renderer.render(scenes, row)
        theirs = np.zeros_like(ours)
        for y, x in np.ndindex(canvas, canvas):
            point = ((x + 0.5) / canvas, (y + 0.5) / canvas)
            ray, _ = sensor.sample_ray(0.0, 0.5, point, (0.5, 0.5))
            hit = renderer.scene.ray_intersect(ray)
            for number in range(2):
                theirs[number, y, x] = hit.is_valid() and hit.shape.id() == f"object_{number}"
        for one, other in zip(ours, theirs, strict=True):
            different = (one != other).sum()
            # Only on the outline, where a pixel is neither in nor out.
            assert different <= 0.12 * other.sum() + 2
            inner = other & ~outline(other)
            assert one[inner].all()


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask with a neighbour outside."""
    padded = np.pad(mask, 1)
    whole = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~whole


def test_rubber_has_the_named_colour(fast: Variant) -> None:
    recipe = pairs(fast, canvas=48)
    renderer = _renderer(fast, 2, 48, 16)
    candidates = recipe.scenes(np.arange(200))
    for name in COLOURS:
        of_colour = (candidates.colour == COLOURS.index(name)) & (candidates.size == 1)
        row, number = np.argwhere(of_colour & (candidates.material == MATERIALS.index("rubber")))[0]
        pixels, masks = renderer.render(candidates, row)
        linear = ((pixels[masks[number]] / 255 + 0.055) / 1.055) ** 2.4
        hue, saturation, _ = colorsys.rgb_to_hsv(*linear.mean(0))
        if name == "gray":
            assert saturation < 0.15
        else:
            away = (hue * 360 - HUES[name] + 180) % 360 - 180
            assert abs(away) < 15, name
            assert saturation > 0.4


def test_metal_is_no_rubber_and_every_parameter_shows(fast: Variant) -> None:
    recipe = pairs(fast)
    renderer, scenes = _renderer(fast, 2, 32, 16), recipe.scenes(np.arange(1))
    before, masks = renderer.render(scenes, 0)
    np.testing.assert_array_equal(before, renderer.render(scenes, 0)[0])
    changes = {"material": 1 - scenes.material, "colour": (scenes.colour + 1) % 8, "shape": (scenes.shape + 1) % 3}
    for name, value in changes.items():
        after, _ = renderer.render(replace(scenes, **{name: value}), 0)
        differences = np.abs(after.astype(int) - before)[masks.any(0)].mean()
        assert differences > 4, name
    for name, value in {"camera": scenes.camera + 0.2, "lamps": scenes.lamps + 0.5}.items():
        after, _ = renderer.render(replace(scenes, **{name: value}), 0)
        assert np.abs(after.astype(int) - before).mean() > 0.5, name


def test_no_kernel_is_compiled_after_the_first_image(fast: Variant) -> None:
    if fast.kind == "scalar":
        pytest.skip("the scalar variant compiles nothing")
    recipe = pairs(fast)
    recipe.make(0, 2)
    import drjit

    drjit.kernel_history_clear()
    with drjit.scoped_set_flag(drjit.JitFlag.KernelHistory, True):
        recipe.make(2, 6)
        history = drjit.kernel_history()
    traced = [kernel for kernel in history if kernel["type"] == drjit.KernelType.JIT]
    assert traced
    assert all(kernel["cache_hit"] for kernel in traced)


def test_concept_masks_and_columns_are_in_the_captions_order(fast: Variant) -> None:
    recipe = pairs(fast)
    images, scenes = recipe.make(0, 8), recipe.scenes(np.arange(8))
    assert set(scenes.first.tolist()) == {0, 1}
    for row, first in enumerate(scenes.first):
        objects = [first, 1 - first]
        words = [[getattr(scenes, name)[row, o] for name in ("size", "colour", "material", "shape")] for o in objects]
        assert images.concepts[row].tolist() == [*words[0], scenes.relation[row], *words[1]]
        centers = scenes.center[row, objects]
        places = np.stack(project(scenes.camera[row], centers, aspect=frame_width(32) / 32), 1) * 32
        for number, o in enumerate(objects):
            assert images.columns[f"x_{number + 1}"][row] == scenes.place[row, o, 0]
            assert images.columns[f"turn_{number + 1}"][row] == scenes.turn[row, o]
            ys, xs = images.masks[row, number].nonzero()
            away = np.linalg.norm(places - [xs.mean() + 0.5, ys.mean() + 0.5], axis=1)
            assert away.argmin() == number
    assert images.pixels.dtype == np.uint8


def test_singles(fast: Variant) -> None:
    images = singles(fast).make(0, 12)
    assert images.masks is not None
    assert images.masks.shape == (12, 1, 32, 32)
    for pixels, (colour, _), mask in zip(images.pixels, images.concepts, images.masks, strict=True):
        red, _, blue = pixels[mask[0]].mean(0)
        assert (red > blue) == (colour == 0)
    areas = images.masks.sum((1, 2, 3))
    assert areas[images.concepts[:, 1] == 1].min() > areas[images.concepts[:, 1] == 0].max()


def test_a_description_is_json_and_names_what_decides_the_pixels() -> None:
    llvm, scalar = Variant("llvm", "/somewhere/libLLVM.so"), Variant("scalar")
    about = json.loads(json.dumps(pairs(llvm).describe(), allow_nan=False))
    assert about["recipe"]["variant"] == "llvm"
    assert "split" not in about["recipe"]
    assert pairs(llvm).fingerprint == pairs(Variant("llvm", "/elsewhere"), variant="llvm", split="comp").fingerprint
    others = [pairs(scalar), pairs(llvm, samples=64), pairs(llvm, seed=1), pairs(llvm, canvas=48), singles(llvm)]
    assert len({recipe.fingerprint for recipe in (pairs(llvm), *others)}) == 6


@pytest.mark.parametrize("canvas", [32, 48, 64, 112, 224])
def test_squash_keeps_the_mean_and_the_frame_is_four_to_three(canvas: int) -> None:
    width = frame_width(canvas)
    assert 0 <= width - canvas * 4 / 3 < 1
    frame = np.random.default_rng(0).random((5, width, 3))
    squashed = squash(frame, canvas)
    np.testing.assert_allclose(squashed.mean(1), frame.mean(1), rtol=1e-12)
    # Against averages over many points of the piecewise constant frame.
    points = (np.arange(canvas * 300) + 0.5) / 300 * width / canvas
    dense = frame[:, points.astype(int)].reshape(5, canvas, 300, 3).mean(2)
    np.testing.assert_allclose(squashed, dense, atol=0.01)


def test_despeckling_leaves_edges_and_takes_specks() -> None:
    image = np.zeros((8, 8, 3))
    image[:, 4:] = 1.0
    np.testing.assert_array_equal(despeckled(image), image)
    specks = image.copy()
    specks[2:4, 1:3] = 5.0
    np.testing.assert_array_equal(despeckled(specks), image)


def test_lamps_face_the_origin() -> None:
    for center in np.array([[6.4, -2.9, 4.3], [-4.7, -4.0, 3.0]]):
        corners = lamp(center, 0.5)
        np.testing.assert_allclose(corners.mean(0), center, atol=1e-12)
        edges = np.roll(corners, -1, 0) - corners
        np.testing.assert_allclose(np.linalg.norm(edges, axis=1), 0.5)
        normal = np.cross(edges[0], edges[1])
        np.testing.assert_allclose(normal / np.linalg.norm(normal), -center / np.linalg.norm(center), atol=1e-12)
