"""VLVAE whose decoders begin with the same layers (Cremer and Kushman 2018, Sec. 5.1)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, datasets, objectives
from mmvae_bench.specs.trial import TrainingSpec

from .opinions import Make, assert_agree, gaussian, kl, log_px, log_py, networks_with_gradients, prior_of, redraw

SHARED = {"shared_decoder": True}


def by_hand(model: Objective, z: Tensor) -> Tensor:
    """Two residual pairs, the first input padded with zeros, batch norm on the batch; then a layer of 200."""
    residual, last = model.shared_decoder  # type: ignore[union-attr,misc]
    features = torch.cat([z, z.new_zeros(len(z), residual.hidden - z.shape[1])], 1)
    assert len(residual.pairs) == 2
    for number, (first, norm, _, second) in enumerate(residual.pairs):
        hidden = (z if number == 0 else features) @ first.weight.T
        mean = hidden.mean(0)
        variance = ((hidden - mean) ** 2).mean(0)
        hidden = (hidden - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
        hidden = torch.where(hidden > 0, hidden, 0.01 * hidden)
        features = features + hidden @ second.weight.T + second.bias
    return features @ last.weight.T + last.bias


def test_value_and_gradient(make: Make, batch: Batch) -> None:
    model = make("vlvae", image_weight=0.3, concept_weight=7.0, **SHARED)
    terms = model.terms(batch)
    q = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    features = by_hand(model, redraw(q, terms.latents["image"]))
    assert features.shape == (len(batch), 200)
    bound = 0.3 * log_px(model.image_decoder, features, batch.image)
    bound = bound + 7.0 * log_py(model.concept_decoder, features, batch.concept) - kl(q, prior_of(q))
    assert_agree(model, terms.loss, -bound.mean())


@pytest.mark.parametrize("name", ["vlvae", "q_true", "q_agg"])
def test_both_likelihoods_go_through_the_same_layers(name: str, make: Make) -> None:
    model = make(name, **SHARED).eval()
    z = torch.randn(4, 3, dtype=torch.float64)
    features = model.shared_decoder(z)  # type: ignore[operator]
    px, py = model.likelihood(z)
    for found in (px.mean, model.image_likelihood(z).mean):
        torch.testing.assert_close(found, model.image_decoder(features).mean)
    for found in (py, model.concept_likelihood(z)):
        torch.testing.assert_close(found.log_probs, model.concept_decoder(features).log_probs)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["q_true", "q_agg"])
def test_a_flow_leaves_the_shared_layers_as_they_are(name: str, make: Make, batch: Batch) -> None:
    """Their batch norms too; and q_true's log p(y|z) is that of the trained model."""
    model = make(name, mask_probability=0.0, **SHARED)
    first, second = model.stages(TrainingSpec(steps=4))
    assert first.trains == ("image_encoder", "shared_decoder", "image_decoder", "concept_decoder")
    model.begin_stage(second)
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    terms = model.terms(batch)
    terms.loss.backward()  # type: ignore[no-untyped-call]
    assert networks_with_gradients(model) == {"concept_encoder"}
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    if name == "q_true":
        wanted = model.concept_likelihood(terms.latents["concept"]).log_prob(batch.concept)
        torch.testing.assert_close(terms.parts["concept/log_py"], wanted)


def test_outside_of_stages_a_flow_does_not_teach_the_shared_layers(make: Make, batch: Batch) -> None:
    """There nothing is frozen but by the call itself."""
    model = make("q_true", mask_probability=0.0, **SHARED)
    model.flow_terms("concept", batch, torch.zeros(len(batch), 3)).loss.backward()  # type: ignore[operator]
    assert networks_with_gradients(model) == {"concept_encoder"}


@pytest.mark.parametrize("view", ["attributes", "text"])
def test_a_backbone_with_such_layers_of_its_own_is_built_without_them(view: str) -> None:
    """The published one: shared, there is one copy of the layers in all; otherwise each decoder has its own."""
    dataset = datasets.parse({"name": "two_object_clevr", "view": view})
    backbone = backbones.parse({"name": "two_object_resnet", "width": 2, "latent_size": 4})
    built = backbone.build(schema=dataset.concept_schema(), image_shape=dataset.image_shape(), captions=dataset.texts())
    counted = {}
    for shared in (False, True):
        model = objectives.parse({"name": "vlvae", "shared_decoder": shared}).build(built)
        names = ("image_decoder", "concept_decoder", *(("shared_decoder",) if shared else ()))
        widths = [
            module.out_features
            for name in names
            for module in getattr(model, name).modules()
            if isinstance(module, nn.Linear) and module.out_features == 500
        ]
        counted[shared] = len(widths)
    assert counted == {False: 8, True: 4}


def test_one_image_per_step_is_refused(make: Make) -> None:
    with pytest.raises(BenchmarkError, match="at least 2 images per step"):
        make("vlvae", **SHARED).stages(TrainingSpec(steps=2, batch_size=1))
    assert make("vlvae").stages(TrainingSpec(steps=2, batch_size=1))


def test_without_it_there_are_no_such_layers(make: Make) -> None:
    for name in ("vlvae", "q_true", "q_agg"):
        assert "shared_decoder" not in objectives.parse(name).canonical()
        assert not any(key.startswith("shared") for key in make(name).state_dict())
