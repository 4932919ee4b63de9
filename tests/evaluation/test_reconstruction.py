"""Reconstruction and completion against their definitions, on sprites, which have masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.evaluation.evaluate import evaluate
from mmvae_bench.evaluation.fitting import fit_latents
from mmvae_bench.evaluation.questions.reconstruction import Reconstruction
from mmvae_bench.evaluation.regions import Box, region_box, scored_regions
from mmvae_bench.evaluation.sampling import real_batches
from mmvae_bench.objectives.base import Objective
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.components import datasets, objectives, of_domain
from mmvae_bench.specs.trial import EvaluationSpec

from ..conformance.worlds import small
from .fakes import question

SPRITES = {"name": "sprites", "level": 1, "canvas": 16, "num_images": 120}


@pytest.fixture(scope="module")
def sprites() -> Any:
    data = datasets.parse(SPRITES).build()
    data.setup()
    return data


def built(name: str, data: Any) -> Objective:
    backbone = small("rgb_thin").build(schema=data.schema, image_shape=data.image_shape)
    return objectives.parse(name).build(backbone, seed=0).eval()


def asked(model: Objective, data: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[tuple[str, Any], Score], Any]:
    monkeypatch.setattr("mmvae_bench.evaluation.evaluate.judge_of", lambda *_, **__: None)
    monkeypatch.setattr("mmvae_bench.evaluation.evaluate.references_of", lambda *_: None)
    monkeypatch.setattr("mmvae_bench.evaluation.questions.base.Context.queries", [])
    settings = EvaluationSpec.parse({"reconstruction_images": 4})
    result = evaluate(model, data, settings, questions=[question("reconstruction")])
    return {(score.metric, score.attribute): score for score in result.scores}, result.left_out


def test_every_number_is_what_it_says(sprites: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = built("telbo", sprites)
    scores, left_out = asked(model, sprites, monkeypatch)
    assert not left_out
    (batch,) = real_batches(sprites, "test", seed=0, device=torch.device("cpu"), limit=4)
    image, training = batch.image, sprites.store.batch(sprites.rows("train")).image
    assert batch.mask is not None
    mask = batch.mask[:, 0]
    right = torch.zeros(16, 16, dtype=torch.bool)
    right[:, 8:] = True
    whole = torch.ones(4, 16, 16, dtype=torch.bool)
    for task, attribute, counted, hidden in (
        ("reconstruction", None, whole, ~whole[0]),
        ("reconstruction", "foreground", mask, ~whole[0]),
        ("completion", "right", right.expand(4, 16, 16), right),
    ):
        seen = image.masked_fill(hidden, 0)
        z = fit_latents(model, image, observed=~hidden, seed=0).z
        distances = (seen[:, None] - training.masked_fill(hidden, 0)).square().sum((2, 3, 4))
        with torch.no_grad():
            shown = {"": model.reconstruct(seen), "_fitted": model.image_likelihood(z).mean.clamp(0, 1)}
        shown |= {"_nearest": training[distances.argmin(1)]}
        floor = of_each(training.mean(0).expand_as(image), image, counted)
        for ending, picture in shown.items():
            error = of_each(picture, image, counted)
            score = scores[f"{task}_error{ending}", attribute]
            torch.testing.assert_close(torch.tensor(score.per_query).double(), error, rtol=1e-4, atol=1e-5)
            assert score.value == pytest.approx(float(error.mean()), rel=1e-4)
            assert score.floor == score.constant == pytest.approx(float(floor.mean()), rel=1e-5)
            assert score.ci_low < score.value < score.ci_high
            # The authors' unit: the length of the error of pixels in [-1, 1].
            lengths = [
                ((2 * picture[k] - 1) - (2 * image[k] - 1))[:, counted[k]].double().norm().item() for k in range(4)
            ]
            assert scores[f"{task}_norm{ending}", attribute].per_query == pytest.approx(lengths, rel=1e-4)
        gap = scores[f"{task}_gap_error", attribute]
        expected = of_each(shown[""], image, counted) - of_each(shown["_fitted"], image, counted)
        torch.testing.assert_close(torch.tensor(gap.per_query).double(), expected, rtol=1e-3, atol=1e-5)
    assert all(value > 0 for value in scores["reconstruction_gap", None].per_query or ())
    assert {attribute for metric, attribute in scores if metric == "completion_gap"} == {"right", "bottom-right"}


def of_each(shown: Tensor, image: Tensor, counted: Tensor) -> Tensor:
    """The mean squared error over the counted pixels, image by image."""
    return torch.stack([(shown[k] - image[k])[:, counted[k]].double().square().mean() for k in range(len(image))])


@pytest.mark.parametrize(
    ("name", "has", "reason"),
    [
        ("jvae", {"_fitted", "_nearest"}, "jvae trains no q(z|x)"),
        ("cvae", {"", "_fitted", "_nearest"}, None),
        ("vae", {"", "_fitted", "_nearest"}, None),
    ],
)
def test_what_an_objective_lacks_is_left_out_with_its_reason(
    name: str, has: set[str], reason: str | None, sprites: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmvae_bench.evaluation.fitting.MAX_STEPS", 2)
    scores, left_out = asked(built(name, sprites), sprites, monkeypatch)
    assert {metric.removeprefix("completion_error") for metric, _ in scores if "completion_error" in metric} == has
    assert {metric for metric, _ in scores} | set(left_out) == set(
        Reconstruction(question("reconstruction").spec).spec.metrics
    )
    if reason is None:
        assert not left_out
    else:
        assert any(text.startswith(reason) for text in left_out.values())
        assert "completion_gap" in left_out


def test_a_completion_cannot_look_at_what_is_hidden(sprites: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the truth painted over where it is hidden, what is shown stays the same, so the errors are of the paint."""
    monkeypatch.setattr("mmvae_bench.evaluation.fitting.MAX_STEPS", 3)
    model = built("telbo", sprites)
    before, _ = asked(model, sprites, monkeypatch)
    draw = sprites.store.batch

    def painted(rows: Tensor) -> Any:
        batch = draw(rows)
        if len(rows) == 4:  # The images that are asked; those of training come in larger batches.
            batch.image[:, :, 8:, 8:] = 1.0
        return batch

    monkeypatch.setattr(sprites.store, "batch", painted)
    after, _ = asked(model, sprites, monkeypatch)
    errors = [scores["completion_gap", "bottom-right"].per_query for scores in (before, after)]
    assert errors[0] == errors[1]
    changed = [scores["completion_error_fitted", "bottom-right"].per_query for scores in (before, after)]
    assert changed[0] != changed[1]


