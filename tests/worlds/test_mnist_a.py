"""The drawn numbers against the distributions of PROTOCOL, computed by scipy, and pictures against Pillow.

Pictures are also compared with themselves in other batches, and with what the words mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mmvae_bench.data.sources.digits import ScikitDigitsSource
from mmvae_bench.worlds.mnist_a import UNITS, Geometry, draw_geometry, location_range, render, render_window

NUM = 60_000


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return draw_geometry(torch.arange(NUM) // 10, torch.arange(NUM) % 10, seed=0)


def test_attributes_are_uniform_and_independent(geometry: Geometry) -> None:
    scale, orientation, location = geometry.concept.unbind(1)
    counts = (scale * 12 + orientation * 4 + location).bincount(minlength=24)
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("value", "mean"), [(0, 0.9), (1, 0.6)])
def test_scale_is_a_truncated_normal(geometry: Geometry, value: int, mean: float) -> None:
    drawn = geometry.scale[geometry.concept[:, 0] == value].numpy()
    expected = scipy.stats.truncnorm((0.4 - mean) / 0.1, (1.0 - mean) / 0.1, mean, 0.1)
    assert scipy.stats.kstest(drawn, expected.cdf).pvalue > 1e-3
    assert drawn.min() >= 0.4
    assert drawn.max() <= 1.0


@pytest.mark.parametrize(("value", "mean"), [(0, -45), (2, 45)])
def test_rotation_is_a_truncated_normal(geometry: Geometry, value: int, mean: float) -> None:
    drawn = geometry.rotation[geometry.concept[:, 1] == value].numpy()
    expected = scipy.stats.truncnorm((-90 - mean) / 10, (90 - mean) / 10, mean, 10)
    assert scipy.stats.kstest(drawn, expected.cdf).pvalue > 1e-3


def test_upright_is_not_rotated_at_all(geometry: Geometry) -> None:
    assert (geometry.rotation[geometry.concept[:, 1] == 1] == 0).all()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("far", [False, True])
def test_location_has_the_exact_probabilities_of_rejection(geometry: Geometry, axis: int, far: bool) -> None:
    """int(N(12 or 52, 4)) given the box rule: the probability of every whole coordinate, side by side."""
    is_far = geometry.concept[:, 2] % 2 == 1 if axis == 0 else geometry.concept[:, 2] >= 2
    chosen = is_far == far
    center, side = geometry.center[chosen, axis].numpy(), geometry.side[chosen].numpy()
    mean, values = 52 if far else 12, np.arange(65)
    expected = np.zeros(65)
    for one_side, number in zip(*np.unique(side, return_counts=True), strict=True):
        half = one_side // 2 + 1
        allowed = (values - half >= 1) & (values + half <= 64)
        # Truncation to int is floor here: no allowed coordinate is below 2.
        probability = allowed * (scipy.stats.norm.cdf(values + 1, mean, 4) - scipy.stats.norm.cdf(values, mean, 4))
        expected += number * probability / probability.sum()
    observed = np.bincount(center, minlength=65)
    assert observed[expected == 0].sum() == 0
    often = expected > 10
    pooled_observed, pooled_expected = (np.append(x[often], x[~often].sum()) for x in (observed, expected))
    assert scipy.stats.chisquare(pooled_observed, pooled_expected).pvalue > 1e-3


def test_location_agrees_with_plain_rejection(geometry: Geometry) -> None:
    """A small box upright at the top left, where the published loop is quick enough to run."""
    chosen = (geometry.side == 16) & (geometry.concept[:, 2] == 0)
    drawn = geometry.center[chosen, 0].numpy()
    tried = np.trunc(np.random.default_rng(0).normal(12, 4, 200_000)).astype(int)
    kept = tried[(tried - 9 >= 1) & (tried + 9 <= 64)]
    assert len(drawn) > 400
    assert abs(drawn.mean() - kept.mean()) < 4 * kept.std() / len(drawn) ** 0.5
    assert drawn.min() == kept.min() == 10


def test_coordinates_are_independent_given_the_box(geometry: Geometry) -> None:
    chosen = (geometry.side == 16) & (geometry.concept[:, 2] == 3)
    x, y = geometry.center[chosen].double().unbind(1)
    assert abs(torch.corrcoef(torch.stack([x, y]))[0, 1]) < 4 / len(x) ** 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_the_box_never_leaves_the_canvas(seed: int) -> None:
    geometry = draw_geometry(torch.arange(200_000), torch.zeros(200_000, dtype=torch.long), seed=seed)
    half = geometry.side[:, None] // 2 + 1
    assert (geometry.center - half >= 1).all()
    assert (geometry.center + half <= 64).all()
    assert (geometry.corner + geometry.side[:, None] <= 64).all()
    assert geometry.side.max() <= 40
    low, high = location_range(torch.arange(1, 41))
    assert (low <= high).all()


def test_numbers_do_not_depend_on_the_batch(geometry: Geometry) -> None:
    order = torch.randperm(NUM, generator=torch.Generator().manual_seed(0))[:257]
    for rows in (order, *order.split(1)[:40], *order.split(64)):
        again = draw_geometry(rows // 10, rows % 10, seed=0)
        for name in ("concept", "scale", "rotation", "full_side", "side", "center", "key"):
            assert torch.equal(getattr(again, name), getattr(geometry, name)[rows]), name


def test_seeds_make_different_pictures(geometry: Geometry) -> None:
    other = draw_geometry(torch.arange(1000) // 10, torch.arange(1000) % 10, seed=1)
    assert not (other.scale == geometry.scale[:1000]).any()
    assert not (other.key == geometry.key[:1000]).any()


@pytest.fixture(scope="module")
def digits() -> Tensor:
    return ScikitDigitsSource().load().images


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def geometry_of(num: int, *, seed: int = 0) -> Geometry:
    return draw_geometry(torch.arange(num), torch.zeros(num, dtype=torch.long), seed=seed)


def render_grey(digits: Tensor, geometry: Geometry, *, canvas: int = UNITS) -> Tensor:
    """The pictures before binarisation: Float[picture, canvas, canvas] in [0, 1]."""
    window = render_window(digits, geometry, canvas=canvas)
    return window.paste(window.grey, canvas)


def with_pillow(digit: Tensor, geometry: Geometry, index: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The published recipe with Pillow, for the numbers drawn here: grey canvas, size of the pasted box."""
    image = Image.fromarray(digit.numpy())
    image = image.rotate(geometry.rotation[index].item(), Image.Resampling.BICUBIC, expand=True)
    scale = geometry.scale[index].item()
    image.thumbnail((int(image.width * scale), int(image.height * scale)), Image.Resampling.BICUBIC)
    canvas, (x, y) = Image.new("L", (64, 64)), geometry.center[index].tolist()
    canvas.paste(image, (x - image.width // 2 - 1, y - image.height // 2 - 1))
    return np.asarray(canvas) / 255, image.size


def test_greys_match_pillow(digits: Tensor) -> None:
    num = 300
    geometry = geometry_of(num)
    ours = render_grey(digits[:num], geometry).numpy()
    differences, ink = [], []
    for index in range(num):
        theirs, size = with_pillow(digits[index], geometry, index)
        assert size == (int(geometry.side[index]), int(geometry.side[index]))
        inside = (theirs > 0) | (ours[index] > 0)
        differences.append(np.abs(ours[index] - theirs)[inside].mean())
        ink.append(ours[index].sum() / theirs.sum())
    assert np.mean(differences) < 0.025
    assert np.max(differences) < 0.1
    assert np.mean(ink) == pytest.approx(1, abs=0.01)


def test_a_wrong_sign_would_not_match_pillow(digits: Tensor) -> None:
    geometry = geometry_of(100)
    wrong = render_grey(digits[:100], replace(geometry, rotation=-geometry.rotation)).numpy()
    turned = [index for index in range(100) if geometry.rotation[index] != 0]
    theirs = np.stack([with_pillow(digits[index], geometry, index)[0] for index in turned])
    assert np.abs(wrong[turned] - theirs)[theirs > 0].mean() > 0.2


def test_words_mean_what_they_say() -> None:
    """A hand that points up points right when turned clockwise; top-left is at the top and at the left."""
    hand = torch.zeros(28, 28, dtype=torch.uint8)
    hand[4:14, 12:16] = 255
    geometry = geometry_of(400)
    grey = render_grey(hand.expand(400, 28, 28), geometry)
    pixels = torch.arange(64) + 0.5
    x = (grey.sum(1) * pixels).sum(1) / grey.sum((1, 2))
    y = (grey.sum(2) * pixels).sum(1) / grey.sum((1, 2))
    middle = geometry.corner + geometry.side[:, None] / 2
    right, down = x - middle[:, 0], y - middle[:, 1]
    orientation, location = geometry.concept[:, 1], geometry.concept[:, 2]
    assert (right[orientation == 0] > 1).all()
    assert (right[orientation == 2] < -1).all()
    assert (right[orientation == 1].abs() < 0.1).all()
    assert (down[orientation == 1] < -1).all()
    assert (middle[location == 0].mean(0) < 28).all()
    means = torch.stack([middle[location == value].mean(0) for value in range(4)])
    assert torch.equal(means > 32, torch.tensor([[False, False], [True, False], [False, True], [True, True]]))
    area = grey.sum((1, 2))
    assert area[geometry.concept[:, 0] == 0].mean() > 1.5 * area[geometry.concept[:, 0] == 1].mean()


@pytest.mark.parametrize("canvas", [16, 20, 32, 64, 100])
def test_pictures_do_not_depend_on_batch_order_or_size(digits: Tensor, canvas: int) -> None:
    num = 257
    whole = render(digits[:num], geometry_of(num), canvas=canvas)
    grey = render_grey(digits[:num], geometry_of(num), canvas=canvas)
    order = torch.randperm(num, generator=torch.Generator().manual_seed(canvas))
    for rows in (order, *order.split(64), *order[:20].split(1), *order[20:80].split(3)):
        geometry = draw_geometry(rows, torch.zeros_like(rows), seed=0)
        assert torch.equal(render(digits[rows], geometry, canvas=canvas), whole[rows])
        assert torch.equal(render_grey(digits[rows], geometry, canvas=canvas), grey[rows])


@pytest.mark.usefixtures("two_threads")
def test_pictures_do_not_depend_on_threads(digits: Tensor) -> None:
    with_two = render(digits, geometry_of(len(digits)))
    torch.set_num_threads(1)
    assert torch.equal(render(digits, geometry_of(len(digits))), with_two)


def test_other_canvases_show_the_same_pictures(digits: Tensor) -> None:
    geometry = geometry_of(200)
    published = render_grey(digits[:200], geometry)
    half = render_grey(digits[:200], geometry, canvas=32)
    double = render_grey(digits[:200], geometry, canvas=128)
    # The points of interpolation are the same; only the clipping to [0, 1] comes before or after the mean.
    for small, large in ((half, published), (published, double)):
        difference = (small - avg_pool2d(large, 2)).abs()
        assert difference.max() < 0.1
        assert difference[small > 0].mean() < 0.01


@pytest.mark.parametrize("canvas", [17, 48, 64])
def test_the_window_cuts_nothing_off(digits: Tensor, canvas: int) -> None:
    """A digit that is white everywhere fills exactly its box, wherever it lies."""
    geometry = geometry_of(500)
    white = torch.full((500, 28, 28), 255, dtype=torch.uint8)
    area = render_grey(white, geometry, canvas=canvas).sum((1, 2)) * (64 / canvas) ** 2
    expected = (28.0 * geometry.side / geometry.full_side) ** 2
    assert (area / expected - 1).abs().max() < 0.08
    assert abs((area / expected).mean() - 1) < 0.01
    window = render_window(digits[:500], geometry, canvas=canvas)
    assert (window.corner >= 0).all()
    assert (window.corner + window.grey.shape[-1] <= canvas).all()


def test_each_pixel_is_a_bernoulli_draw_of_its_grey(digits: Tensor) -> None:
    num = 8000
    one = draw_geometry(torch.tensor([3]), torch.tensor([1]), seed=0)
    many = Geometry(**{name: value.expand(num, *value.shape[1:]) for name, value in vars(one).items()})
    many = replace(many, key=torch.arange(num))
    drawn = torch.cat(
        [
            render(digits[3].expand(len(key), 28, 28), replace(many, **_part(many, key)))
            for key in torch.arange(num).split(500)
        ]
    ).double()
    grey = render_grey(digits[3:4], one)[0].double()
    error = (drawn.mean(0) - grey) / (grey * (1 - grey) / num).sqrt().clamp(min=1e-4)
    assert error.abs().max() < 5
    assert ((grey > 0.05) & (grey < 0.95)).sum() > 30
    assert error[(grey > 0.05) & (grey < 0.95)].std() == pytest.approx(1, abs=0.25)


def _part(geometry: Geometry, rows: Tensor) -> dict[str, Tensor]:
    return {name: value[rows] for name, value in vars(geometry).items()}
