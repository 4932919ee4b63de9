"""What a model of several things can be asked: some of its latents are choices, and its decoder is told a number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmvae_bench.concepts import Schema
from mmvae_bench.evaluation.asking import describe, reconstruct, traverse
from mmvae_bench.evaluation.classifier import HeldOut, ObservationClassifier
from mmvae_bench.evaluation.evaluate import evaluate
from mmvae_bench.evaluation.images import Asked
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.specs.components import objectives
from mmvae_bench.specs.trial import EvaluationSpec

from ..conformance.worlds import BandsData, small, world_of

CHOICE = "part of the z of recursive_ssvae is discrete, so it can be neither optimised nor moved along a line"


@pytest.fixture(scope="module")
def data() -> BandsData:
    return world_of(objectives.parse("recursive_ssvae"), "mnist_a_thin")


@pytest.fixture(scope="module")
def model(data: BandsData) -> Objective:
    built = small("mnist_a_thin").build(schema=data.schema, image_shape=data.image_shape)
    return objectives.parse("recursive_ssvae").build(built, seed=0).eval()


class Lit(nn.Module):
    """How many of the squares of a world of counts are seen, by how much is lit."""

    def forward(self, images: Tensor) -> list[Tensor]:
        squares = images.mean((1, 2, 3)) * 16
        return [-(squares[:, None] - torch.arange(3)).square()]


def test_its_questions_are_answered_or_left_out_with_the_reason(
    data: BandsData, model: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema: Schema = data.schema
    truth = data.concepts("test")
    judge = ObservationClassifier("lit", "0" * 12, Lit(), schema, HeldOut(truth, truth.clone()))
    monkeypatch.setattr("mmvae_bench.evaluation.evaluate.judge_of", lambda *_, **__: judge)
    settings = {"levels": [1], "num_samples": 10, "num_resamples": 20, "likelihood_images": 4, "likelihood_samples": 2}
    asked = {"partitions": ["test"], "reconstruction_images": 2, "questions": {"mismatch": {}}}
    found = evaluate(model, data, EvaluationSpec.parse({**settings, **asked, "protocols": ["official"]}))
    metrics = {score.metric for score in found.scores}
    assert metrics >= {"correctness", "description_accuracy", "log_px_given_y", "reconstruction_error"}
    assert found.left_out["reconstruction_error_fitted"] == found.left_out["reconstruction_gap"] == CHOICE
    assert found.left_out["mismatch"].endswith("no posterior of an image that is a diagonal normal")
    assert "no p(x|z): its image decoder needs the concept" in found.left_out["log_px"]


@pytest.mark.parametrize("name", ["recursive_ssvae", "ssvae"])
def test_images_are_described_by_the_classifier_and_reconstructed_by_the_encoder(
    name: str, data: BandsData, tmp_path: Path
) -> None:
    """Where an image is not described by way of z, and where no z can be fitted to it."""
    built = small("mnist_a_thin").build(schema=data.schema, image_shape=data.image_shape)
    model = objectives.parse(name).build(built, seed=0).eval()
    batch = data.store.batch(data.rows("test")[:3])
    asked = Asked(batch.image, ("a", "b", "c"), batch.concept, batch.concept)
    q_y = model.describer(batch.image).log_probs[0].exp()  # type: ignore[operator]
    for k, entry in enumerate(describe(model, asked)["images"]):
        said = entry["attributes"]["count"]
        torch.testing.assert_close(torch.tensor([*said["probabilities"].values()]), q_y[k])
        assert said["value"] == str(int(model.describe(batch.image)[k]))
    document = reconstruct(model, asked, tmp_path / "again.png")
    expected = (model.reconstruct(batch.image, batch.concept) - batch.image).square().mean((1, 2, 3))
    errors = torch.tensor([entry["encoder"]["error"] for entry in document["images"]])
    torch.testing.assert_close(errors, expected)
    assert document["left_out"] == ({"fitted": CHOICE} if name == "recursive_ssvae" else {})


def test_a_latent_that_is_a_choice_is_not_moved(model: Objective, tmp_path: Path) -> None:
    out = tmp_path / "moved.png"
    with pytest.raises(CapabilityError, match=CHOICE):
        traverse(model, [torch.tensor([2])], out, names=["two"], about="count=2")
    assert not out.exists()
    traverse(model, [torch.tensor([0]), torch.tensor([2])], out, names=["none", "two"], about="count")
    assert out.exists()
