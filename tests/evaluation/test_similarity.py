"""Attribute similarity against its definitions: samples whose attributes are known, read without error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.evaluation.questions.similarity import blurred, coded
from mmvae_bench.evaluation.sampling import real_batches
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.trial import EvaluationSpec

from .fakes import LINES, Fake, LinesData, context, exact_classifier, question, read_exactly


class Certain(nn.Module):
    """Reads images without error or doubt."""

    def forward(self, images: Tensor) -> list[Tensor]:
        values = read_exactly(images).clamp_min(0)  # a blurred image has no line of full length
        return [1e4 * F.one_hot(values[:, k], size).float() for k, size in enumerate(LINES.sizes)]


class Changing(Fake):
    """Of each concept: the first sample with every attribute changed, the second with one, the others right."""

    def complete(self, queries: Tensor, generator: torch.Generator) -> Tensor:
        shown = queries.clone().unflatten(0, (-1, 10))
        sizes = torch.tensor(LINES.sizes)
        shown[:, 0] = (shown[:, 0] + 1) % sizes
        shown[:, 1, 0] = (shown[:, 1, 0] + 1) % sizes[0]
        return shown.flatten(0, 1)


def vector(concept: Tensor) -> Tensor:
    """The codes written out: +1 and -1 for two values, 1 and -1/(V - 1) for more."""
    numbers = []
    for value, size in zip(concept.tolist(), LINES.sizes, strict=True):
        if size == 2:
            numbers.append(1.0 if value else -1.0)
        else:
            numbers += [1.0 if value == other else -1 / (size - 1) for other in range(size)]
    return torch.tensor(numbers, dtype=torch.float64)


def angle(first: Tensor, second: Tensor) -> float:
    return float(first @ second / (first.norm() * second.norm()))


def asked(model: Any, data: ConceptDataModule) -> dict[str, Score]:
    given = context(
        model, data, replace(exact_classifier(data), network=Certain()), protocols=["attribute2image"], num_samples=10
    )
    assert question("similarity").wanted(given.evaluation)
    assert not question("similarity").wanted(EvaluationSpec())
    with torch.no_grad():
        return {score.metric: score for score in question("similarity").ask(given)}


def test_every_number_is_what_it_says(lines: Callable[..., LinesData]) -> None:
    data = lines(num_images=400)
    scores = asked(Changing(), data)
    concepts = torch.cat([each.concept for each in real_batches(data, "test", seed=0, device=torch.device("cpu"))])
    training = torch.cat([each.concept for each in real_batches(data, "train", seed=0, device=torch.device("cpu"))])
    sizes = torch.tensor(LINES.sizes)
    for number, concept in enumerate(concepts):
        one = concept.clone()
        one[0] = (one[0] + 1) % sizes[0]
        samples = [(concept + 1) % sizes, one, *[concept] * 8]
        wanted = vector(concept)
        cosines = [angle(vector(each), wanted) for each in samples]
        errors = [float((vector(each) - wanted).square().sum()) for each in samples]
        for metric, value in (
            ("attribute_cosine", sum(cosines) / 10),
            ("attribute_cosine_best", max(cosines)),
            ("attribute_error", sum(errors) / 10),
            ("attribute_error_best", min(errors)),
        ):
            per_query = scores[metric].per_query
            assert per_query is not None
            assert per_query[number] == pytest.approx(value, abs=1e-6)
        nearest = min(float((vector(each) - wanted).square().sum()) for each in training.unique(dim=0))
        assert (scores["attribute_error_nearest"].per_query or [])[number] == pytest.approx(nearest, abs=1e-6)
    assert scores["attribute_cosine_best"].value == pytest.approx(1)
    assert scores["attribute_cosine"].value < 1
    assert scores["attribute_cosine"].ceiling == pytest.approx(1)
    assert scores["attribute_error"].ceiling == pytest.approx(0, abs=1e-9)
    # Ten images drawn blindly: their mean is far below, and the best of them is rewarded for being many.
    each = torch.tensor([[angle(vector(a), vector(b)) for b in training] for a in concepts]).sort(1).values
    assert scores["attribute_cosine"].floor == pytest.approx(float(each.mean()), abs=0.05)
    ranks = (torch.arange(len(training) + 1) / len(training)) ** 10
    largest = float((each * ranks.diff()).sum(1).mean())
    assert scores["attribute_cosine_best"].floor == pytest.approx(largest, abs=0.05)
    assert scores["attribute_cosine_best"].floor > scores["attribute_cosine"].floor + 0.2


def test_a_model_that_shows_its_training_images_is_found(lines: Callable[..., LinesData]) -> None:
    """Images here are a function of their concept, so a right sample is a training image, and so is a real one."""
    data = lines(num_images=400)

    class Noisy(Changing):
        def imagine(self, *arguments: Any, **options: Any) -> Tensor:
            return (super().imagine(*arguments, **options) + 0.1).clamp(0, 1)

    exact = asked(Changing(), data)["memorisation"]
    assert math.isnan(exact.value) or exact.value == 0
    store = data.store
    generator = torch.Generator().manual_seed(0)
    store.images = (store.images * 0.9 + 0.1 * torch.rand(store.images.shape, generator=generator)).clamp(0, 1)  # type: ignore[attr-defined]
    training = torch.cat([each.image for each in real_batches(data, "train", seed=0, device=torch.device("cpu"))])
    test = torch.cat([each.image for each in real_batches(data, "test", seed=0, device=torch.device("cpu"))])
    real = (test[:, None] - training[None]).square().sum((2, 3, 4)).sqrt().amin(1).mean()
    model = Noisy()
    score = asked(model, data)["memorisation"]
    shown = model.imagine(model.asked[0], num_samples=10, generator=torch.Generator())
    distances = (shown[:, :, None] - training[None, None]).square().sum((3, 4, 5)).sqrt().amin(2).mean(1)
    assert (score.per_query or [])[: len(distances)] == pytest.approx((distances / real).tolist(), rel=1e-3)


def test_the_nearest_training_images_are_read_blurred_too(
    lines: Callable[..., LinesData], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a blur that leaves nothing: what is read in black images is far from what was asked for."""
    blurred_images: list[Tensor] = []

    def black(images: Tensor) -> Tensor:
        blurred_images.append(images)
        return torch.zeros_like(images)

    monkeypatch.setattr("mmvae_bench.evaluation.questions.similarity.blurred", black)
    data = lines(num_images=400)
    scores = asked(Changing(), data)
    (nearest,) = blurred_images
    training = {image.numpy().tobytes() for each in real_batches(data, "train", seed=0, device=torch.device("cpu"))
                for image in each.image}  # fmt: skip
    assert {image.numpy().tobytes() for image in nearest} <= training
    assert scores["attribute_error_nearest_blurred"].value > scores["attribute_error_nearest"].value + 0.1
    assert scores["attribute_cosine_nearest_blurred"].value < scores["attribute_cosine_nearest"].value - 0.1


def test_codes_and_blur() -> None:
    assert coded([torch.tensor([[0.5, 0.5]]), torch.full((1, 4), 0.25)]).abs().max() == 0
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4] = 25
    assert torch.equal(blurred(image)[0, 0, 2:7, 2:7], torch.ones(5, 5))
    assert float(blurred(torch.ones(1, 3, 6, 6)).sub(1).abs().max()) < 1e-6


def test_who_cannot_imagine_or_speaks_in_captions_says_why(lines: Callable[..., LinesData]) -> None:
    data, model = lines(num_images=400), Changing()
    assert question("similarity").reason_not(model, data) is None  # type: ignore[arg-type]
    model.can_imagine = False
    assert "cannot imagine" in str(question("similarity").reason_not(model, data))  # type: ignore[arg-type]
    data.captions = object()  # type: ignore[assignment]
    assert "captions leave attributes open" in str(question("similarity").reason_not(model, data))  # type: ignore[arg-type]
