"""The layers of real images against the truth, on sprites, whose backgrounds are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmvae_bench.distributions.layers import Layers
from mmvae_bench.distributions.pixels import bernoulli_image, normal_image
from mmvae_bench.evaluation.evaluate import evaluate
from mmvae_bench.evaluation.fitting import FittedLatents
from mmvae_bench.evaluation.questions import build_question
from mmvae_bench.evaluation.questions.layers import BEHIND, by_chance
from mmvae_bench.evaluation.sampling import real_batches
from mmvae_bench.objectives.base import Objective
from mmvae_bench.objectives.discvae import DisCVAE, split_layers
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.components import datasets, objectives, questions
from mmvae_bench.specs.trial import EvaluationSpec

from ..conformance.worlds import small

NUM = 6


@pytest.fixture(scope="module")
def sprites() -> Any:
    data = datasets.parse({"name": "sprites", "level": 5, "canvas": 16, "num_images": 200}).build()
    data.setup()
    return data


def built(name: str, data: Any) -> Objective:
    backbone = small("attribute2image_thin").build(schema=data.schema, image_shape=data.image_shape)
    return objectives.parse(name).build(backbone, seed=0).eval()


def asked(model: Objective, data: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[Any, Score], Any]:
    monkeypatch.setattr("mmvae_bench.evaluation.evaluate.judge_of", lambda *_, **__: None)
    monkeypatch.setattr("mmvae_bench.evaluation.evaluate.references_of", lambda *_: None)
    monkeypatch.setattr("mmvae_bench.evaluation.questions.base.Context.queries", [])
    result = evaluate(
        model,
        data,
        EvaluationSpec(),
        questions=[build_question(questions.parse({"name": "layers", "num_images": NUM}))],
    )
    return {(score.metric, score.attribute): score for score in result.scores}, result.left_out


def logits(values: Tensor) -> Tensor:
    return torch.logit(values.double().clamp(1e-9, 1 - 1e-9))


def test_every_number_is_what_it_says(sprites: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers that are known: the true ones, the background of the next image, one grey."""
    (batch,) = real_batches(sprites, "test", seed=0, device=torch.device("cpu"), limit=NUM)
    truth = sprites.backgrounds(batch.index)
    assert batch.mask is not None
    mask = batch.mask[:, 0]
    foreground, gate = split_layers(batch.image, batch.mask)
    # Sprites have soft edges; elsewhere the visible background is the true one.
    assert float(((batch.image - truth) * gate).abs().max(1).values.flatten(1).median(1).values.max()) == 0
    training = sprites.rows("train")
    mean = sprites.backgrounds(training).double().mean(0)
    model = built("discvae", sprites)
    fitted = FittedLatents(torch.zeros(NUM, model.latent_size), torch.zeros(NUM), torch.zeros(NUM))
    monkeypatch.setattr("mmvae_bench.evaluation.questions.layers.fit_latents", lambda *_, **__: fitted)
    for background in (truth, truth.roll(1, 0), torch.full_like(truth, 0.5)):
        layers = Layers(
            normal_image(logits(foreground), scale=0.2),
            bernoulli_image(logits(gate)),
            normal_image(logits(background), scale=0.2),
        )
        monkeypatch.setattr(DisCVAE, "layers", lambda *_, layers=layers: layers)
        scores, left_out = asked(model, sprites, monkeypatch)
        assert not left_out
        for attribute, counted in ((None, torch.ones_like(mask)), (BEHIND, mask)):

            def error(first: Tensor, second: Tensor, counted: Tensor = counted) -> Tensor:
                return torch.stack([(first[k] - second[k])[:, counted[k]].double().square().mean() for k in range(NUM)])

            own = error(background, truth)
            others = torch.stack([error(background, truth.roll(k, 0)) for k in range(1, NUM)]).mean(0)
            found = scores["background_error", attribute]
            assert found.per_query == pytest.approx(own.tolist(), abs=1e-6)
            assert found.floor == pytest.approx(float(error(mean.expand_as(truth), truth).mean()), rel=1e-4)
            gain = scores["background_gain", attribute]
            assert gain.per_query == pytest.approx((others - own).tolist(), abs=1e-6)
            visible = torch.stack([batch.image[k][:, ~mask[k]].mean(1) for k in range(NUM)])[..., None, None]
            expected = error(visible.expand_as(truth), truth)
            assert scores["background_error_visible", attribute].per_query == pytest.approx(expected.tolist(), abs=1e-6)
        assert scores["gate_overlap", None].per_query == [1.0] * NUM
        assert scores["foreground_error", None].value == pytest.approx(0, abs=1e-9)
    # One grey is as near to the own background as to the others, on the average over images.
    assert scores["background_gain", None].value == pytest.approx(0, abs=1e-6)


def test_chance_is_the_mean_over_all_other_images() -> None:
    found, truth = torch.rand(4, 3, 2, 2), torch.rand(4, 3, 2, 2)
    counted = torch.rand(4, 2, 2) < 0.7
    expected = [
        torch.stack([(found[k] - truth[j])[:, counted[k]].double().square().mean() for j in range(4) if j != k]).mean()
        for k in range(4)
    ]
    torch.testing.assert_close(by_chance(found, truth, counted), torch.stack(expected), equal_nan=True)


def test_who_cannot_be_asked_says_why(sprites: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, left_out = asked(built("cvae", sprites), sprites, monkeypatch)
    assert not scores
    assert "cvae has no layers" in left_out.values()
    monkeypatch.setattr(type(sprites), "backgrounds", lambda *_: None)
    _, left_out = asked(built("discvae", sprites), sprites, monkeypatch)
    assert any("does not know what is behind" in reason for reason in left_out.values())
