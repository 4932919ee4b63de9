"""Scenes by the rules of CLEVR's generator (Johnson et al. 2017), with numpy alone.

A scene is a function of (seed, index): its numbers are the output of Philox-4x64 (Salmon et al. 2011) with the seed
as key and the index as counter, so any scene can be drawn alone and in any order.

Attributes, camera and lamps are drawn first and kept; places are drawn again until the constraints hold. So attributes
are exactly uniform and independent, although there are fewer places for two large objects than for two small ones.

Shapes: N scene, O object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from einops import rearrange

from ...specs.built_in.datasets import COLOURS, MATERIALS, SHAPES, SIZES
from .camera import Solids, ground_directions, num_visible

HALF_EXTENTS = (0.35, 0.7)
"""Half-extent for each size, the same for every shape; in scene units."""
PLACES = (-3.0, 3.0)
MIN_DISTANCE = 0.25
"""Between the centres, less both half-extents."""
MARGIN = 0.4
"""Smallest component of the offset of one object from the other along "left" and along "behind"."""
RELATION_THRESHOLD = 0.2
"""A relation holds if its component is larger than this."""
MIN_VISIBLE, VISIBLE_FRAME = 200, (320, 240)
"""Pixels that each object shows, in a frame of this width and height."""

CAMERA, CAMERA_JITTER = (7.4811, -6.5076, 5.3437), 0.5
LAMPS = ((6.4467, -2.9052, 4.2584), (-4.6711, -4.0136, 3.0112), (-1.1685, 2.646, 5.8157))
"""Key, fill and back."""
LAMP_JITTER = 1.0
MAX_TRIES = 1000


@dataclass(frozen=True)
class Scenes:
    """A number of scenes; numbers are value indices or scene units.

    Attributes:
        size, colour, material, shape: Integer[N, O], positions in SIZES, COLOURS, MATERIALS, SHAPES.
        place: [N, O, 2], x and y of the centres; objects are on the ground, z = 0.
        turn: [N, O], rotation about the vertical in radians.
        camera: [N, 3].
        lamps: [N, 3, 3], centres of key, fill and back lamp.
        first: Integer[N], the object that the caption names first.
        relation: Integer[N], position in RELATIONS: the first object is there as seen from the other.
        sampler_seed: Integer[N], 32 bits, for the path tracer's random numbers.
    """

    size: np.ndarray
    colour: np.ndarray
    material: np.ndarray
    shape: np.ndarray
    place: np.ndarray
    turn: np.ndarray
    camera: np.ndarray
    lamps: np.ndarray
    first: np.ndarray
    relation: np.ndarray
    sampler_seed: np.ndarray

    def __len__(self) -> int:
        return len(self.camera)

    def __getitem__(self, rows: slice | np.ndarray) -> Self:
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def num_objects(self) -> int:
        """O, the number of objects per scene."""
        return int(self.size.shape[1])

    @property
    def half_extent(self) -> np.ndarray:
        """[N, O]: half the extent of each object, in scene units."""
        return np.take(HALF_EXTENTS, self.size)

    @property
    def center(self) -> np.ndarray:
        """[N, O, 3]: the objects' centres, one half-extent above the ground."""
        return np.concatenate([self.place, self.half_extent[..., None]], -1)

    def solids(self, row: int) -> Solids:
        """Everything that determines the silhouettes of a scene."""
        one = self[row : row + 1]
        return Solids(one.shape[0], one.center[0], one.half_extent[0], one.turn[0], one.camera[0])

    def caption_order(self) -> np.ndarray:
        """Integer[N, 2]: the objects in the order in which the caption of a pair names them."""
        return np.stack([self.first, 1 - self.first], 1)


def sample_pairs(seed: int, indices: np.ndarray) -> Scenes:
    """Two-object scenes. Every constraint holds, so one of left and right holds, and one of front and behind.

    The caption's order (two) and its relation (two hold) are uniform.

    Args:
        seed: 63-bit seed of the purpose.
        indices: Integer[N], the scenes' numbers.
    """
    u = _uniforms(seed, indices, num=25)
    scenes = Scenes(
        size=_choice(u[:, 0:2], SIZES),
        colour=_choice(u[:, 2:4], COLOURS),
        material=_choice(u[:, 4:6], MATERIALS),
        shape=_choice(u[:, 6:8], SHAPES),
        place=np.zeros((len(indices), 2, 2)),
        turn=np.zeros((len(indices), 2)),
        camera=np.asarray(CAMERA) + CAMERA_JITTER * (2 * u[:, 8:11] - 1),
        lamps=np.asarray(LAMPS) + LAMP_JITTER * (2 * rearrange(u[:, 11:20], "n (lamp xyz) -> n lamp xyz", xyz=3) - 1),
        first=_choice(u[:, 20], range(2)),
        relation=np.zeros(len(indices), int),
        sampler_seed=_choice(u[:, 21], range(2**32)),
    )
    _place(scenes, seed, indices)
    offset = (
        np.take_along_axis(scenes.place, scenes.first[:, None, None], 1)[:, 0]
        - np.take_along_axis(scenes.place, 1 - scenes.first[:, None, None], 1)[:, 0]
    )
    holds = relations_that_hold(offset, scenes.camera)
    # Two of the four hold; the draw says which of them is spoken of.
    wanted = np.where(u[:, 22] < 0.5, 1, 2)
    scenes.relation[:] = (holds.cumsum(1) == wanted[:, None]).argmax(1)
    return scenes


