"""Questions in the text view whose captions say a part of a concept, in an order left to chance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.concepts.captions import PresenceCaptions
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, objectives

FLAGS = Schema(tuple(Attribute(name, ("no", "yes")) for name in ("Bald", "Hat", "Male")))
CAPTIONS = PresenceCaptions(FLAGS, opposites={"Male": "Female"}, max_words=3)


@pytest.fixture
def model() -> Objective:
    spec = backbones.parse({"name": "rgb_thin", "width": 2, "hidden": 8, "latent_size": 3})
    backbone = spec.build(schema=FLAGS, image_shape=(3, 16, 16), captions=CAPTIONS)
    built = objectives.parse("jmvae").build(backbone)
    assert isinstance(built, Objective)
    return built


@pytest.fixture
def read(model: Objective, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The captions that q(z|y) was asked."""
    asked: list[Tensor] = []
    posterior = model.posterior

    def remembering(image: Tensor | None = None, concept: Tensor | None = None) -> torch.distributions.Distribution:
        if concept is not None:
            asked.append(concept)
        return posterior(image, concept)

    monkeypatch.setattr(model, "posterior", remembering)
    return asked


def test_each_image_has_a_caption_of_its_own(model: Objective, read: list[Tensor]) -> None:
    concepts = torch.stack([FLAGS.parse("Bald=yes, Male=no"), FLAGS.parse("Hat=yes")])
    images = model.imagine(concepts, num_samples=60, generator=torch.Generator().manual_seed(0))
    assert images.shape == (2, 60, 3, 16, 16)
    said = CAPTIONS.parse(read[0]).unflatten(0, (2, 60))
    assert bool((said == concepts[:, None]).all()), "each says what was asked, in the order of the queries"
    orders = {CAPTIONS.text(row) for row in read[0][:60]}
    assert orders == {"Bald Female", "Female Bald"}
    assert model.takes_partial_concepts


def test_equal_generators_say_the_same(model: Objective, read: list[Tensor]) -> None:
    concept = FLAGS.parse("Bald=yes, Male=no")
    for seed in (0, 0, 1):
        model.imagine(concept, num_samples=20, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(read[0], read[1])
    assert not torch.equal(read[0], read[2])


def test_a_caption_is_taken_as_it_stands(model: Objective, read: list[Tensor]) -> None:
    assert model.imagine("Hat Bald", num_samples=4).shape == (4, 3, 16, 16)
    assert [CAPTIONS.text(row) for row in read[0]] == ["Hat Bald"]
    for text, message in {"Male Female": "two words refer to the same attribute", "Hatt": "nearest: Hat"}.items():
        with pytest.raises(ConfigError, match=message):
            model.imagine(text)
    with pytest.raises(ConfigError, match="at most 3 words, got 4"):
        model.imagine("Hat Bald Male Hat")
    with pytest.raises(ConfigError, match="no word for Hat=no"):
        model.imagine(FLAGS.parse("Hat=no"))


def test_what_a_model_writes_is_read_whatever_it_is(model: Objective) -> None:
    torch.manual_seed(0)
    z = torch.randn(300, 3)
    texts = model.eval().concept_likelihood(z).sample()
    impossible = [row for row in texts if _fails(row)]
    assert impossible, "an untrained model contradicts itself"
    described = model.describe_latents(z, sample=True)
    FLAGS.check(described)
    assert bool((described == -1).any())
    assert bool((described >= 0).any())


def _fails(row: Tensor) -> bool:
    try:
        CAPTIONS.parse(row[None])
    except ValueError:
        return True
    return False
