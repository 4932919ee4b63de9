"""Reconstruction and completion against their definitions, on sprites, which have masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.evaluation.evaluate import evaluate
from mmvae_bench.evaluation.fitting import fit_latents
from mmvae_bench.evaluation.neighbours import squared_distances
from mmvae_bench.evaluation.questions.reconstruction import Reconstruction, training_images
from mmvae_bench.evaluation.regions import Box, RandomSquare, region_box, region_of, scored_regions
from mmvae_bench.evaluation.sampling import real_batches
from mmvae_bench.objectives.base import Objective
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.components import backbones, datasets, objectives, of_domain
from mmvae_bench.specs.trial import EvaluationSpec

from ..conformance.worlds import small
from .fakes import SIDE, LinesData, LinesSpec, context, exact_classifier, question

SPRITES = {"name": "sprites", "level": 1, "canvas": 16, "num_images": 120}


@pytest.fixture(scope="module")
def sprites() -> Any:
    data = datasets.parse(SPRITES).build()
    data.setup()
    return data


def test_an_encoder_in_parts_is_an_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intrinsic images have no one q(z|x): z is of argmax q(i|x), the mean light and the mean reflectance, as in
    ``reconstruct``; nothing is told."""
    data = datasets.parse({"name": "lit_faces", "canvas": 16, "num_people": 2}).build()
    data.workers = 0
    data.prepare_data()
    data.setup()
    networks = backbones.parse({"name": "patches", "width": 4, "hidden": 8, "latent_size": 3})
    networks = networks.build(schema=data.schema, image_shape=data.image_shape)
    model = objectives.parse({"name": "ssvae", "structure": "intrinsic"}).build(networks, seed=0).eval()
    monkeypatch.setattr("mmvae_bench.evaluation.fitting.MAX_STEPS", 3)
    scores, left_out = asked(model, data, monkeypatch)
    assert not left_out
    (batch,) = real_batches(data, "test", seed=0, device=torch.device("cpu"), limit=4)
    for task, attribute, seen_columns in (("reconstruction", None, 16), ("completion", "right", 8)):
        seen, counted = batch.image.clone(), slice(0 if seen_columns == 16 else seen_columns, None)
        seen[..., seen_columns:] = 0
        error = float((model.reconstruct(seen) - batch.image)[..., counted].double().square().mean())
        score = scores[f"{task}_error", attribute]
        assert (score.value, score.proposal) == (pytest.approx(error, rel=1e-6), "q(z|x)")
    assert ("reconstruction_gap", None) in scores


def built(name: str, data: Any) -> Objective:
    backbone = small("rgb_thin").build(schema=data.schema, image_shape=data.image_shape)
    return objectives.parse(name).build(backbone, seed=0).eval()


