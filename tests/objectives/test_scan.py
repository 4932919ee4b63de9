"""SCAN: a beta-VAE on features of images, then concepts as symbols grounded in its latents."""

from __future__ import annotations

import copy

import pytest
import torch

from mmvae_bench.data.batch import Batch
from mmvae_bench.distributions.pixels import GREY_LEVEL
from mmvae_bench.objectives.base import CapabilityError
from mmvae_bench.objectives.scan import DenoisingAutoencoder, k_hot, occlude
from mmvae_bench.specs.components import backbones, datasets, objectives

from .opinions import (
    Make,
    assert_agree,
    assert_parts_add_up,
    gaussian,
    kl,
    log_px,
    log_py,
    prior_of,
    redraw,
    tame,
)


def test_a_latent_size_of_its_own_is_that_of_a_backbone_with_it(batch: Batch) -> None:
    """The same weights and the same loss; and without it the backbone's."""
    schema, losses = datasets.parse("mnist_a").concept_schema(), []
    for own, shared in ((5, 3), (None, 5), (None, 3)):
        spec = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": shared})
        backbone = spec.build(schema=schema, image_shape=tuple(batch.image.shape[1:]))
        model = objectives.parse({"name": "scan", "latent_size": own}).build(backbone, seed=3).double()
        torch.manual_seed(0)
        losses.append(float(model.terms(batch).loss))
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("dae", [True, False])
def test_value_and_gradient(dae: bool, make: Make, batch: Batch) -> None:
    model = make("scan", dae=dae, beta_x=2.0, beta_y=0.5, alpha=3.0)
    torch.manual_seed(5)
    terms = model.terms(batch)
    torch.manual_seed(5)
    value = torch.zeros(len(batch), dtype=torch.float64)
    if dae:
        restored = model.denoiser(occlude(batch.image))  # type: ignore[operator]
        value = value + ((restored - batch.image) ** 2).sum((1, 2, 3))
    q = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    z = redraw(q, terms.latents["image"])
    if dae:
        features = copy.deepcopy(model.denoiser.encoder).requires_grad_(False)
        shown = torch.sigmoid(model.image_decoder.network(z))  # type: ignore[union-attr,operator]
        value = value + ((features(shown) - features(batch.image)) ** 2).sum(1)
    else:
        value = value - log_px(model.image_decoder, z, batch.image)
    value = value + 2.0 * kl(q, prior_of(q))
    symbol = torch.zeros(len(batch), 19, dtype=torch.float64)
    for k, offset in enumerate((0, 10, 12, 15)):
        symbol[torch.arange(len(batch)), offset + batch.concept[:, k]] = 1
    mean, log_scale = model.concept_encoder.head(model.concept_encoder.hidden(symbol))  # type: ignore[union-attr,operator]
    q_concept = mean, log_scale.exp()
    drawn = redraw(q_concept, terms.latents["concept"])
    fixed = q[0].detach(), q[1].detach()
    value = value - log_py(model.concept_decoder, drawn, batch.concept)
    value = value + 0.5 * kl(q_concept, prior_of(q_concept)) + 3.0 * kl(fixed, q_concept)
    assert_agree(model, terms.loss, value.mean())


def test_parts_add_up(make: Make, batch: Batch) -> None:
    weights = {
        "denoise/squared_error": 1,
        "image/squared_error": 1,
        "image/kl": 53,
        "concept/log_py": -1,
        "concept/kl": 1,
        "concept/kl_from_image": 10,
    }
    assert_parts_add_up(tame(make("scan")).terms(batch), weights, batch_size=len(batch))


def test_scan_names_what_is_missing(make: Make) -> None:
    model = make("scan")
    with pytest.raises(CapabilityError, match=r"fully specified concepts only.*one symbol.*give scale, location"):
        model.imagine(torch.tensor([[1, -1, 0, 2], [1, 0, 0, -1]]))
    assert model.imagine(torch.tensor([1, 1, 0, 2]), num_samples=2).shape == (2, 1, 16, 16)


@pytest.mark.parametrize("dae", [True, False])
def test_an_image_of_scan_has_no_noise_that_was_never_fitted(dae: bool) -> None:
    """Features say nothing of a pixel's scale: with them, what the decoder gives for it is as it was initialised."""
    dataset = datasets.parse({"name": "celeba18", "source": "drawn", "size": 16})
    backbone = backbones.parse({"name": "rgb_thin", "width": 2, "hidden": 8, "latent_size": 3})
    built = backbone.build(schema=dataset.concept_schema(), image_shape=dataset.image_shape())
    model = objectives.parse({"name": "scan", "dae": dae}).build(built, seed=0).eval()
    px = model.image_likelihood(torch.randn(2, 3))
    given = model.image_decoder(px.mean.new_zeros(2, 3))
    assert given.stddev.min() > 10 * GREY_LEVEL, "what is left of the initial weights is noise"
    assert bool((px.stddev <= GREY_LEVEL).all()) == dae
    z = torch.randn(2, 3)
    torch.testing.assert_close(model.image_likelihood(z).mean, model.image_decoder(z).mean)


def test_k_hot() -> None:
    concept = torch.tensor([[3, 1, 2, 0], [0, 0, 0, 3]])
    symbols = k_hot(concept, (10, 2, 3, 4))
    assert symbols.nonzero()[:, 1].reshape(2, 4).tolist() == [[3, 11, 14, 15], [0, 10, 12, 18]]
    assert symbols.shape == (2, 19)
    assert symbols.sum() == 8


def test_occlusion_zeroes_one_rectangle_an_image() -> None:
    torch.manual_seed(0)
    covered = occlude(torch.ones(6000, 2, 12, 8))[:, 0] == 0
    rows, columns = covered.any(2), covered.any(1)
    assert torch.equal(covered, rows[:, :, None] & columns[:, None]), "rows and columns of a rectangle"
    for line in (rows, columns):
        edges = (line[:, 1:] != line[:, :-1]).sum(1)
        assert int(edges.max()) <= 2, "in one piece"
    # Two uniform draws enclose a point u with probability 2 u (1 - u), a third on average.
    assert covered.float().mean().item() == pytest.approx(1 / 9, abs=0.01)
    middle = covered[:, 5:7, 3:5].float().mean().item()
    assert middle == pytest.approx(1 / 4, abs=0.02)


@pytest.mark.parametrize(("shape", "depth"), [((1, 64, 64), 4), ((3, 112, 112), 4), ((1, 36, 36), 2)])
def test_the_denoiser_is_as_published_where_the_sides_allow(shape: tuple[int, int, int], depth: int) -> None:
    network = DenoisingAutoencoder(shape)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [32, 32, 64, 64][:depth]
    assert network(torch.zeros(2, *shape)).shape == (2, *shape)
    assert min(m.out_features for m in network.modules() if isinstance(m, torch.nn.Linear)) == 100
