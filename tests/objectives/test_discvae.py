"""disCVAE: its bound on a hand-made layered image, what its layers depend on, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal
from torch.distributions.kl import kl_divergence

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.data.batch import Batch
from mmvae_bench.evaluation.fitting import fit_latents
from mmvae_bench.objectives.base import CapabilityError
from mmvae_bench.objectives.discvae import DisCVAE, discvae, split_layers
from mmvae_bench.specs.components import backbones, datasets, objectives
from mmvae_bench.specs.grid import load_grid
from mmvae_bench.specs.trial import TrialSpec

from .opinions import assert_agree, assert_parts_add_up, gaussian, kl, log_normal, prior_of, redraw

SIGMA = 0.3
MakeLayered = Callable[..., DisCVAE]


@pytest.fixture
def make_layered() -> MakeLayered:
    """On the thin networks at 16x16, in double precision, with weights far enough from zero that every term matters."""

    def build(**parameters: object) -> DisCVAE:
        dataset = datasets.parse({"name": "sprites", "level": 3, "canvas": 16})
        settings = {"name": "attribute2image_thin", "width": 6, "latent_size": 6, "likelihood_scale": SIGMA}
        built = backbones.parse(settings).build(schema=dataset.concept_schema(), image_shape=dataset.image_shape())
        objective = objectives.parse({"name": "discvae", "background_size": 2, **parameters}).build(built, seed=0)
        assert isinstance(objective, DisCVAE)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in objective.double().parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        return objective

    return build


@pytest.fixture
def layered() -> Batch:
    """A square in front of a slope of grey, each image in another colour and at another place."""
    number = 6
    masks = torch.zeros(number, 1, 16, 16, dtype=torch.bool)
    image = torch.linspace(0.2, 0.9, 16, dtype=torch.float64).expand(number, 3, 16, 16).clone()
    for k in range(number):
        masks[k, :, k : k + 5, 3 : 10 + k] = True
        image[k] = torch.where(
            masks[k], torch.tensor([0.9, 0.1 * k, 0.3], dtype=torch.float64)[:, None, None], image[k]
        )
    concept = torch.stack([torch.arange(number) % size for size in (3, 2, 5)], 1)
    return Batch(image, concept, torch.arange(number), mask=masks)


def bound(model: DisCVAE, batch: Batch, latents: dict[str, Tensor], lambda_g: float, image_weight: float) -> Tensor:
    """Equation 7 written out, from the networks' outputs: densities by torch, divergences by hand."""
    assert batch.mask is not None
    mask = batch.mask.double()
    foreground, gate = batch.image * mask, 1 - mask
    q_f = gaussian(model.foreground_encoder(foreground, batch.concept))
    z_f = redraw(q_f, latents["foreground"])
    q_b = gaussian(model.background_encoder(batch.image, batch.concept, z_f))
    z_b = redraw(q_b, latents["background"])
    decoder = model.foreground_decoder
    features = decoder.features(z_f, batch.concept)  # type: ignore[operator]
    mean_f = torch.sigmoid(decoder.picture(features))  # type: ignore[operator]
    opened = torch.sigmoid(decoder.gate(features))  # type: ignore[operator]
    mean_b = model.background_decoder(z_b).mean
    of_f = Normal(mean_f, SIGMA).log_prob(foreground).sum((1, 2, 3))
    of_g = Bernoulli(opened).log_prob(gate).sum((1, 2, 3))
    of_x = Normal(mean_f + opened * mean_b, SIGMA).log_prob(batch.image).sum((1, 2, 3))
    return image_weight * (of_f + of_x) + lambda_g * of_g - kl(q_f, prior_of(q_f)) - kl(q_b, prior_of(q_b))


@pytest.mark.parametrize(("lambda_g", "image_weight"), [(0.3, 1.0), (2.0, 1.0), (0.3, 0.2)])
def test_value_and_gradient(lambda_g: float, image_weight: float, make_layered: MakeLayered, layered: Batch) -> None:
    """The second opinion lets the gradient of the second divergence flow to the first encoder, as the formula does."""
    model = make_layered(lambda_g=lambda_g, image_weight=image_weight)
    terms = model.terms(layered)
    assert_agree(model, terms.loss, -bound(model, layered, terms.latents, lambda_g, image_weight).mean())
    weights = {
        "log_px": -image_weight,
        "log_foreground": -image_weight,
        "log_gate": -lambda_g,
        "kl_foreground": 1.0,
        "kl_background": 1.0,
    }
    assert_parts_add_up(terms, {f"layers/{key}": value for key, value in weights.items()}, batch_size=6)


