"""Path-traces scenes with Mitsuba 3: one Mitsuba scene is built, and each image changes its parameters.

Building a scene again would compile its kernels again. So lamps are meshes of two triangles (a lamp that moves as a
shape's transform would be a constant of the kernel), every object is the same grid of triangles, rubber and metal are
the same material with other numbers, and nothing but ``mi.traverse`` touches the scene afterwards.

The grid is that of a cube's surface. Each shape bends it, with slightly rounded edges as CLEVR's models have, to
half-extent one around 0. Vertices carry the exact normals of the rounded shape.

What CLEVR's generator and the paper leave open is chosen here: the materials' roughness, the light from everywhere
(Blender's scene is not quite black where no lamp reaches), and no tone mapping: linear values are clipped at one and
written as sRGB. Few paths find the light that metal throws on the ground, which leaves single bright pixels; CLEVR's
generator has Blender blur such paths ("filter glossy"), here such pixels are clipped to their surroundings.

Shapes: O object, V vertex, F face, H row, W column.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from ...specs.built_in.datasets import COLOURS, MATERIALS, SHAPES
from .camera import FIELD_OF_VIEW, masks, rotation
from .scene import Scenes
from .variant import Variant

BEVEL = 0.08
"""Radius of the rounded edges, over the half-extent."""
_BEVEL_STEPS, _FLAT_STEPS = 3, 10
STEPS = 2 * _BEVEL_STEPS + _FLAT_STEPS
"""Quads along an edge of the cube."""


@cache
def faces() -> np.ndarray:
    """Integer[F, 3]: the triangles' vertices, counter-clockwise seen from outside; the same for every shape."""
    side = STEPS + 1
    quads = []
    for number in range(6):
        corner = np.arange(side * side).reshape(side, side) + number * side * side
        quad = np.stack([corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]], -1).reshape(-1, 4)
        # Even faces are at +1 on their axis: the two other axes, in cyclic order, make a right-handed frame with it.
        quads.append(quad if number % 2 == 0 else quad[:, ::-1])
    quad = np.concatenate(quads)
    return np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]).astype(np.uint32)


