"""The regressor: its loss by hand, what it learns, its place in the cache; and attribute similarity by its reading."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor

import mmvae_bench as mb
from mmvae_bench.base.files import read_json
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.batch import Batch
from mmvae_bench.data.cache import META
from mmvae_bench.data.strengths import value_weights
from mmvae_bench.evaluation import regressor as module
from mmvae_bench.evaluation.classifier import HeldOut, ObservationClassifier
from mmvae_bench.evaluation.questions import similarity
from mmvae_bench.objectives.discvae import DisCVAE
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.components import View, classifiers
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.rehearsal import Images

from .fakes import LinesSpec, context, question

HALVES = Schema((Attribute("left", ("dark", "light")), Attribute("right", ("dark", "light"))))
QUICK = {"name": "conv_thin", "steps": 60, "batch_size": 64, "width": 8, "hidden": 32, "learning_rate": 1e-2}


def draw(scores: Tensor) -> Tensor:
    """Float[..., 2], from -2 to 2, to Float[..., 1, 16, 16]: the brightness of the halves."""
    brightness = 0.5 + scores / 4
    return brightness.repeat_interleave(8, -1)[..., None, None, :].expand(*scores.shape[:-1], 1, 16, 16).clone()


def read_exactly(images: Tensor) -> Tensor:
    return (4 * (images[:, 0, 0, ::8] - 0.5)).double()


class HalvesSpec(LinesSpec):
    implementation: ClassVar[str] = "tests.evaluation.test_regressor:HalvesData"
    strengths: ClassVar[bool] = True
    name: Literal["halves"] = "halves"  # type: ignore[assignment]
    view: View = "strengths"

    @property
    def chosen_view(self) -> View:
        return self.view

    def concept_schema(self) -> Schema:
        return HALVES


class HalvesData(ConceptDataModule):
    def setup(self, stage: str | None = None) -> None:
        scores = 4 * torch.rand(self.spec.num_images, 2, generator=torch.Generator().manual_seed(0)) - 2  # type: ignore[attr-defined]
        self._store = Images(draw(scores), (scores > 0).long(), None, scores)

    @property
    def fingerprint(self) -> str:
        return "halves"

    def rows(self, partition: str, *, split: str | None = None) -> Tensor:
        rows = torch.arange(len(self.store))
        return rows[60:] if partition == "train" else rows[30:60] if partition == "val" else rows[:30]


def halves(view: str = "strengths", number: int = 600) -> HalvesData:
    data = HalvesData(HalvesSpec.parse({"view": view, "num_images": number}))
    data.setup()
    return data


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path))
    return tmp_path / "regressors"


def test_the_loss_is_the_squared_error_summed_over_attributes() -> None:
    outputs = [torch.tensor([[0.5, 2.0], [1.0, 0.0]]), torch.tensor([[0.0, 0.0], [-1.0, 2.0]], requires_grad=True)]
    batch = Batch(torch.zeros(2, 1, 1, 1), torch.zeros(2, 2, dtype=torch.long), torch.arange(2))
    batch.strength = torch.tensor([[1.0, 0.5], [-2.0, 2.0]])
    loss = module.squared_error(outputs, batch, HALVES)
    # Read: 1.5, -1 and 0, 3; errors 0.5, 1 and -0.5, 1.
    assert loss.item() == pytest.approx((0.25 + 1) / 2 + (0.25 + 1) / 2)
    loss.backward()
    assert torch.equal(outputs[1].grad, torch.tensor([[0.5, -0.5], [-1.0, 1.0]]))  # type: ignore[arg-type]


def test_it_learns_and_is_kept_and_is_the_same_again(cache: Path) -> None:
    data, spec, trained = halves(), classifiers.parse(QUICK), []

    def count(what: str, done: int, total: int) -> None:
        assert what == "regressor"
        trained.append(done == total)

    with torch.no_grad():  # as in an evaluation
        first = module.regressor(spec, data, progress=count)
    images, scores = draw(torch.tensor([[-1.5, 0.25], [1.0, -0.5]])), torch.tensor([[-1.5, 0.25], [1.0, -0.5]])
    assert float((first.read(images) - scores).abs().max()) < 0.4
    (folder,) = (each for each in cache.iterdir() if each.is_dir())
    errors = read_json(folder / META)["squared_error"]
    assert errors.keys() == {"left", "right"}
    assert max(errors.values()) < 0.1, "of a variance of 1.3"
    batch = data.store.batch(data.rows("test"))
    by_hand = (first.read(batch.image) - batch.strength).square().mean(0).tolist()  # type: ignore[operator]
    assert [errors["left"], errors["right"]] == pytest.approx(by_hand)
    second = module.regressor(spec, halves("attributes"), progress=count)
    assert sum(trained) == 1, "the same images in another view have the same judge"
    assert torch.equal(first.read(images), second.read(images))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert isinstance(spec, module.TrainedClassifierSpec)
    again = module.train(spec, data)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.read(images), again.read(images))
    module.regressor(classifiers.parse({**QUICK, "steps": 3}), data, progress=count)
    assert sum(trained) == 2, "other settings are another regressor"


class Off:
    """Of each score: the first sample 0.5 too high on the left, the second with both turned round, the others exact."""

    can_imagine, image_shape, device = True, (1, 16, 16), torch.device("cpu")

    def __init__(self) -> None:
        self.asked: list[Tensor] = []

    def imagine(self, concept: Tensor, *, num_samples: int, mean: bool, generator: torch.Generator) -> Tensor:
        self.asked.append(concept)
        assert num_samples == 10
        scores = concept[:, 1::2] - concept[:, ::2]
        return draw(torch.stack([scores + torch.tensor([0.5, 0.0]), -scores, *[scores] * 8], 1))


def asked(model: Any, data: HalvesData) -> dict[str, Score]:
    given = context(model, data, classifier_of(data), protocols=["attribute2image"], num_samples=10)
    with torch.no_grad():
        return {score.metric: score for score in question("similarity").ask(given)}


def classifier_of(data: HalvesData) -> ObservationClassifier:
    """One that must not be asked."""
    found = data.concepts("test")
    return ObservationClassifier("none", "0" * 12, torch.nn.Identity(), HALVES, HeldOut(found, found.clone()))


def test_similarity_is_of_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """By enumeration, with a judge that reads without error."""
    data, model = halves(), Off()
    judge = SimpleNamespace(read=read_exactly)
    monkeypatch.setattr(similarity, "regressor", lambda *_, **__: judge)
    scores = asked(model, data)
    test, train = data.store.batch(data.rows("test")), data.store.batch(data.rows("train"))
    assert test.strength is not None
    assert train.strength is not None
    order = torch.cat(model.asked)
    place = {tuple(each): k for k, each in enumerate(value_weights(test.strength).tolist())}
    for number, weights in enumerate(order.tolist()):
        wanted = test.strength[place[tuple(weights)]].double()
        samples = [wanted + torch.tensor([0.5, 0.0]), -wanted, *[wanted] * 8]
        errors = [float((each - wanted).square().sum()) for each in samples]
        cosines = [float(each @ wanted / (each.norm() * wanted.norm())) for each in samples]
        nearest = train.strength.double()[(train.strength.double() - wanted).square().sum(1).argmin()]
        for metric, value in {
            "attribute_error": sum(errors) / 10,
            "attribute_error_best": 0.0,
            "attribute_cosine": sum(cosines) / 10,
            "attribute_cosine_best": 1.0,
            "attribute_error_nearest": float((nearest - wanted).square().sum()),
            "attribute_cosine_nearest": float(nearest @ wanted / (nearest.norm() * wanted.norm())),
        }.items():
            per_query = scores[metric].per_query
            assert per_query is not None
            assert per_query[number] == pytest.approx(value, abs=1e-4), metric
    assert len(order) == 30
    assert scores["attribute_error"].ceiling == pytest.approx(0, abs=1e-6)
    assert scores["attribute_cosine"].ceiling == pytest.approx(1, abs=1e-6)
    # Blindly drawn training images: twice the variance of a score, 4/3, of two attributes.
    assert scores["attribute_error"].floor == pytest.approx(16 / 3, rel=0.2)
    assert scores["attribute_error_best"].floor < scores["attribute_error"].floor
    blurred = scores["attribute_error_nearest_blurred"].value
    assert math.isfinite(blurred)


def test_where_y_is_values_the_classifier_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the dataset has scores: only the view decides."""
    monkeypatch.setattr(similarity, "regressor", lambda *_, **__: pytest.fail("asked for a regressor"))
    data = halves("attributes")
    given = context(Off(), data, classifier_of(data))
    monkeypatch.setattr(similarity, "coded_reading", lambda _, images, number, concept: (number, len(images)))
    assert similarity.reading_of(given, data.concepts("test"))(torch.zeros(6, 1, 16, 16), 2) == (2, 6)
    batch = data.store.batch(data.rows("test"))
    wanted = similarity.coded_batches(given, [batch])
    assert torch.equal(wanted, 2.0 * batch.concept.double() - 1)