def test_the_bound_is_below_the_likelihood_and_tight_where_the_posterior_is_exact() -> None:
    """One pixel, linear layers: log p(x, x_F, g) by quadrature over both z, and the bound with a Gaussian posterior."""
    grid = torch.linspace(-8, 8, 1601, dtype=torch.float64)
    x_f, x, opened, sigma = 0.7, 1.1, 0.4, 0.5
    # x_F ~ N(z_F, sigma^2), x ~ N(z_F + opened z_B, sigma^2): jointly Gaussian, so the posterior is known.
    weights = torch.tensor([[1.0, 0.0], [1.0, opened]], dtype=torch.float64)
    observed = torch.tensor([x_f, x], dtype=torch.float64)
    precision = torch.eye(2, dtype=torch.float64) + weights.T @ weights / sigma**2
    mean = torch.linalg.solve(precision, weights.T @ observed / sigma**2)
    z_f, z_b = torch.meshgrid(grid, grid, indexing="ij")
    log_joint = (
        Normal(z_f, sigma).log_prob(observed[0])
        + Normal(z_f + opened * z_b, sigma).log_prob(observed[1])
        + Normal(0.0, 1.0).log_prob(z_f)
        + Normal(0.0, 1.0).log_prob(z_b)
    )
    evidence = torch.logsumexp(log_joint.flatten(), 0) + 2 * torch.log(grid[1] - grid[0])
    posterior = torch.distributions.MultivariateNormal(mean, precision_matrix=precision)
    torch.manual_seed(0)
    z = posterior.sample(torch.Size([4000]))
    q_f = Normal(mean[0], torch.linalg.inv(precision)[0, 0].sqrt())
    # q(z_B|z_F): the conditional of the joint posterior, as the second encoder reads the sample of z_F.
    slope = -precision[1, 0] / precision[1, 1]
    q_b = Normal(mean[1] + slope * (z[:, 0] - mean[0]), precision[1, 1].rsqrt())
    standard = Normal(torch.zeros(4000, dtype=torch.float64), 1.0)
    terms = discvae(
        log_px=Normal(z[:, 0] + opened * z[:, 1], sigma).log_prob(observed[1]),
        log_foreground=Normal(z[:, 0], sigma).log_prob(observed[0]),
        log_gate=torch.zeros(4000, dtype=torch.float64),
        kl_foreground=kl_divergence(q_f, Normal(0.0, 1.0)).expand(4000),
        kl_background=kl_divergence(q_b, standard),
        lambda_g=1.0,
    )
    assert float(-terms.loss) == pytest.approx(float(evidence), abs=0.05)
    # Any other posterior is below it.
    worse = discvae(
        **{key.split("/")[1]: value for key, value in terms.parts.items()}
        | {"kl_foreground": terms.parts["layers/kl_foreground"] + 0.5},
        lambda_g=1.0,
    )
    assert float(-worse.loss) < float(evidence)


def test_the_background_touches_neither_foreground_nor_gate(make_layered: MakeLayered, layered: Batch) -> None:
    model = make_layered().eval()
    z = torch.randn(6, 6, dtype=torch.float64)
    other = z.clone()
    other[:, 4:] += torch.randn(6, 2, dtype=torch.float64)
    one, two = model.layers(z, layered.concept), model.layers(other, layered.concept)
    assert torch.equal(one.foreground.mean, two.foreground.mean)
    assert torch.equal(one.gate.mean, two.gate.mean)
    assert not torch.equal(one.background.mean, two.background.mean)
    # And the other way round: neither z_F nor the concept reaches the background.
    other = z.clone()
    other[:, :4] += 1
    two = model.layers(other, (layered.concept + 1) % torch.tensor([3, 2, 5]))
    assert torch.equal(one.background.mean, two.background.mean)
    assert not torch.equal(one.foreground.mean, two.foreground.mean)


