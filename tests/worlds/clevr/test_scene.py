"""Sampled scenes against CLEVR's rules, computed here from angles and not from the package's vectors."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from mmvae_bench.specs.built_in.datasets import COLOURS, RELATIONS, SIZES
from mmvae_bench.worlds.clevr.scene import Scenes, sample_pairs, sample_singles, visible

NUM = 10_000


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return sample_pairs(7, np.arange(NUM))


@pytest.fixture(scope="module")
def components(scenes: Scenes) -> dict[str, np.ndarray]:
    """How far the first object is in each direction from the other: the camera's heading, turned by right angles."""
    heading = np.arctan2(-scenes.camera[:, 1], -scenes.camera[:, 0])
    rows = np.arange(NUM)
    offset = scenes.place[rows, scenes.first] - scenes.place[rows, 1 - scenes.first]
    turns = {"behind": 0.0, "left": np.pi / 2, "front": np.pi, "right": -np.pi / 2}
    return {
        name: np.cos(heading + turn) * offset[:, 0] + np.sin(heading + turn) * offset[:, 1]
        for name, turn in turns.items()
    }


def test_relation_words_are_true(scenes: Scenes, components: dict[str, np.ndarray]) -> None:
    for number, name in enumerate(RELATIONS):
        assert (components[name][scenes.relation == number] > 0.2).all()


def test_one_of_left_and_right_holds_and_one_of_front_and_behind(components: dict[str, np.ndarray]) -> None:
    for one, other in (("left", "right"), ("front", "behind")):
        assert np.all(np.abs(components[one]) >= 0.4 - 1e-9)
        assert np.all((components[one] > 0.2) != (components[other] > 0.2))


def test_places_are_inside_and_apart(scenes: Scenes) -> None:
    assert np.abs(scenes.place).max() <= 3
    assert np.abs(scenes.place).max(axis=(0, 1)) == pytest.approx([3, 3], abs=0.01)
    radii = np.where(scenes.size == SIZES.index("large"), 0.7, 0.35).sum(1)
    assert (np.hypot(*(scenes.place[:, 0] - scenes.place[:, 1]).T) - radii).min() >= 0.25 - 1e-9


def test_camera_and_lamps_stay_near_their_places(scenes: Scenes) -> None:
    camera = scenes.camera - [7.4811, -6.5076, 5.3437]
    lamps = scenes.lamps - [[6.4467, -2.9052, 4.2584], [-4.6711, -4.0136, 3.0112], [-1.1685, 2.646, 5.8157]]
    for jitter, largest in ((camera, 0.5), (lamps.reshape(NUM, 9), 1.0)):
        assert np.abs(jitter).max() <= largest
        # Uniform: the standard deviation is the range over the square root of twelve.
        np.testing.assert_allclose(jitter.std(0), 2 * largest / np.sqrt(12), rtol=0.05)
        np.testing.assert_allclose(jitter.mean(0), 0, atol=0.05 * largest)


def test_attributes_order_and_relation_are_uniform_and_independent(scenes: Scenes) -> None:
    draws = np.stack([scenes.size, scenes.colour, scenes.material, scenes.shape], 1).reshape(NUM, 8)
    draws = np.concatenate([draws, scenes.first[:, None], scenes.relation[:, None]], 1)
    sizes = [2, 2, 8, 8, 2, 2, 3, 3, 2, 4]
    for one, num in enumerate(sizes):
        assert chi_square(np.bincount(draws[:, one], minlength=num)) < 4.5
        for other in range(one):
            pairs = draws[:, one] * sizes[other] + draws[:, other]
            # The relation and the first object: both are drawn given the places, and stay uniform together.
            assert chi_square(np.bincount(pairs, minlength=num * sizes[other])) < 4.5


def chi_square(counts: np.ndarray) -> float:
    """Deviation from uniform, in standard deviations of the chi-square distribution."""
    expected, freedom = counts.sum() / len(counts), len(counts) - 1
    return float((((counts - expected) ** 2).sum() / expected - freedom) / np.sqrt(2 * freedom))


def test_turns_cover_the_circle(scenes: Scenes) -> None:
    assert chi_square(np.histogram(scenes.turn, 16, (0, 2 * np.pi))[0]) < 4.5


def test_a_scene_depends_on_seed_and_index_alone(scenes: Scenes) -> None:
    rows = np.array([9000, 3, 77, 3])
    for field in fields(Scenes):
        alone = getattr(sample_pairs(7, rows), field.name)
        np.testing.assert_array_equal(alone, getattr(scenes, field.name)[rows])
        assert not np.array_equal(alone, getattr(sample_pairs(8, rows), field.name))


def test_the_stream_of_numbers_is_philox_of_seed_and_index() -> None:
    drawn = sample_pairs(123, np.array([456])).camera[0]
    raw = np.random.Philox(key=np.array([123, 0], np.uint64), counter=np.array([0, 456, 0, 0], np.uint64)).random_raw(
        11
    )
    u = ((raw[8:] >> np.uint64(12)).astype(float) + 0.5) / 2**52
    np.testing.assert_allclose(drawn, np.array([7.4811, -6.5076, 5.3437]) + (u - 0.5), rtol=0, atol=1e-12)


def test_singles_vary_in_colour_size_and_place_only() -> None:
    scenes = sample_singles(7, np.arange(400))
    assert visible(scenes).all()
    assert {COLOURS[value] for value in np.unique(scenes.colour)} == {"red", "blue"}
    assert set(np.unique(scenes.size)) == {0, 1}
    for fixed in (scenes.shape, scenes.material, scenes.turn, scenes.camera, scenes.lamps):
        assert (fixed == fixed[:1]).all()
    assert np.abs(np.corrcoef(scenes.size[:, 0], scenes.colour[:, 0])[0, 1]) < 0.2
    assert scenes.place.std(0).min() > 1