def asked(
    model: Objective, data: Any, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> tuple[dict[tuple[str, Any], Score], Any]:
    monkeypatch.setattr("mmvae_bench.evaluation.evaluate.judge_of", lambda *_, **__: None)
    monkeypatch.setattr("mmvae_bench.evaluation.evaluate.references_of", lambda *_: None)
    monkeypatch.setattr("mmvae_bench.evaluation.questions.base.Context.queries", [])
    settings = EvaluationSpec.parse({"reconstruction_images": 4} | more)
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
        for region in scored_regions(spec).values():
            box = region.at(0, seed=0)
            assert box.top < box.bottom
            assert box.left < box.right


def test_a_square_at_a_random_place_depends_on_the_seed_and_the_image_alone(
    sprites: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each image's own square is hidden from every objective, from the nearest training image too, and scored."""
    model = built("telbo", sprites)
    before, _ = asked(model, sprites, monkeypatch)
    scores, _ = asked(model, sprites, monkeypatch, hidden_regions=["random-16"])
    added = {place for place in scores if place not in before}
    assert {attribute for _, attribute in added} == {"random-16"}
    assert all(scores[place] == score for place, score in before.items())
    (batch,) = real_batches(sprites, "test", seed=0, device=torch.device("cpu"), limit=4)
    square = region_of("random-16", sprites.spec)
    assert square == RandomSquare("random-16", 4, 4, 16, 16)
    boxes = [square.at(number, seed=0) for number in batch.index.tolist()]
    assert len(set(boxes)) > 1
    hidden = torch.zeros(4, 16, 16, dtype=torch.bool)
    for each, box in zip(hidden, boxes, strict=True):
        assert 0 <= box.top == box.bottom - 4 <= 12
        assert 0 <= box.left == box.right - 4 <= 12
        each[box.top : box.bottom, box.left : box.right] = True
    training = sprites.store.batch(sprites.rows("train")).image
    seen = batch.image.masked_fill(hidden[:, None], 0)
    with torch.no_grad():
        shown = {"": model.reconstruct(seen)}
        z = fit_latents(model, batch.image, observed=~hidden, seed=0).z
        shown["_fitted"] = model.image_likelihood(z).mean.clamp(0, 1)
    distances = (seen[:, None] - training.where(~hidden[:, None, None], 0)).square().sum((2, 3, 4))
    shown["_nearest"] = training[distances.argmin(1)]
    for ending, picture in shown.items():
        error = of_each(picture, batch.image, hidden)
        found = torch.tensor(scores[f"completion_error{ending}", "random-16"].per_query).double()
        torch.testing.assert_close(found, error, rtol=1e-4, atol=1e-5)


def test_squares_are_everywhere_and_another_seed_is_another_place() -> None:
    faces = datasets.parse({"name": "celeba18", "size": 32})
    square = region_of("random-8", faces)
    places = [square.at(number, seed=0) for number in range(4000)]
    tops, lefts = (torch.tensor([box[side] for box in places]).bincount(minlength=29) for side in (0, 2))
    assert len(tops) == len(lefts) == 29  # The square of four pixels has 29 places along a side.
    for counts in (tops, lefts):
        # Pearson's statistic, chi-squared with 28 degrees of freedom: 56.9 is passed once in a thousand.
        assert float((counts - 4000 / 29).square().sum() / (4000 / 29)) < 56.9
    assert abs(float(torch.corrcoef(torch.tensor([(box[0], box[2]) for box in places]).T.double())[0, 1])) < 0.05
    assert sum(square.at(number, seed=1) != places[number] for number in range(100)) > 90
    other = region_of("random-16", faces)
    assert [other.at(number, seed=0)[:1] for number in range(9)] != [place[:1] for place in places[:9]]
    with pytest.raises(ConfigError, match="nearest: random-8"):
        region_of("random8", faces)
    with pytest.raises(ConfigError, match="not one of the choices"):
        EvaluationSpec.parse({"hidden_regions": ["random-9"]})
    with pytest.raises(ConfigError, match="each once"):
        EvaluationSpec.parse({"hidden_regions": ["random-8", "random-8"], "reconstruction_images": 1})
    with pytest.raises(ConfigError, match="nothing is completed where reconstruction_images is 0"):
        EvaluationSpec.parse({"hidden_regions": ["random-8"]})
    assert EvaluationSpec().canonical() == EvaluationSpec.parse({"hidden_regions": []}).canonical()
    assert "hidden_regions" not in EvaluationSpec().canonical()


def test_of_images_that_are_equally_near_in_what_is_seen_the_first_is_taken() -> None:
    """Most lines are in other quarters than the one that is seen: there, many training images are black."""
    data = LinesData(LinesSpec(num_images=900))
    data.setup()
    image = 0.9 * data.store.batch(data.rows("test")[:20]).image
    seen = torch.zeros(len(image), SIDE, SIDE, dtype=torch.bool)
    seen[:, : SIDE // 2, : SIDE // 2] = True
    varied = seen.clone()
    varied[0] = True
    given = context(None, data, exact_classifier(data))
    known = training_images(data, image, [seen, varied], given)
    rows = data.rows("train").sort().values
    pool = data.store.batch(rows).image.double()
    for observed, nearest in zip((seen, varied), known.nearest, strict=True):
        for each, where, found in zip(image.double(), observed, nearest, strict=True):
            distances = ((pool - each) * where).square().sum((1, 2, 3))
            tied = (distances <= distances.min() + 1e-9).nonzero()[:, 0]
            assert torch.equal(found.double(), pool[tied[0]])
            assert len(tied) > 1


def test_distances_are_over_the_pixels_that_each_image_shows() -> None:
    torch.manual_seed(0)
    image, others = torch.rand(3, 2, 4, 5), torch.rand(6, 2, 4, 5)
    observed = torch.rand(3, 4, 5) < 0.5
    for seen in (observed, observed[:1].expand(3, -1, -1)):
        wanted = ((image[:, None] - others).double() * seen[:, None, None]).square().sum((2, 3, 4))
        torch.testing.assert_close(squared_distances(image, others, seen), wanted, rtol=0, atol=1e-6)
