"""The direction of a light: distances of known directions, by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.batch import Batch
from mmvae_bench.evaluation.questions import build_question
from mmvae_bench.evaluation.questions.base import Context
from mmvae_bench.evaluation.questions.light import angle, cosine_distance
from mmvae_bench.specs.components import backbones, datasets, objectives, questions
from mmvae_bench.specs.trial import EvaluationSpec


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> ConceptDataModule:
    data: ConceptDataModule = datasets.parse({"name": "lit_faces", "canvas": 16, "num_people": 4}).build()
    data.prepare_data()
    data.setup()
    return data


class Telling:
    """Describes every image as told."""

    can_describe = True
    schema = datasets.parse("lit_faces").concept_schema()

    def __init__(self, concept: tuple[int, int, int]) -> None:
        self.concept = concept

    def describe(self, image: Tensor) -> Tensor:
        return torch.tensor(self.concept).expand(len(image), -1)


def asked(model: Any, data: ConceptDataModule) -> dict[str, Any]:
    question = build_question(questions.parse("light"))
    assert question.reason_not(model, data) is None
    with torch.no_grad():
        unread: Any = None  # Neither a classifier nor references have a part in it.
        evaluation = EvaluationSpec.parse({"num_resamples": 50})
        found = question.ask(Context(model, data, unread, unread, evaluation, "test", torch.device("cpu")))
    return {score.metric: score for score in found}


def test_an_angle_is_that_of_its_cosine() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.nn.functional.normalize(torch.randn(50, 3, generator=generator), dim=1) for _ in range(2))
    cosine = (one.double() * other.double()).sum(1)
    torch.testing.assert_close(cosine_distance(one, other), 1 - cosine, atol=1e-6, rtol=0)
    torch.testing.assert_close(angle(one, other), cosine.acos().rad2deg(), atol=1e-3, rtol=0)
    assert angle(one, -one).min() > 179.9
    # Where the cosine rounds to 1, the angle is still known: a hundredth of a degree.
    near = torch.tensor([[math.sin(1.745e-4), 0.0, math.cos(1.745e-4)]])
    assert float(angle(near, torch.tensor([[0.0, 0.0, 1.0]]))) == pytest.approx(0.01, rel=1e-3)


def test_who_names_bins_answers_their_middle(faces: ConceptDataModule) -> None:
    found = asked(Telling((0, 3, 2)), faces)  # azimuth 45, elevation 55
    a, e = math.radians(45), math.radians(55)
    answer = torch.tensor([math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)], dtype=torch.float64)
    rows = faces.rows("test")
    truth = torch.stack([torch.from_numpy(faces.columns[f"light_{axis}"][rows.numpy()]) for axis in "xyz"], 1).double()
    expected = 1 - truth @ answer
    assert found["light_distance"].value == pytest.approx(float(expected.mean()), abs=1e-6)
    assert sorted(found["light_distance"].per_query) == pytest.approx(sorted(expected.tolist()), abs=1e-6)
    assert found["light_angle"].value == pytest.approx(float((1 - expected).acos().rad2deg().mean()), abs=1e-3)
    middle = {}
    for row in rows.tolist():
        azimuth, elevation = (int(faces.columns[name][row]) for name in ("azimuth", "elevation"))
        named = faces.store.concepts[row].tolist()
        bins = [float(faces.schema.attributes[k].values[named[k]]) for k in (1, 2)]
        (a, e), (b, f) = (map(math.radians, pair) for pair in ((azimuth, elevation), bins))
        cosine = math.sin(e) * math.sin(f) + math.cos(e) * math.cos(f) * math.cos(a - b)
        middle[row] = math.degrees(math.acos(min(1.0, cosine)))
    assert found["light_angle"].ceiling == pytest.approx(sum(middle.values()) / len(middle), abs=1e-3)
    assert 5 < found["light_angle"].ceiling < 20
    assert found["light_angle"].floor > 40


def test_a_continuous_light_is_asked_itself(faces: ConceptDataModule) -> None:
    backbone = backbones.parse({"name": "patches", "width": 4, "hidden": 8, "latent_size": 2})
    built = backbone.build(schema=faces.schema, image_shape=faces.image_shape)
    model = objectives.parse({"name": "ssvae", "structure": "intrinsic"}).build(built).eval()
    found = asked(model, faces)
    batch: Batch = next(iter(faces.batches("test")))
    cosine = (model.light(batch.image) * batch.factors).sum(1)  # type: ignore[operator]
    assert found["light_distance"].value == pytest.approx(float((1 - cosine).mean()), abs=1e-5)
    assert found["light_distance"].ceiling == 0


def test_where_there_is_no_light_it_is_not_asked(faces: ConceptDataModule) -> None:
    question = build_question(questions.parse("light"))
    digits: Any = SimpleNamespace(spec=datasets.parse("mnist"))
    assert question.reason_not(Telling((0, 0, 0)), digits) == "the images have no light of a known direction"  # type: ignore[arg-type]
    mute: Any = SimpleNamespace(can_describe=False)
    assert question.reason_not(mute, faces) == "the model cannot describe an image"