def sample_singles(seed: int, indices: np.ndarray) -> Scenes:
    """Scenes of one rubber sphere, red or blue, small or large: nothing else varies but its place.

    Arguments as :func:`sample_pairs`.
    """
    num = len(indices)
    u = _uniforms(seed, indices, num=3)
    scenes = Scenes(
        size=_choice(u[:, :1], SIZES),
        colour=np.array([COLOURS.index("red"), COLOURS.index("blue")])[_choice(u[:, 1:2], range(2))],
        material=np.full((num, 1), MATERIALS.index("rubber")),
        shape=np.full((num, 1), SHAPES.index("sphere")),
        place=np.zeros((num, 1, 2)),
        turn=np.zeros((num, 1)),
        camera=np.tile(np.asarray(CAMERA), (num, 1)),
        lamps=np.tile(np.asarray(LAMPS), (num, 1, 1)),
        first=np.zeros(num, int),
        relation=np.zeros(num, int),
        sampler_seed=_choice(u[:, 2], range(2**32)),
    )
    _place(scenes, seed, indices, turned=False)
    return scenes


def relations_that_hold(offset: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Which relations an object has to another from which it is ``offset`` away: component above 0.2.

    Args:
        offset: [N, 2], on the ground.
        camera: [N, 3].

    Returns:
        Bool[N, 4], in the order of RELATIONS.
    """
    return np.asarray(np.einsum("ndk,nk->nd", ground_directions(camera), offset) > RELATION_THRESHOLD)


def apart(scenes: Scenes) -> np.ndarray:
    """Bool[N]: whether two objects keep their distance, and their margin along left and behind."""
    offset = scenes.place[:, 1] - scenes.place[:, 0]
    gap = np.linalg.norm(offset, axis=-1) - scenes.half_extent.sum(1)
    components = np.einsum("ndk,nk->nd", ground_directions(scenes.camera), offset)
    return np.asarray((gap >= MIN_DISTANCE) & (np.abs(components) >= MARGIN).all(1))


def visible(scenes: Scenes) -> np.ndarray:
    """Bool[N]: whether every object shows at least 200 pixels at 320x240."""
    return np.array(
        [num_visible(scenes.solids(row), *VISIBLE_FRAME).min() >= MIN_VISIBLE for row in range(len(scenes))], bool
    )


def _place(scenes: Scenes, seed: int, indices: np.ndarray, *, turned: bool = True) -> None:
    """Fills ``place`` and ``turn`` with the first draw of each scene that fulfils the constraints."""
    pending, num_objects = np.arange(len(scenes)), scenes.num_objects
    for attempt in range(1, MAX_TRIES):
        if not len(pending):
            return
        u = _uniforms(seed, indices[pending], num=3 * num_objects, attempt=attempt)
        places = rearrange(u[:, : 2 * num_objects], "n (o xy) -> n o xy", xy=2)
        scenes.place[pending] = PLACES[0] + (PLACES[1] - PLACES[0]) * places
        scenes.turn[pending] = 2 * np.pi * u[:, 2 * num_objects :] * turned
        drawn = scenes[pending]
        good = apart(drawn) if num_objects == 2 else np.ones(len(pending), bool)
        good[good] = visible(drawn[good])
        pending = pending[~good]
    raise RuntimeError(f"no place found for the objects of scenes {indices[pending].tolist()}")


def _choice(u: np.ndarray, values: Sequence[object]) -> np.ndarray:
    """Uniform positions in a sequence, from uniform numbers."""
    return np.asarray(u * len(values), np.int64)


def _uniforms(seed: int, indices: np.ndarray, *, num: int, attempt: int = 0) -> np.ndarray:
    """[N, num] in (0, 1), 52 bits each: raw output of Philox, which no version of numpy changes."""
    raw = [
        np.random.Philox(key=np.array([seed, attempt], np.uint64), counter=np.array([0, index, 0, 0], np.uint64))
        for index in indices.tolist()
    ]
    bits = np.array([generator.random_raw(num) for generator in raw], np.uint64).reshape(len(raw), num)
    return ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
