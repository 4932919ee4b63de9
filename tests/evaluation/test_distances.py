"""FID and KID: against their formulas, and on models whose images are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.evaluation.classifier import HeldOut, ObservationClassifier
from mmvae_bench.evaluation.questions import build_question, distances
from mmvae_bench.evaluation.questions.distances import check_inception, distance
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.components import questions

from .fakes import LINES, LinesData, context, draw
from .latent_models import Latent


class Network(nn.Module):
    """Two heads read the same features, the third others: five and two numbers of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(5, 4), nn.Linear(5, 2), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))])
        nn.init.eye_(self.heads[2][0].weight)  # type: ignore[index, arg-type]
        nn.init.zeros_(self.heads[2][0].bias)  # type: ignore[index, arg-type]

    def forward(self, images: Tensor) -> list[Tensor]:
        first, second = features(images).float().split((5, 2), dim=1)
        return [self.heads[0](first), self.heads[1](first), self.heads[2](second)]


def features(images: Tensor) -> Tensor:
    """What the heads are linear in."""
    quarters = nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)
    whole = images.mean((1, 2, 3))[:, None]
    edges = torch.stack([images[..., 1, :].mean((1, 2)), images[..., :, 1].mean((1, 2))], 1)
    return torch.cat([quarters, whole, edges], 1).double()


class Imaginer(Latent):
    """Draws the concept that z holds; the mean is the image, a sample has noise."""

    noise, collapsed = 0.3, False

    def __init__(self) -> None:
        super().__init__(scale=1e-3, width=1e-3)

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        sizes = torch.tensor(LINES.sizes)
        values = torch.minimum(z[:, :3].round().long().clamp(min=0), sizes - 1)
        images = draw(torch.zeros_like(values) if self.collapsed else values)
        return Independent(Normal(images, self.noise), 3)


def ask(model: Any, data: LinesData, **settings: object) -> tuple[dict[str, Score], dict[str, str]]:
    truth = data.concepts("test")
    classifier = ObservationClassifier("small", "0" * 12, Network(), LINES, HeldOut(truth, truth))
    asked = context(model, data, classifier)
    with torch.no_grad():
        scores = build_question(questions.parse({"name": "distances", **settings})).ask(asked)
    return {score.metric: score for score in scores}, asked.left_out


def frechet(one: Tensor, other: Tensor) -> float:
    """Heusel et al., equation 6, by scipy's matrix square root."""
    a, b = one.numpy(), other.numpy()
    s, t = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(s @ t)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * np.real(root)))


def kernel(one: Tensor, other: Tensor) -> float:
    """The unbiased estimate, pair by pair."""

    def k(x: Tensor, y: Tensor) -> float:
        return (float(x @ y) / len(x) + 1) ** 3

    n = len(one)
    pairs = [(i, j) for i in range(n) for j in range(n)]
    within = sum(k(part[i], part[j]) for part in (one, other) for i, j in pairs if i != j) / (n * (n - 1))
    return within - 2 * sum(k(one[i], other[j]) for i, j in pairs) / n**2


def test_distances_of_features_by_their_formulas() -> None:
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    other = 0.5 + 2 * torch.randn(30, 4, generator=generator, dtype=torch.float64)
    found = distance(one, other, seed=0)
    assert found.fid == pytest.approx(frechet(one, other), rel=1e-6)
    assert found.kid == pytest.approx(kernel(one, other), rel=1e-9)
    assert distance(one, one, seed=0).fid == pytest.approx(0.0, abs=1e-6)


def test_kid_of_many_images_is_a_mean_over_subsets_that_the_seed_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "SUBSET_SIZE", 20)
    generator = torch.Generator().manual_seed(1)
    one, other = (torch.randn(60, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    state = torch.get_rng_state()
    first = distance(one, other, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert distance(one, other, seed=3) == first
    assert distance(one, other, seed=4).kid != first.kid


def test_real_against_real_is_what_a_model_that_draws_real_images_scores(lines: Callable[..., LinesData]) -> None:
    """Images of the concepts of the second half are here its very images."""
    data = lines()
    found, left_out = ask(Imaginer(), data)
    assert left_out == {}
    assert set(found) == set(questions.get("distances").metrics)
    number = len(data.rows("test")) // 2
    assert all(score.num_queries == number for score in found.values())
    for name in ("fid", "kid"):
        assert found[name].value == pytest.approx(found[name].ceiling, abs=1e-9)
        assert math.isnan(found[name].ci_low)
        assert found[f"{name}_prior"].ceiling == found[name].ceiling
    # Values of z ~ N(0, I) are not those of the data.
    assert found["fid_prior"].value > 3 * found["fid"].ceiling


def test_one_image_for_everything_and_noise_are_far_from_real_images(lines: Callable[..., LinesData]) -> None:
    data, collapsed = lines(), Imaginer()
    collapsed.collapsed = True
    exact, noisy, same = ask(Imaginer(), data)[0], ask(Imaginer(), data, images="sample")[0], ask(collapsed, data)[0]
    for name in ("fid", "kid"):
        assert same[name].value > 5 * max(exact[name].value, 1e-4)
        assert noisy[name].value > 1.5 * max(exact[name].value, 1e-5)


def test_features_are_what_the_last_linear_layers_read_each_counted_once(lines: Callable[..., LinesData]) -> None:
    data = lines()
    truth = data.concepts("test")
    classifier = ObservationClassifier("small", "0" * 12, Network(), LINES, HeldOut(truth, truth))
    asked = context(Imaginer(), data, classifier)
    images, concepts = draw(truth), truth
    with torch.no_grad():
        found = distances._features(asked, None)(images, concepts)
    assert torch.allclose(found, features(images), atol=1e-6)
    assert found.shape[1] == 7
    assert not any(part._forward_pre_hooks for part in classifier.network.modules())


def test_a_model_that_cannot_imagine_is_scored_on_its_prior_alone(lines: Callable[..., LinesData]) -> None:
    model = Imaginer()
    model.can_imagine = False
    found, left_out = ask(model, lines())
    assert set(found) == {"fid_prior", "kid_prior"}
    assert set(left_out) == {"fid", "kid"}


def test_a_wrong_file_of_inception_weights_is_named(tmp_path: Path, lines: Callable[..., LinesData]) -> None:
    file = tmp_path / "weights.pth"
    with pytest.raises(ConfigError, match=r"inception: there is no such file"):
        check_inception(file)
    file.write_text("not weights", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is no file of PyTorch weights"):
        check_inception(file)
    shape = distances.INCEPTION_SHAPES["Conv2d_1a_3x3.conv.weight"]
    torch.save({"Conv2d_1a_3x3.conv.weight": torch.zeros(shape), "fc.weight": torch.zeros(1000, 2048)}, file)
    with pytest.raises(ConfigError, match=r"fc.weight has the shape \[1000, 2048\], where it must have .* \[1008"):
        ask(Imaginer(), lines(), inception=str(file))
    torch.save({name: torch.zeros(shape) for name, shape in distances.INCEPTION_SHAPES.items()}, file)
    if not distances._TORCH_FIDELITY_AVAILABLE:
        with pytest.raises(ConfigError, match="pip install torch-fidelity"):
            ask(Imaginer(), lines(), inception=str(file))