def test_regions_are_named_or_rectangles() -> None:
    faces = datasets.parse({"name": "celeba18", "size": 32})
    assert region_box("left", faces) == Box(0, 32, 0, 16)
    assert region_box("quadrant", faces) == region_box("bottom-right", faces) == Box(16, 32, 16, 32)
    assert region_box(" 3:9 , 0:32", faces) == Box(3, 9, 0, 32)
    assert list(scored_regions(faces)) == ["right", "bottom-right", "eyes", "mouth", "face"]
    assert region_box("eyes", faces) == Box(14, 20, 6, 26)
    for text, words in (
        ("lft", "unknown region 'lft'\n  choices: left, right, top, bottom, top-left"),
        ("lft", "nearest: left"),
        ("0:40,0:3", "not a rectangle inside the image: the image has rows 0:32 and columns 0:32\n  given: '0:40,0:3'"),
        ("5:5,0:3", "not a rectangle inside"),
        ("0:32,0:32", "hides the whole image"),
        ("-1:3,0:3", "unknown region"),
    ):
        with pytest.raises(ConfigError) as caught:
            region_box(text, faces)
        assert words in str(caught.value)
    names = sorted({*datasets.self_contained()} & {*of_domain(datasets, "images")})
    for spec in (datasets.parse({"name": name}) for name in names):
        for box in scored_regions(spec).values():
            assert box.top < box.bottom
            assert box.left < box.right
