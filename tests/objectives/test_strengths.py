"""y as scores of attributes: what is told to networks, what is asked, and who is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mmvae_bench.backbones.layers import mixture
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.data.batch import Batch
from mmvae_bench.data.strengths import ScoredStore, value_weights
from mmvae_bench.data.supervision import without_labels
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.specs.components import backbones, objectives
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.rehearsal import Images

FACE = Schema((Attribute("bald", ("no", "yes")), Attribute("hat", ("no", "yes")), Attribute("smile", ("no", "yes"))))
FACES: dict[str, Any] = {
    "dataset": {"name": "celeba18", "size": 16, "num_images": 100, "view": "strengths"},
    "backbone": "attribute2image_thin",
    "objective": "discvae",
}


def model_of(name: str, **settings: object) -> Objective:
    spec = backbones.parse({"name": "attribute2image_thin", "width": 4, "latent_size": 8, "likelihood_scale": 0.3})
    built = spec.build(schema=FACE, image_shape=(3, 16, 16))
    return objectives.parse({"name": name, **settings}).build(built, seed=0)


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    concept = torch.randint(0, 2, (6, 3), generator=generator)
    mask = torch.rand(6, 1, 16, 16, generator=generator) < 0.5
    return Batch(torch.rand(6, 3, 16, 16, generator=generator), concept, torch.arange(6), mask=mask)


def loss_and_gradients(model: Objective, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(0)
    loss = model.terms(batch).loss
    used = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return loss, [each for each in torch.autograd.grad(loss, used, allow_unused=True) if each is not None]


@pytest.mark.parametrize(("name", "settings"), [("cvae", {"prior": "standard"}), ("cvae", {}), ("discvae", {})])
def test_scores_of_one_are_the_values_to_the_bit(name: str, settings: dict[str, Any], batch: Batch) -> None:
    """The loss, and what it teaches."""
    model = model_of(name, **settings)
    signs = (2 * batch.concept - 1).float()
    weights = value_weights(signs)
    assert torch.equal(weights, mixture(batch.concept, FACE.sizes, dtype=torch.float32))
    by_value, by_score = (loss_and_gradients(model, each) for each in (batch, replace(batch, weights=weights)))
    assert torch.equal(by_value[0], by_score[0])
    shape = [each.shape for each in by_value[1]]
    assert shape == [each.shape for each in by_score[1]]
    for one, other in zip(by_value[1], by_score[1], strict=True):
        # Through a table's rows and through a product of matrices sums have another order.
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    other = loss_and_gradients(model, replace(batch, weights=value_weights(0.4 * signs)))
    assert not torch.equal(by_value[0], other[0]), "the scores count"


@pytest.mark.parametrize("network", ["foreground_encoder", "background_encoder", "foreground_decoder"])
def test_a_score_acts_linearly_on_what_is_told(network: str) -> None:
    """Features of y are ReLU of an affine function of the scores: that of its values, on the line through them."""
    part: Any = getattr(model_of("discvae"), network)
    told = part.told if network.endswith("encoder") else part.features.told
    scores = torch.tensor([[0.3, -2.5, 1.0]])
    weight, bias = told.linear.weight.double(), told.linear.bias.double()
    slope, middle = (weight[:, 1::2] - weight[:, ::2]) / 2, (weight[:, 1::2] + weight[:, ::2]).sum(1) / 2 + bias
    expected = (slope @ scores[0].double() + middle).relu()
    torch.testing.assert_close(told(value_weights(scores))[0].double(), expected, rtol=1e-5, atol=1e-6)


def test_a_store_tells_scores() -> None:
    scores = torch.tensor([[0.5, -1.5, 1.0], [-0.25, 1.0, -1.0]])
    concepts = (scores > 0).long()
    store = ScoredStore(Images(torch.rand(2, 3, 16, 16), concepts, None, scores))
    batch = store.batch(torch.tensor([1]))
    assert batch.description.tolist() == [[0.625, 0.375, 0.0, 1.0, 1.0, 0.0]]
    assert torch.equal(batch.concept, concepts[1:])
    assert torch.equal(store.to("cpu").batch(torch.tensor([0])).description, value_weights(scores[:1]))
    hidden = without_labels(batch, [0])
    assert hidden.description.tolist() == [[-1, 1, 0]], "scores would tell what is hidden"


@pytest.mark.parametrize("name", ["cvae", "discvae"])
def test_scores_are_imagined_as_they_are(name: str, batch: Batch) -> None:
    """A value is the score 1; nothing of scores is imputed, and a negative weight is no open attribute."""
    model = model_of(name, unspecified="refuse", **({"prior": "standard"} if name == "cvae" else {})).eval()
    concept = torch.tensor([0, 1, 1])

    def shown(asked: Tensor) -> Tensor:
        return model.imagine(asked, num_samples=2, mean=True, generator=torch.Generator().manual_seed(0))

    one = value_weights(torch.tensor([-1.0, 1.0, 1.0]))
    assert torch.equal(shown(concept), shown(one))
    beyond = value_weights(torch.tensor([[-3.0, 1.0, 2.0], [-1.0, 1.0, 1.0]]))
    both = shown(beyond)
    assert both.shape == (2, 2, 3, 16, 16)
    torch.testing.assert_close(both[1], shown(torch.stack([concept, concept]))[1])
    assert float((both[0] - both[1]).abs().max()) > 1e-4
    for weights in (beyond, value_weights(torch.zeros(3))):
        z, given = model_of(name).eval().draw_latents(weights.reshape(-1, 6), 3)
        assert torch.equal(given, weights.reshape(-1, 6).repeat_interleave(3, 0))
        assert z.shape == (len(given), 8)
    for wrong in (torch.zeros(5), torch.zeros(2, 3)):
        with pytest.raises(ConfigError, match=r"value_weights\(scores\), Float\[\.\.\., 6\]; got Float\[.*\]"):
            shown(wrong)
    with pytest.raises(ConfigError, match="a weight is nan"):
        shown(value_weights(torch.tensor([0.5, float("nan"), 1.0])))
    if name == "cvae":
        with torch.no_grad():
            q = model.posterior(batch.image, value_weights(torch.full((6, 3), -2.0)))
        assert q.mean.shape == (6, 8)
        with pytest.raises(CapabilityError, match="fully specified"):
            model.posterior(batch.image, torch.full((6, 3), -1))


def test_others_take_no_scores() -> None:
    with pytest.raises(ValueError, match="must contain integers"):
        model_of("jmvae").imagine(torch.zeros(6))


@pytest.mark.parametrize("name", ["vae", "cvae", "discvae"])
def test_who_can_be_told_scores(name: str) -> None:
    spec = TrialSpec.parse({**FACES, "objective": name})
    assert spec.dataset.chosen_view == "strengths"
    assert spec.label == f"{name} celeba18/drawn/iid/strengths seed 0"
    values = TrialSpec.parse({**FACES, "objective": name, "dataset": {**FACES["dataset"], "view": "attributes"}})
    assert spec.key != values.key
    assert spec.dataset.recipe() == values.dataset.recipe(), "the images and their classifier are the same"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"objective": "jmvae"}, r"dataset.view: jmvae cannot use scores of attributes as y: its loss is defined for "),
        ({"objective": "ssvae"}, "ssvae cannot use scores of attributes as y"),
        (
            {"dataset": {"name": "celeba18", "source": "celeba", "view": "strengths"}, "objective": "cvae"},
            "dataset.view: celeba18 of source celeba has values of attributes, and no scores",
        ),
        ({"dataset": {"name": "sprites", "view": "strengths"}}, r"dataset.view: .*\n  given: 'strengths'"),
        (
            {"backbone": "mnist_a_thin", "objective": "cvae"},
            "the networks of backbone mnist_a_thin take values of attributes only, not scores of them",
        ),
    ],
    ids=["jmvae", "ssvae", "photographs", "sprites", "networks"],
)
def test_who_cannot_says_why_before_anything_starts(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TrialSpec.parse({**FACES, **change})
