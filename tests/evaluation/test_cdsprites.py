"""The question of CdSprites+: what a known liar scores, and a small trial in both views."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import mmvae_bench as mb
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.evaluation.classifier import HeldOut
from mmvae_bench.evaluation.evaluate import references_of
from mmvae_bench.evaluation.queries import Queries
from mmvae_bench.evaluation.questions import Context
from mmvae_bench.evaluation.questions.cdsprites import image_scores, text_scores
from mmvae_bench.evaluation.sampling import real_batches
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.components import datasets
from mmvae_bench.specs.trial import EvaluationSpec, TrialSpec
from mmvae_bench.trial import build_objective

from .fakes import question


def sprites(**settings: object) -> ConceptDataModule:
    data = datasets.parse({"name": "sprites", "num_images": 3000, "level": 3, **settings}).build()
    data.prepare_data()
    data.setup()
    return data


class Liar:
    """Describes every third image in another colour, and says nothing of the colour of every fifth."""

    can_imagine, can_describe = False, True

    def __init__(self, data: ConceptDataModule) -> None:
        self.data, self.said = data, []  # type: ignore[var-annotated]
        self.batches = iter(
            [b.description.clone() for b in real_batches(data, "test", seed=0, device=torch.device("cpu"))]
        )
        self.count = 0

    def posterior(self, image: Tensor) -> Tensor:
        return image

    def centre(self, image: Tensor) -> Tensor:
        return image

    def describe(self, image: Tensor) -> Tensor:
        mode: Tensor = self.concept_likelihood(image).mode
        return mode

    def concept_likelihood(self, image: Tensor) -> Any:
        answer = next(self.batches)
        captions = self.data.captions
        for row in answer:
            if self.count % 3 == 0:
                if captions is None:
                    row[2] = (row[2] + 1) % 5
                else:
                    other = (int(captions.parse(row[None])[0, 2]) + 1) % 5
                    row[2] = captions.token_of[self.data.schema.attributes[2].values[other]]
            elif self.count % 5 == 0:
                row[2] = -1 if captions is None else 0
            self.count += 1
        self.said += answer.tolist()
        return SimpleNamespace(mode=answer)


def asked(data: ConceptDataModule, model: Any) -> Context:
    concepts = data.concepts("test", split="iid")
    wrong = concepts.clone()
    wrong[::4, 0] = (wrong[::4, 0] + 1) % 3
    classifier: Any = SimpleNamespace(held_out=HeldOut(concepts, wrong))
    spec = EvaluationSpec.parse({"num_resamples": 50})
    judge = references_of(data, spec, classifier)
    return Context(model, data, classifier, judge, spec, "test", torch.device("cpu"))


def by_metric(scores: list[Score]) -> dict[str, Score]:
    return {score.metric: score for score in scores}


@pytest.mark.parametrize("view", ["attributes", "text"])
def test_what_a_liar_says_is_scored_as_counted_by_hand(view: str) -> None:
    data = sprites(view=view)
    model = Liar(data)
    scores = by_metric(text_scores(asked(data, model)))
    num = len(data.rows("test"))
    lies = [n for n in range(num) if n % 3 == 0 or n % 5 == 0]
    assert scores["strict_text"].value == pytest.approx(1 - len(lies) / num)
    assert scores["features_text"].value == pytest.approx(1 - len(lies) / num / 3)
    assert ("letters_text" in scores) == (view == "text")
    # What is said without regard to the image: all pairs of a test image and a training one.
    train, test = data.concepts("train"), data.concepts("test")
    agree = test[:, None] == train[None]
    assert scores["strict_text"].floor == pytest.approx(agree.all(2).double().mean().item())
    assert scores["features_text"].floor == pytest.approx(agree.double().mean().item())
    if view == "text":
        captions = data.captions
        assert captions is not None
        truths = [captions.text(row) for row in torch.cat([b.description for b in real_batches(
            data, "test", seed=0, device=torch.device("cpu"))])]  # fmt: skip
        shares = [
            sum(a == b for a, b in zip(captions.text(said), truth, strict=False)) / len(truth)
            for said, truth in zip(model.said, truths, strict=True)
        ]
        assert scores["letters_text"].value == pytest.approx(sum(shares) / num)
        floor = scores["letters_text"].floor
        assert 0.2 < floor < scores["letters_text"].value


def test_who_describes_by_a_classifier_of_its_own_is_asked_too() -> None:
    """SSVAE has q(y|x), and neither q(z|x) nor p(y|z)."""
    plain = {"dataset": {"name": "sprites", "num_images": 3000, "level": 3}, "objective": "ssvae",
             "backbone": {"name": "rgb_thin", "width": 2, "hidden": 8, "latent_size": 2}}  # fmt: skip
    model, data = build_objective(TrialSpec.parse(plain)).eval(), sprites()
    scores = by_metric(text_scores(asked(data, model)))
    batches = real_batches(data, "test", seed=0, device=torch.device("cpu"))
    right = torch.cat([model.describe(batch.image) == batch.concept for batch in batches])
    assert scores["features_text"].value == pytest.approx(float(right.double().mean()))
    assert scores["strict_text"].value == pytest.approx(float(right.all(1).double().mean()))


def test_images_are_scored_as_counted_by_hand() -> None:
    data = sprites()
    context = asked(data, None)
    concepts = data.schema.combinations()
    predictions = concepts[:, None].repeat(1, 4, 1)
    predictions[:, 0, 1] = 1 - predictions[:, 0, 1]
    predictions[::2, 1, 0] = (predictions[::2, 1, 0] + 1) % 3
    scores = by_metric(image_scores(context, Queries("test", 3, concepts), predictions))
    assert scores["strict"].value == pytest.approx((0.5 + 0.75) / 2)
    assert scores["features"].value == pytest.approx(1 - (1 + 0.5) / 12)
    # The classifier reads the shape of every fourth real image wrongly.
    held = context.judge.held_out
    strict, features = [], []
    for concept in concepts:
        rows = (held.concepts == concept).all(1)
        right = held.predictions[rows] == concept
        strict.append(right.all(1).double().mean())
        features.append(right.double().mean())
    assert scores["strict"].ceiling == pytest.approx(float(torch.stack(strict).nanmean()))
    assert scores["features"].ceiling == pytest.approx(float(torch.stack(features).nanmean()))
    assert scores["features"].floor == pytest.approx(1.03 / 3, abs=0.01)
    assert scores["strict"].floor == pytest.approx(1 / 30, abs=0.005)


def test_other_datasets_are_not_asked() -> None:
    other: Any = SimpleNamespace(spec=datasets.parse("mnist_a"))
    model: Any = SimpleNamespace(can_imagine=True, can_describe=True)
    assert question("cdsprites").reason_not(model, other) == "these are the scores of dataset sprites"
    assert question("cdsprites").reason_not(model, SimpleNamespace(spec=datasets.parse("sprites"))) is None  # type: ignore[arg-type]


def test_a_trial_on_captions_has_all_five(tmp_path: Path) -> None:
    spec = TrialSpec.parse(
        {
            "dataset": {"name": "sprites", "num_images": 300, "canvas": 16, "level": 2, "view": "text"},
            "backbone": {"name": "rgb_thin", "width": 2, "hidden": 8, "latent_size": 2},
            "objective": "jmvae",
            "training": {"steps": 4, "batch_size": 32, "validations": 1},
            "evaluation": {"num_samples": 5, "query_repeats": 1, "num_resamples": 20, "protocols": ["paper"],
                           "classifier": {"name": "conv_thin", "steps": 3}},
        }
    )  # fmt: skip
    scores = [each for each in mb.run_trial(spec, out=tmp_path).result["scores"] if each["partition"] == "test"]
    found = {each["metric"]: each for each in scores if each["attribute"] is None and each["level"] in (None, 2)}
    assert {"strict", "features", "strict_text", "features_text", "letters_text"} <= set(found)
    assert found["features"]["value"] == pytest.approx(found["correctness"]["value"])
    assert found["strict"]["value"] <= found["features"]["value"]
    assert found["strict_text"]["value"] <= found["features_text"]["value"]