def test_a_closed_gate_hides_the_background_exactly(make_layered: MakeLayered, layered: Batch) -> None:
    model = make_layered().float().eval()
    gate = model.foreground_decoder.gate
    with torch.no_grad():
        gate.weight.zero_()  # type: ignore[union-attr,operator]
        gate.bias.fill_(-200.0)  # type: ignore[union-attr,operator]
    z, concept = torch.randn(6, 6), layered.concept
    layers = model.layers(z, concept)
    assert torch.equal(layers.mean, layers.foreground.mean)
    with torch.no_grad():
        gate.bias.fill_(200.0)  # type: ignore[union-attr,operator]
    layers = model.layers(z, concept)
    assert torch.equal(layers.mean, layers.foreground.mean + layers.background.mean)


def test_the_layers_of_an_image(layered: Batch) -> None:
    """On [0, 1], black behind the foreground, the composition of Eq. 4 is the image itself."""
    assert layered.mask is not None
    two = torch.cat([layered.mask, layered.mask.roll(4, -1)], 1)
    foreground, gate = split_layers(layered.image, two)
    inside = two[:, :1] | two[:, 1:]
    assert torch.equal(gate, (~inside).double())
    assert torch.equal(foreground + gate * layered.image, layered.image)
    assert bool((foreground.masked_select(~inside) == 0).all())


def test_it_is_inferred_without_masks(make_layered: MakeLayered, layered: Batch) -> None:
    model = make_layered().eval()
    assert model.can_imagine
    assert not model.can_describe
    for image, concept in ((layered.image, None), (layered.image, layered.concept)):
        with pytest.raises(CapabilityError, match=r"discvae trains no q\(z\|"):
            model.posterior(image, concept)
    with pytest.raises(CapabilityError, match=r"p\(x\|y,z\) but no p\(x\|z\)"):
        model.image_likelihood(torch.zeros(1, 6, dtype=torch.float64))
    found = fit_latents(model, layered.image, layered.concept, steps=20)
    at_zero = model.image_likelihood(torch.zeros_like(found.z), layered.concept).log_prob(layered.image)
    at_zero = at_zero + log_normal(torch.zeros_like(found.z), prior_of((found.z, found.z)))
    assert bool((found.log_joint > at_zero).all())
    partial = torch.tensor([[0, -1, 2]])
    assert model.imagine(partial, num_samples=3, mean=True).shape == (1, 3, 3, 16, 16)
    with pytest.raises(CapabilityError, match="takes fully specified concepts only"):
        make_layered(unspecified="refuse").imagine(partial)


THIN = {"name": "attribute2image_thin"}


@pytest.mark.parametrize(
    ("dataset", "backbone", "words"),
    [
        ({"name": "mnist_a"}, THIN, "discvae learns the foreground from masks, and mnist_a has none"),
        (
            {"name": "celeba18", "source": "celeba", "size": 32},
            THIN,
            "discvae learns the foreground from masks, and celeba18 of source celeba has none",
        ),
        ({"name": "sprites"}, {"name": "rgb_thin"}, "backbone rgb_thin has no networks for the layers of an image"),
    ],
)
def test_it_is_refused_when_the_grid_is_expanded(
    dataset: dict[str, object], backbone: dict[str, object], words: str, tmp_path: Path
) -> None:
    grid = {"name": "g", "datasets": [dataset], "backbones": [backbone], "objectives": [{"name": "discvae"}]}
    (tmp_path / "g.yaml").write_text(json.dumps(grid), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_grid(tmp_path / "g.yaml")
    assert words in str(caught.value)
    assert "sprites" in str(caught.value) or "attribute2image" in str(caught.value)


def test_the_background_needs_less_than_all_latents() -> None:
    given = {"dataset": {"name": "sprites"}, "backbone": {**THIN, "latent_size": 4}}
    with pytest.raises(ConfigError, match="none is left for the foreground"):
        TrialSpec.parse({**given, "objective": {"name": "discvae", "background_size": 4}})
    spec = objectives.parse("discvae")
    assert [spec.sizes(size) for size in (256, 32, 3)] == [(192, 64), (24, 8), (2, 1)]  # type: ignore[attr-defined]