@cache
def unit_mesh(shape: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and unit normals of a cube, sphere or cylinder: two of [V, 3]."""
    if shape == "sphere":
        bent = np.tan(_grid(np.linspace(-1, 1, STEPS + 1)) * np.pi / 4)
        points = bent / np.linalg.norm(bent, axis=1, keepdims=True)
        return points, points
    rounded, normals = _rounded_box(_grid(_edge()))
    if shape == "cube":
        return rounded, normals
    if shape == "cylinder":
        return _cylinder(_grid(_edge()))
    raise ValueError(f"unknown shape {shape!r}; choices: cube, sphere, cylinder")


def _edge() -> np.ndarray:
    """Coordinates of the vertices along an edge: [STEPS + 1], dense where it is rounded."""
    # The grid's corner regions are pulled onto the rounding along rays from its axis: equal angles there.
    bevel = 1 - BEVEL + BEVEL * np.tan(np.linspace(0, np.pi / 4, _BEVEL_STEPS + 1))
    flat = np.linspace(BEVEL - 1, 1 - BEVEL, _FLAT_STEPS + 1)
    return np.concatenate([-bevel[:0:-1], flat, bevel[1:]])


def _grid(edge: np.ndarray) -> np.ndarray:
    """The surface of the cube as six square grids: [V, 3]."""
    a, b = (part.ravel() for part in np.meshgrid(edge, edge, indexing="ij"))
    points = []
    for axis in range(3):
        for sign in (1.0, -1.0):
            face = np.empty((len(a), 3))
            face[:, axis], face[:, (axis + 1) % 3], face[:, (axis + 2) % 3] = sign, a, b
            points.append(face)
    return np.concatenate(points)


def _rounded_box(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pulls points on the surface of a box (any dimension) onto that of the box with rounded edges; adds normals."""
    core = points.clip(BEVEL - 1, 1 - BEVEL)
    normals = points - core
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return core + BEVEL * normals, normals


def _cylinder(cube: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bends the cube's surface: squares around the axis to circles, the profile (radius, height) to a rounded box."""
    x, y, z = cube.T
    radius = np.maximum(np.abs(x), np.abs(y))
    with np.errstate(invalid="ignore", divide="ignore"):
        along_x = np.pi / 4 * y / x + np.pi * (x < 0)
        along_y = np.pi / 2 - np.pi / 4 * x / y + np.pi * (y < 0)
    angle = np.where(radius == 0, 0.0, np.where(np.abs(x) >= np.abs(y), along_x, along_y))
    profile, normal = _rounded_box(np.stack([radius, z], 1))
    around = np.stack([np.cos(angle), np.sin(angle)], 1)
    return tuple(np.concatenate([part[:, :1] * around, part[:, 1:]], 1) for part in (profile, normal))  # type: ignore[return-value]


REFLECTANCES = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
"""Linear reflectance of the objects times 255, by name (CLEVR's ``properties.json``)."""
LAMPS = (
    ("key", 0.5, 78.54, (1.0, 0.932, 0.817)),
    ("fill", 0.5, 23.56, (0.762, 0.818, 1.0)),
    ("back", 1.0, 39.27, (1.0, 1.0, 1.0)),
)
"""Name, side in scene units, power in watts, colour. A lamp is a square that faces the origin."""
AMBIENT = 0.12
"""Radiance from every direction that meets nothing."""
GROUND = 0.8
"""Reflectance of the ground."""
GROUND_SIZE = 60.0
"""Half the side of the ground, which is a square: beyond what any camera sees."""
SURFACES = {"rubber": (0.62, 0.0), "metal": (0.28, 1.0)}
"""Roughness and metallic of Disney's principled material, by name."""
MAX_DEPTH = 6
SAMPLING_WEIGHTS = {"key": 4.0, "fill": 1.0, "back": 2.0, "ambient": 1.0}
"""How often each source of light is sampled; the picture's mean does not depend on it."""


def frame_width(canvas: int) -> int:
    """Columns of the 4:3 frame that is squashed to ``canvas`` columns.

    >>> frame_width(112), frame_width(48)
    (150, 64)
    """
    return -(-canvas * 4 // 3)


class Renderer:
    """Draws scenes of a fixed number of objects. One per process: Mitsuba's variant belongs to the process.

    Args:
        variant: The variant to render with.
        num_objects: O.
        canvas: Height and width of an image in pixels.
        samples: Paths per pixel of the frame; a power of four.
    """

    def __init__(self, variant: Variant, *, num_objects: int, canvas: int, samples: int) -> None:
        self.mi = variant.activate()
        self.num_objects, self.canvas, self.samples = num_objects, canvas, samples
        self.scene = self.mi.load_dict(self._description())
        self.parameters = self.mi.traverse(self.scene)

    def linear(self, scenes: Scenes, row: int) -> np.ndarray:
        """The frame of a scene before it is squashed: Float[H, W, 3], linear light."""
        self._set(scenes, row)
        # No gradients: the image is read, and the next one overwrites every parameter.
        image = self.mi.render(self.scene, seed=int(scenes.sampler_seed[row]), spp=self.samples)
        return np.array(image, np.float32)

    def render(self, scenes: Scenes, row: int) -> tuple[np.ndarray, np.ndarray]:
        """A scene as an image, Byte[canvas, canvas, 3] in sRGB, and the objects' masks, Bool[O, canvas, canvas]."""
        seen = masks(scenes.solids(row), self.canvas, aspect=frame_width(self.canvas) / self.canvas)
        image = squash(self.linear(scenes, row), self.canvas)
        # Not on the objects: there a single bright pixel is the mirror image of a lamp.
        return srgb(np.where(np.logical_or.reduce(seen)[..., None], image, despeckled(image))), seen

    def _description(self) -> dict[str, Any]:
        mi = self.mi
        ambient = {"type": "rgb", "value": [AMBIENT] * 3}
        ground = {"type": "diffuse", "reflectance": {"type": "rgb", "value": [GROUND] * 3}}
        film = {
            "type": "hdrfilm",
            "width": frame_width(self.canvas),
            "height": self.canvas,
            "pixel_format": "rgb",
            "component_format": "float32",
            "rfilter": {"type": "box"},
        }
        description: dict[str, Any] = {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": MAX_DEPTH, "rr_depth": MAX_DEPTH, "hide_emitters": True},
            "sensor": {
                "type": "perspective",
                "fov": FIELD_OF_VIEW,
                "fov_axis": "x",
                "to_world": self._look(np.array([1.0, 0.0, 1.0])),
                "sampler": {"type": "multijitter", "sample_count": self.samples},
                "film": film,
            },
            "ground": {
                "type": "rectangle",
                "to_world": mi.ScalarTransform4f().scale(GROUND_SIZE),
                "bsdf": ground,
            },
            "ambient": {"type": "constant", "radiance": ambient, "sampling_weight": SAMPLING_WEIGHTS["ambient"]},
        }
        for name, side, power, colour in LAMPS:
            radiance = {"type": "rgb", "value": [power / (math.pi * side**2) * channel for channel in colour]}
            emitter = {"type": "area", "radiance": radiance, "sampling_weight": SAMPLING_WEIGHTS[name]}
            # A place of its own until the first scene: Mitsuba rejects meshes without extent.
            description[name] = self._mesh(name, lamp(np.array([1.0, 0.0, 5.0]), side), _SQUARE, emitter=emitter)
        for number in range(self.num_objects):
            material = {
                "type": "principled",
                "base_color": {"type": "rgb", "value": [0.5, 0.5, 0.5]},
                "roughness": 0.5,
                "metallic": 0.0,
                "specular": 0.5,
            }
            name = f"object_{number}"
            description[name] = self._mesh(name, *unit_mesh("sphere"), faces(), bsdf=material)
        return description

    def _mesh(self, name: str, vertices: np.ndarray, *rest: np.ndarray, **parts: dict[str, Any]) -> Any:
        """A mesh of vertices, normals where given, and faces, with an emitter or a material."""
        *normals, triangles = rest
        properties = self.mi.Properties()
        for part, content in parts.items():
            properties[part] = self.mi.load_dict(content)
        mesh = self.mi.Mesh(name, len(vertices), len(triangles), has_vertex_normals=bool(normals), props=properties)
        parameters = self.mi.traverse(mesh)
        parameters["faces"] = triangles.ravel()
        parameters["vertex_positions"] = _flat(vertices)
        for normal in normals:
            parameters["vertex_normals"] = _flat(normal)
        parameters.update()
        return mesh

    def _look(self, camera: np.ndarray) -> Any:
        return self.mi.ScalarTransform4f().look_at(origin=camera.tolist(), target=[0, 0, 0], up=[0, 0, 1])

    def _set(self, scenes: Scenes, row: int) -> None:
        parameters = self.parameters
        parameters["sensor.to_world"] = self._look(scenes.camera[row])
        for (name, side, _, _), center in zip(LAMPS, scenes.lamps[row], strict=True):
            parameters[f"{name}.vertex_positions"] = _flat(lamp(center, side))
        for number in range(self.num_objects):
            name = f"object_{number}"
            vertices, normals = unit_mesh(SHAPES[scenes.shape[row, number]])
            turned = rotation(scenes.turn[row, number])
            placed = scenes.half_extent[row, number] * vertices @ turned.T + scenes.center[row, number]
            roughness, metallic = SURFACES[MATERIALS[scenes.material[row, number]]]
            parameters[f"{name}.vertex_positions"] = _flat(placed)
            parameters[f"{name}.vertex_normals"] = _flat(normals @ turned.T)
            colour = REFLECTANCES[COLOURS[scenes.colour[row, number]]]
            parameters[f"{name}.bsdf.base_color.value"] = [channel / 255 for channel in colour]
            parameters[f"{name}.bsdf.roughness.value"] = roughness
            parameters[f"{name}.bsdf.metallic.value"] = metallic
        parameters.update()


_SQUARE = np.array([[0, 1, 2], [0, 2, 3]], np.uint32)


def lamp(center: np.ndarray, side: float) -> np.ndarray:
    """Corners of a square around ``center`` that faces the origin, counter-clockwise seen from there: [4, 3]."""
    toward = -center / np.linalg.norm(center)
    across = np.cross((0.0, 0.0, 1.0), toward)
    across /= np.linalg.norm(across)
    above = np.cross(toward, across)
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    return np.array([center + side / 2 * (a * across + b * above) for a, b in corners])


def squash(frame: np.ndarray, columns: int) -> np.ndarray:
    """Averages a frame over areas to fewer columns: [H, W, 3] to [H, columns, 3].

    >>> squash(np.array([[[0.0], [3.0], [6.0]]]), 2).tolist()
    [[[1.0], [5.0]]]
    """
    width = frame.shape[1]
    ends = np.linspace(0, width, columns + 1)
    cumulative = np.concatenate([np.zeros_like(frame[:, :1]), frame.cumsum(1, np.float64)], 1)
    whole = np.minimum(ends.astype(int), width - 1)
    part = (ends - whole)[:, None]
    at_ends = cumulative[:, whole] * (1 - part) + cumulative[:, whole + 1] * part
    return np.asarray(np.diff(at_ends, axis=1) * columns / width)


def despeckled(image: np.ndarray) -> np.ndarray:
    """Cuts each value to the fourth largest of its eight neighbours: [H, W, 3] to [H, W, 3].

    So a straight edge stays, and a group of up to four bright pixels goes: :func:`squash` may spread one over two.
    """
    height, width, _ = image.shape
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    shifts = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    neighbours = np.stack([padded[y : y + height, x : x + width] for y, x in shifts])
    return np.asarray(np.minimum(image, np.partition(neighbours, -4, axis=0)[-4]))


def srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB bytes (IEC 61966-2-1), cut at 0 and 1.

    >>> srgb(np.array([0.0, 0.5, 2.0])).tolist()
    [0, 188, 255]
    """
    cut = linear.clip(0, 1)
    encoded = np.where(cut <= 0.0031308, 12.92 * cut, 1.055 * cut ** (1 / 2.4) - 0.055)
    return np.asarray((encoded * 255 + 0.5).astype(np.uint8))


def _flat(points: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(points, np.float32).ravel()