def test_a_trial_on_scores_answers_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is told y of an image is told its scores, and whatever names a concept is asked by values."""
    pytest.importorskip("skia", exc_type=ImportError)
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    told = []

    def layers(self: DisCVAE, z: Tensor, concept: Tensor) -> Any:
        told.append(concept.is_floating_point())
        return plain(self, z, concept)

    plain = DisCVAE.layers
    monkeypatch.setattr(DisCVAE, "layers", layers)
    spec = TrialSpec.parse(
        {
            "dataset": {"name": "celeba18", "size": 16, "num_images": 120, "view": "strengths"},
            "backbone": {"name": "attribute2image_thin", "width": 2, "latent_size": 8},
            "objective": "discvae",
            "training": {"steps": 3, "batch_size": 32, "validations": 1},
            "evaluation": {"num_samples": 10, "query_repeats": 1, "num_queries": 4, "num_resamples": 20, "levels": [9],
                           "partitions": ["test"], "protocols": ["paper", "attribute2image"],
                           "reconstruction_images": 1,
                           "classifier": {"name": "conv_thin", "steps": 3, "width": 2, "hidden": 4},
                           "questions": {"layers": {"num_images": 2}}},
        }
    )  # fmt: skip
    data = spec.dataset.build()
    data.workers = 0
    data.prepare_data()
    result = mb.run_trial(spec, out=tmp_path / "run").result
    found = {each["metric"] for each in result["scores"] if each["value"] is not None}
    assert {
        "attribute_cosine", "attribute_error_best", "attribute_error_nearest_blurred", "memorisation", "correctness",
        "reconstruction_error_fitted", "completion_error_fitted", "background_error", "gate_overlap",
    } <= found  # fmt: skip
    assert set(told) == {True, False}
    (folder,) = (each for each in (tmp_path / "cache" / "regressors").iterdir() if each.is_dir())
    assert read_json(folder / META)["spec"] == spec.evaluation.classifier.canonical()  # type: ignore[union-attr]
