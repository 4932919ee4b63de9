"""SSVAE's likelihoods against exact ones: the sum over y by enumeration, the integral over z by quadrature."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from mmvae_bench.data.batch import Batch
from mmvae_bench.evaluation.likelihood import Bounds
from mmvae_bench.evaluation.summed import SSVAE, SummedBounds, bounds_of
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.specs.components import backbones, datasets, objectives

NUM_IMAGES, NUM_DIGITS = 5, 10
GRID = torch.linspace(-12, 12, 2001, dtype=torch.float64)


def model_on(dataset: dict[str, Any], objective: dict[str, Any], backbone: dict[str, Any]) -> Objective:
    spec = datasets.parse(dataset)
    built = backbones.parse(backbone).build(schema=spec.concept_schema(), image_shape=spec.image_shape())
    model = objectives.parse(objective).build(built, seed=0).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.15 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


@pytest.fixture
def model() -> Objective:
    """SSVAE of one digit, z a number, with weights far enough from zero that y and z matter."""
    return model_on(
        {"name": "mnist", "source": "digits", "canvas": 16},
        {"name": "ssvae"},
        {"name": "mlp", "hidden": 8, "latent_size": 1},
    )


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(NUM_IMAGES, 1, 16, 16, generator=generator, dtype=torch.float64).round()
    return Batch(image, torch.arange(NUM_IMAGES)[:, None] * 2, torch.arange(NUM_IMAGES))


@torch.no_grad()
def log_joint(model: Objective, image: Tensor) -> Tensor:
    """log p(x,y) of every y, by quadrature over z: Float64[N, Y]. Pixels are written out."""
    rows = []
    for digit in range(NUM_DIGITS):
        columns = []
        for each in image:
            digits = torch.full((len(GRID), 1), digit)
            p = model.image_likelihood(GRID[:, None], digits).mean.clamp(1e-12, 1 - 1e-12)  # type: ignore[union-attr]
            log_px = torch.where(each == 1, p.log(), (1 - p).log()).flatten(1).sum(1)
            log_prior = -0.5 * GRID**2 - 0.5 * math.log(2 * math.pi)
            columns.append((log_px + log_prior).logsumexp(0) + math.log(float(GRID[1] - GRID[0])))
        rows.append(torch.stack(columns) - math.log(NUM_DIGITS))
    return torch.stack(rows, 1)


def bounds(model: Objective, batch: Batch, num_samples: int, seed: int = 1) -> Bounds:
    return bounds_of(model, batch, num_samples=num_samples, seed=seed)


def test_log_px_is_the_sum_over_every_digit(model: Objective, batch: Batch) -> None:
    exact = log_joint(model, batch.image)
    total = exact.logsumexp(1)
    found = bounds(model, batch, 1500).log_px()
    torch.testing.assert_close(found.values, total, rtol=0, atol=0.06)
    assert bool((total - exact.max(1).values > 0.1).all()), "more than one digit counts"
    assert (found.proposal, found.num_samples, found.num_dimensions) == ("q(z|x,y) of each y", 1500, 256)
    # A lower bound in expectation, and a tighter one with more z.
    one, three = (
        torch.stack([bounds(model, batch, number, seed).log_px().values for seed in range(40)]).mean()
        for number in (1, 3)
    )
    assert one < three < total.mean()


def test_no_digit_is_left_out_of_the_sum(model: Objective) -> None:
    """Of images that one digit explains best, by nats, each digit would be missed."""
    with torch.no_grad():
        first = model.image_decoder.decoder.network[0].weight  # type: ignore[union-attr]
        for parameter in model.image_decoder.parameters():  # type: ignore[union-attr]
            parameter *= 4
        first[:, 0] /= 40  # z matters little, and each digit has units of the hidden layer of its own.
        first[:, 1:] = torch.cat([4 * torch.eye(8), 4 * torch.eye(8)[:, :2].roll(1, 0) + 4 * torch.eye(8)[:, 2:4]], 1)
        digits = torch.arange(NUM_DIGITS)[:, None]
        z = torch.zeros(NUM_DIGITS, 1, dtype=torch.float64)
        image = model.image_likelihood(z, digits).mean.round()  # type: ignore[union-attr]
    exact = log_joint(model, image)
    missed = torch.stack(
        [exact.logsumexp(1) - exact[:, torch.arange(NUM_DIGITS) != digit].logsumexp(1) for digit in range(NUM_DIGITS)]
    )
    assert bool((missed.max(1).values > 1).all())
    image, total = image[missed.argmax(1)], exact.logsumexp(1)[missed.argmax(1)]
    asked = Batch(image, torch.arange(NUM_DIGITS)[:, None], torch.arange(NUM_DIGITS))
    torch.testing.assert_close(bounds(model, asked, 1500).log_px().values, total, rtol=0, atol=0.3)


def test_it_does_not_depend_on_the_digit_that_is_told_or_guessed(model: Objective, batch: Batch) -> None:
    told = Batch(batch.image, batch.concept.flip(0), batch.index)
    before = bounds(model, batch, 3).log_px().values
    assert torch.equal(before, bounds(model, told, 3).log_px().values)
    with torch.no_grad():
        for parameter in model.describer.parameters():  # type: ignore[union-attr]
            parameter.zero_()
    assert torch.equal(before, bounds(model, batch, 3).log_px().values)


def test_the_joint_bound_and_the_elbo(model: Objective, batch: Batch) -> None:
    exact = log_joint(model, batch.image)[torch.arange(NUM_IMAGES), batch.concept[:, 0]]
    asked = bounds(model, batch, 1500)
    torch.testing.assert_close(asked.log_pxy().values, exact, rtol=0, atol=0.06)
    elbo = asked.elbo()
    q = model.posterior(batch.image, batch.concept)
    kl = -q.stddev.log() + (q.stddev**2 + q.mean**2 - 1) / 2
    torch.testing.assert_close(elbo["elbo_kl"].values, kl[:, 0])
    torch.testing.assert_close(elbo["elbo_log_py"].values, torch.full_like(exact, -math.log(NUM_DIGITS)))
    total = elbo["elbo_log_px"].values + elbo["elbo_log_py"].values - elbo["elbo_kl"].values
    torch.testing.assert_close(elbo["elbo"].values, total)
    # By quadrature over q(z|x,y): the gap is KL(q(z|x,y) || p(z|x,y)).
    density = Normal(q.mean, q.stddev).log_prob(GRID[None])
    expected = []
    for row in range(NUM_IMAGES):
        p = model.image_likelihood(GRID[:, None], batch.concept[row].expand(len(GRID), 1)).mean  # type: ignore[union-attr]
        log_px = torch.where(batch.image[row] == 1, p.log(), (1 - p).log()).flatten(1).sum(1)
        expected.append((density[row].exp() * log_px).sum() * (GRID[1] - GRID[0]))
    torch.testing.assert_close(elbo["elbo_log_px"].values, torch.stack(expected).detach(), rtol=0, atol=0.1)
    assert bool((elbo["elbo"].values < exact).all())


def test_what_has_no_sum_says_so(batch: Batch) -> None:
    many = model_on(
        {"name": "mnist_a", "canvas": 16},
        {"name": "ssvae"},
        {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 2},
    )
    columns = [torch.zeros(NUM_IMAGES, dtype=torch.long) for _ in many.schema.sizes]
    told = Batch(batch.image, torch.stack(columns, 1), batch.index)
    asked = bounds(many, told, 2)
    assert type(asked) is SummedBounds
    number = math.prod(many.schema.sizes)
    with pytest.raises(CapabilityError, match=rf"a sum over the {number:,} concepts, each decoded for every image"):
        asked.log_px()
    assert asked.elbo()["elbo_log_py"].values[0] == pytest.approx(-math.log(number))
    for missing in (asked.log_py, asked.description_entropy, lambda: asked.log_px(flow_prior=True)):
        with pytest.raises(CapabilityError):
            missing()
    assert objectives.parse("ssvae").implementation == SSVAE
    assert objectives.parse({"name": "ssvae", "structure": "intrinsic"}).implementation != SSVAE
    plain = model_on(
        {"name": "mnist", "source": "digits", "canvas": 16}, {"name": "jmvae"}, {"name": "mlp", "hidden": 8}
    )
    assert type(bounds(plain, batch, 2)) is Bounds
