"""How strongly attributes are drawn: the scores written out, their sign, and what the picture shows of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmvae_bench.specs.built_in.datasets import CELEBA18_NAMES
from mmvae_bench.worlds.faces.person import Nuisance, Sitter, draw_nuisance, middle, traits
from mmvae_bench.worlds.faces.strengths import strengths

NUMBER = 20_000


def brightness(tone: float, warmth: float, pale: bool) -> float:
    """The mean of red, green and blue: of the palest and pale skin, and of light, dark and warm skin."""
    if pale:
        return (736 + tone * (698 - 736)) / 3
    plain = 586 + tone**1.6 * (290 - 586)
    amount = 0.06 * (1 + warmth)
    return (plain * (1 - amount) + 464 * amount) / 3


def skin(face: Nuisance, pale: bool) -> float:
    usual, palest = brightness(0.5, 0, False), brightness(0.5, 0, True)
    return 2 * (brightness(face.skin_tone, face.skin_warmth, pale) - usual) / (palest - usual) - 1


WRITTEN_OUT: dict[str, Callable[[Nuisance, bool], float]] = {
    "Black_Hair": lambda face, yes: 1 - face.hair_shade / 2 if yes else -1,
    "Blond_Hair": lambda face, yes: 1 + face.hair_shade / 2 if yes else -1,
    "Gray_Hair": lambda face, yes: 1 + face.hair_shade / 2 if yes else -1,
    "Male": lambda face, yes: (1 if yes else -1) + 2 * 0.8 * face.jaw_width / 3.6,
    "Mouth_Slightly_Open": lambda face, yes: 2 * (3.2 + face.mouth_gap) / 3.7 - 1 if yes else -1,
    "Mustache": lambda face, yes: 2 * (5.6 + 1.6 * face.mustache_width) / 6.4 - 1 if yes else -1,
    "Pale_Skin": skin,
    "Smiling": lambda face, yes: (
        1 + 2 * (face.mouth_curve - 0.5) / 3.9 if yes else -1 + 1.6 * (face.mouth_curve - 0.5) / 3.9
    ),
}


def columns(faces: list[Nuisance]) -> dict[str, np.ndarray]:
    return dict(zip(Nuisance._fields, np.array(faces, np.float32).T, strict=True))


def test_scores_are_what_they_are_said_to_be() -> None:
    faces = draw_nuisance(np.arange(40), seed=3)
    rows = np.random.default_rng(0).integers(0, 2, (40, 18))
    found = strengths(rows, columns(faces))
    assert found.dtype == np.float32
    for number, (face, row) in enumerate(zip(faces, rows.tolist(), strict=True)):
        for name, score, value in zip(CELEBA18_NAMES, found[number], row, strict=True):
            wanted = WRITTEN_OUT[name](face, bool(value)) if name in WRITTEN_OUT else 2 * value - 1
            assert score == pytest.approx(wanted, abs=2e-6), name


def test_the_sign_is_that_of_the_attribute_and_one_is_typical() -> None:
    faces = columns(draw_nuisance(np.arange(NUMBER), seed=0))
    rows = np.random.default_rng(1).integers(0, 2, (NUMBER, 18))
    found = strengths(rows, faces)
    assert np.array_equal(found > 0, rows == 1)
    assert abs(found).min() > 0.1
    usual = columns([middle()] * 2)
    assert np.array_equal(strengths(np.array([[0] * 18, [1] * 18]), usual), [[-1] * 18, [1] * 18])
    varied = {name for name, column in zip(CELEBA18_NAMES, found.T, strict=True) if len(np.unique(column)) > 2}
    assert varied == set(WRITTEN_OUT)


def test_it_is_what_is_drawn_that_is_scored() -> None:
    """Of each, a face is drawn with more and with less of it: another picture, and the larger score for more."""
    painter = pytest.importorskip("mmvae_bench.worlds.faces.painter", exc_type=ImportError)
    pytest.importorskip("skia", exc_type=ImportError)
    more = {
        "Black_Hair": ("hair_shade", -1.0, 1.0),
        "Blond_Hair": ("hair_shade", 1.0, -1.0),
        "Gray_Hair": ("hair_shade", 1.0, -1.0),
        "Male": ("jaw_width", 1.0, -1.0),
        "Mouth_Slightly_Open": ("mouth_gap", 1.0, 0.0),
        "Mustache": ("mustache_width", 1.0, 0.0),
        "Pale_Skin": ("skin_tone", 0.0, 1.0),
        "Smiling": ("mouth_curve", 1.0, 0.0),
    }
    assert more.keys() == WRITTEN_OUT.keys()
    for name, (factor, strong, weak) in more.items():
        row = np.array([[each == name for each in CELEBA18_NAMES]] * 2, np.uint8)
        faces = [middle()._replace(**{factor: strong}), middle()._replace(**{factor: weak})]
        pictures, _ = painter.Painter(64).paint(row, faces)
        assert (pictures[0] != pictures[1]).any(-1).sum() >= 8, name
        place = CELEBA18_NAMES.index(name)
        high, low = strengths(row, columns(faces))[:, place]
        assert high > low > 0, name


def test_jaw_and_skin_are_those_of_the_sitter() -> None:
    for number, face in enumerate(draw_nuisance(np.arange(20), seed=5)):
        row = [number % 2] * 18
        sitter = Sitter.of(traits(row), face)
        score = dict(zip(CELEBA18_NAMES, strengths(np.array([row]), columns([face]))[0].tolist(), strict=True))
        assert score["Male"] == pytest.approx((sitter.geometry.jaw - 10) / 1.8, abs=1e-5)
        usual, palest = brightness(0.5, 0, False), brightness(0.5, 0, True)
        shown = sum(sitter.palette.skin) / 3
        assert score["Pale_Skin"] == pytest.approx(2 * (shown - usual) / (palest - usual) - 1, abs=1e-5)
