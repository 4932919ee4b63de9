"""The nearest training images by enumeration, ties by their order, and models that copy, blur or draw afresh."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor
from torch.distributions import Independent, Normal
from torch.nn import functional as F

from mmvae_bench.evaluation.neighbours import TrainingPool, distinct, lowest, nearest
from mmvae_bench.evaluation.questions import build_question
from mmvae_bench.evaluation.questions.neighbours import closer
from mmvae_bench.evaluation.questions.similarity import coded, nearest_coded
from mmvae_bench.evaluation.sampling import real_batches
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.components import questions

from .fakes import LINES, LinesData, LinesSpec, Store, context, draw, exact_classifier
from .latent_models import Latent

CPU = torch.device("cpu")


def test_the_two_nearest_by_enumeration() -> None:
    generator = torch.Generator().manual_seed(0)
    images, pool = torch.rand(7, 3, 4, 5, generator=generator), torch.rand(40, 3, 4, 5, generator=generator)
    images[3] = pool[11]
    found = nearest(images, pool)
    for place, image in enumerate(images):
        apart = sorted((math.dist(image.flatten().tolist(), each.flatten().tolist()), k) for k, each in enumerate(pool))
        assert int(found.place[place]) == apart[0][1]
        assert float(found.distance[place]) == pytest.approx(apart[0][0], abs=1e-6)
        assert float(found.second[place]) == pytest.approx(apart[1][0], rel=1e-6)
    assert float(found.distance[3]) == 0
    assert float(found.ratio[3]) == 0
    assert torch.all(found.ratio <= 1)


def test_of_equally_near_images_the_first_is_taken() -> None:
    """All corners of a cube are equally far from its middle; the ties of a large pool lie far apart."""
    corners = torch.tensor(list(itertools.product((0.0, 1.0), repeat=12)))[:, None, None]
    middle = torch.full((1, 1, 1, 12), 0.5)
    for shift in (0, 1, 7):
        found = nearest(middle, corners.roll(shift, 0))
        assert int(found.place) == 0
        assert float(found.distance) == float(found.second) == pytest.approx(math.sqrt(3))
    last = torch.cat([torch.ones(1500, 1, 1, 12) * 0.9, corners])
    last[1200] = 0.25 * torch.ones(12) + 0.25
    last[800] = last[1200]
    assert int(nearest(middle, last).place) == 800
    values = torch.tensor([[3.0, 1.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert lowest(values).tolist() == [1, 0]


def test_between_images_that_differ_by_rounding_alone_there_is_no_copy() -> None:
    """Both distances are 0 then, and the ratio would be none."""
    image = torch.full((1, 1, 2, 2), 0.5)
    pool = torch.cat([image, image + 1e-6])
    assert len(distinct(pool)) == 2
    assert nearest(image, pool).ratio.tolist() == [1]


def test_equal_images_count_once() -> None:
    images = torch.tensor([0.0, 1.0, 0.0, 2.0, 1.0, 3.0]).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    assert distinct(images).tolist() == [0, 1, 3, 5]


def test_closer_is_the_statistic_of_mann_and_whitney() -> None:
    generator = torch.Generator().manual_seed(1)
    one, other = (torch.randint(6, (number,), generator=generator).double() for number in (30, 17))
    expected = mannwhitneyu(other.numpy(), one.numpy()).statistic / (30 * 17)
    assert float(closer(one, other).mean()) == pytest.approx(expected)
    assert float(closer(one, one).mean()) == 0.5


class Showing(Latent):
    """Shows what ``show`` makes of the values in z."""

    show: Callable[[Tensor], Tensor]

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Any:
        limits = torch.tensor([size - 1 for size in LINES.sizes])
        values = torch.minimum(z[:, :3].round().long().clamp(min=0), limits)
        return Independent(Normal(self.show(values), 1e-3), 3)


def grainy(values: Tensor) -> Tensor:
    """Fresh images: the lines of a concept, and grain of their own."""
    return 0.5 * draw(values) + 0.5 * torch.rand(len(values), 1, 16, 16)


def asked(show: Callable[[Tensor], Tensor], data: LinesData, **settings: Any) -> dict[str, Score]:
    model = Showing(scale=1e-3, width=1e-3)
    model.show = show
    given = context(model, data, exact_classifier(data))
    with torch.no_grad():
        found = build_question(questions.parse({"name": "neighbours", **settings})).ask(given)
    return {score.metric: score for score in found}


@pytest.fixture
def data() -> LinesData:
    """Of its own: other tests must not see the grain."""
    made = LinesData(LinesSpec(num_images=600))
    made.setup()
    torch.manual_seed(5)
    made._store = Store(grainy(made.store.concepts), made.store.concepts)  # type: ignore[attr-defined]
    return made


def test_a_copy_a_fresh_image_and_a_blurred_one(data: LinesData) -> None:
    pool = TrainingPool.of(data, seed=0, device=CPU)
    assert torch.equal(pool.index, data.rows("train"))
    test = data.store.batch(data.rows("test")).image
    real = nearest(test, pool.images)

    def copied(values: Tensor) -> Tensor:
        return torch.stack([pool.images[(pool.concepts == each).all(1).nonzero()[0, 0]] for each in values])

    fresh, copies = asked(grainy, data), asked(copied, data)
    blurred = asked(lambda values: 0.5 * draw(values) + 0.25, data)
    assert set(fresh) == set(questions.get("neighbours").metrics)
    for score in fresh.values():
        assert score.num_queries == len(test)
    for name, ceiling, floor in (
        ("closer_than_real", 0.5, 1.0),
        ("neighbour_ratio", float(real.ratio.mean()), 0.0),
        ("copies", 0.0, 1.0),
    ):
        for ending in ("", "_prior"):
            assert fresh[name + ending].ceiling == pytest.approx(ceiling)
            assert fresh[name + ending].floor == pytest.approx(floor)
            assert copies[name + ending].value == pytest.approx(floor, abs=1e-5)
    assert fresh["closer_than_real"].ci_low < 0.5 < fresh["closer_than_real"].ci_high
    assert fresh["neighbour_ratio"].value == pytest.approx(float(real.ratio.mean()), abs=0.01)
    assert fresh["copies"].value == 0
    # Blurred images are near to all: nearer than real ones, and no copies.
    assert blurred["closer_than_real"].value > 0.99
    assert blurred["copies"].value == 0
    assert blurred["neighbour_ratio"].value > 0.9


def test_the_numbers_of_the_images_that_were_shown(data: LinesData) -> None:
    """A model without noise: what it shows is known, so are the distances."""
    score = asked(draw, data, num_images=20)["closer_than_real"]
    batch = next(iter(real_batches(data, "test", seed=0, device=CPU, limit=20)))
    pool = TrainingPool.of(data, seed=0, device=CPU).images
    far = [
        torch.cdist(each.flatten(1).double(), pool.flatten(1).double()).amin(1)
        for each in (draw(batch.concept), batch.image)
    ]
    assert score.per_query == pytest.approx([float((far[1] > each).double().mean()) for each in far[0]])


def test_what_a_model_cannot_be_asked_is_left_out(data: LinesData) -> None:
    model = Showing()
    model.show, model.can_imagine = draw, False
    given = context(model, data, exact_classifier(data))
    with torch.no_grad():
        found = build_question(questions.parse("neighbours")).ask(given)
    assert {score.metric for score in found} == {"closer_than_real_prior", "neighbour_ratio_prior", "copies_prior"}
    assert set(given.left_out) == {"closer_than_real", "neighbour_ratio", "copies"}
    assert "cannot imagine" in given.left_out["copies"]


def test_a_training_set_of_one_image_has_no_second_nearest(lines: Callable[..., LinesData]) -> None:
    data = lines(num_images=100)
    data._store = Store(torch.zeros(100, 1, 16, 16), data.store.concepts)  # type: ignore[attr-defined]
    given = context(Showing(), data, exact_classifier(data))
    assert build_question(questions.parse("neighbours")).ask(given) == []
    assert "no second nearest" in given.left_out["neighbours"]


def test_the_training_image_of_nearest_attributes_is_the_first_of_those() -> None:
    """Concepts that training lacks: several others are equally near, in exact arithmetic."""
    sizes, generator = (3, 2, 5, 4, 5), torch.Generator().manual_seed(0)
    wanted, held = (
        torch.stack([torch.randint(size, (number,), generator=generator) for size in sizes], 1) for number in (200, 40)
    )
    codes = [coded([F.one_hot(each[:, k], size).double() for k, size in enumerate(sizes)]) for each in (wanted, held)]
    # Squared, 4 for another one of two values, 2 (V / (V - 1))^2 of more; here in 7200ths.
    weights = torch.tensor([28800 if size == 2 else 14400 * size**2 // (size - 1) ** 2 for size in sizes])
    apart = ((wanted[:, None] != held) * weights).sum(-1)
    firsts = [row.index(min(row)) for row in apart.tolist()]
    assert nearest_coded(*codes).tolist() == firsts
    assert sum(row.count(min(row)) > 1 for row in apart.tolist()) > 30
