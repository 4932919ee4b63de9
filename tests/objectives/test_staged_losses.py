"""The losses of the objectives in stages against independent computations: value and gradient, in double precision.

All stages at once: what a stage leaves alone is a deep copy here, and a z that no gradient passes is detached.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective
from mmvae_bench.objectives.common.staged import mask_at_random
from mmvae_bench.objectives.scan import occlude

from .opinions import (
    Gaussian,
    assert_agree,
    gaussian,
    kl,
    log_normal,
    log_pixels,
    log_px,
    log_py,
    log_value,
    prior_of,
    product,
    redraw,
)

Make = Callable[..., Objective]


def half_steps(flow: nn.Module, context: Tensor | None) -> list[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]:
    """For each coupling, from z to the base: (the half that moves, the half that stays) to (log scale, shift)."""

    def of(coupling: nn.Module) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        first, _, last = coupling.hyper  # type: ignore[union-attr,misc]

        def step(moved: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
            told = kept if context is None else torch.cat([kept, context], -1)
            hidden = nn.functional.elu(told @ first.weight.T + first.bias)
            shift, raw = (hidden @ last.weight.T + last.bias).unflatten(-1, (-1, 2)).unbind(-1)
            return raw / (1 + raw.abs() / 2), shift

        return step

    return [of(coupling) for coupling in flow.couplings.transforms]  # type: ignore[union-attr]


def to_base(flow: nn.Module, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The base value of z and log |det|."""
    half = z.shape[-1] // 2
    first, second, log_det = z[:, :half], z[:, half:], torch.zeros(len(z), dtype=z.dtype)
    for number, step in enumerate(half_steps(flow, context)):
        log_scale, shift = step(second, first) if number % 2 == 0 else step(first, second)
        if number % 2 == 0:
            second = second * log_scale.exp() + shift
        else:
            first = first * log_scale.exp() + shift
        log_det = log_det + log_scale.sum(-1)
    return torch.cat([first, second], -1), log_det


def from_base(flow: nn.Module, value: Tensor, context: Tensor | None = None) -> Tensor:
    half = value.shape[-1] // 2
    first, second = value[:, :half], value[:, half:]
    for number, step in reversed(list(enumerate(half_steps(flow, context)))):
        log_scale, shift = step(second, first) if number % 2 == 0 else step(first, second)
        if number % 2 == 0:
            second = (second - shift) / log_scale.exp()
        else:
            first = (first - shift) / log_scale.exp()
    return torch.cat([first, second], -1)


def log_flow(flow: nn.Module, z: Tensor, base: Gaussian, context: Tensor | None = None) -> Tensor:
    value, log_det = to_base(flow, z, context)
    return log_normal(value, base) + log_det


def tame(model: Objective) -> Objective:
    """Twelve couplings as far from the identity as the fixture makes them would take z to 1e4."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".couplings." in name:
                parameter *= 0.3
    return model


def standard(z: Tensor) -> Gaussian:
    return torch.zeros_like(z), torch.ones_like(z)


def bound(model: Objective, batch: Batch, q: Gaussian, z: Tensor, a: float, b: float) -> Tensor:
    z = redraw(q, z)
    px, py = log_px(model.image_decoder, z, batch.image), log_py(model.concept_decoder, z, batch.concept)
    return a * px + b * py - kl(q, prior_of(q))


def test_the_opinions_hold_where_a_value_is_improbable() -> None:
    """A draw of z far out makes values of probability e^-60; clamped at e^-36, an opinion has no slope there."""
    logits = torch.tensor([[0.0, -60.0, 3.0]], dtype=torch.float64, requires_grad=True)
    value, pixels = torch.tensor([1]), torch.ones(1, 3, dtype=torch.float64)
    exact = -63 - math.log1p(math.exp(-3) + math.exp(-63))
    found = log_value(logits, value)
    assert found.item() == pytest.approx(exact, rel=1e-12)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert slope[0, 1].item() == pytest.approx(1, rel=1e-12)
    found = log_pixels(logits, pixels)
    assert found.item() == pytest.approx(-math.log(2) - 60 - math.log1p(math.exp(-3)), rel=1e-12)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert slope[0, 1].item() == pytest.approx(1, rel=1e-12)


VLVAE = {"image_weight": 0.3, "concept_weight": 7.0, "prior_flow": True}


@pytest.mark.parametrize("inference", ["image", "joint"])
@pytest.mark.parametrize("name", ["vlvae", "q_agg", "q_true"])
def test_vlvae_and_its_flows(name: str, inference: str, make: Make, batch: Batch) -> None:
    """At two draws; the second has a z far out for q(z|x), where one attribute's value is all but impossible."""
    extra = {} if name == "vlvae" else {"mask_probability": 0.0} | ({"gamma": 3.0} if name == "q_true" else {})
    model = tame(make(name, inference=inference, **VLVAE, **extra))
    for seed in (0, 68):
        torch.manual_seed(seed)
        terms = model.terms(batch)
        inputs = (batch.image,) if inference == "image" else (batch.image, batch.concept)
        q = gaussian(getattr(model, f"{inference}_encoder")(*inputs))
        z = terms.latents[inference].detach()
        value = -bound(model, batch, q, z, 0.3, 7.0)
        value = value - log_flow(model.prior_flow.flow, z, standard(z))  # type: ignore[union-attr,arg-type]
        if name != "vlvae":
            flow, context = model.concept_encoder.flow, model.concept_encoder.features(batch.concept)  # type: ignore[union-attr,operator]
            if name == "q_agg":
                value = value - log_flow(flow, z, standard(z), context)  # type: ignore[arg-type]
            else:
                noise = to_base(flow, terms.latents["concept"], context)[0].detach()  # type: ignore[arg-type]
                drawn = from_base(flow, noise, context)  # type: ignore[arg-type]
                decoder = copy.deepcopy(model.concept_decoder).requires_grad_(False)
                value = value - 3.0 * log_py(decoder, drawn, batch.concept) - log_normal(drawn, standard(z))
                value = value + log_flow(flow, drawn, standard(z), context)  # type: ignore[arg-type]
        assert_agree(model, terms.loss, value.mean())


def test_jnf(make: Make, batch: Batch) -> None:
    model = tame(make("jnf", **{"lambda": 7.0}))
    terms = model.terms(batch)
    q = gaussian(model.joint_encoder(batch.image, batch.concept))  # type: ignore[operator]
    z = terms.latents["joint"].detach()
    value = -bound(model, batch, q, z, 1.0, 7.0)
    image, experts = model.image_encoder, SimpleNamespace(concept_encoder=model.concept_encoder.encoder)
    value = value - log_flow(image.flow, z, gaussian(image.encoder(batch.image)))  # type: ignore[union-attr,arg-type,operator]
    value = value - log_flow(model.concept_encoder.flow, z, product(experts, batch.concept))  # type: ignore[union-attr,arg-type]
    assert_agree(model, terms.loss, value.mean())


@pytest.mark.parametrize("dae", [True, False])
def test_scan(dae: bool, make: Make, batch: Batch) -> None:
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
    """The named parts are per example, with the sign of the formula: the loss is their weighted sum."""
    weights = {
        "q_agg": {"image/log_px": -0.3, "image/log_py": -7, "image/kl": 1, "concept/log_q": -1, "prior/log_q": -1},
        "q_true": {
            "image/log_px": -0.3,
            "image/log_py": -7,
            "image/kl": 1,
            "concept/log_py": -3,
            "concept/log_pz": -1,
            "concept/log_q": 1,
            "prior/log_q": -1,
        },
        "jnf": {
            "joint/log_px": -1,
            "joint/log_py": -7,
            "joint/kl": 1,
            "image/log_q": -1,
            "concept/log_q": -1,
        },
        "scan": {
            "denoise/squared_error": 1,
            "image/squared_error": 1,
            "image/kl": 53,
            "concept/log_py": -1,
            "concept/kl": 1,
            "concept/kl_from_image": 10,
        },
    }
    settings = {"q_agg": VLVAE, "q_true": VLVAE | {"gamma": 3.0}, "jnf": {"lambda": 7.0}, "scan": {}}
    for name, expected in weights.items():
        terms = tame(make(name, **settings[name])).terms(batch)
        assert terms.parts.keys() == expected.keys()
        total = sum(expected[key] * part.mean() for key, part in terms.parts.items())
        torch.testing.assert_close(terms.loss, torch.as_tensor(total))


def test_the_flow_is_asked_about_the_concept_that_is_left(make: Make, batch: Batch) -> None:
    model = tame(make("q_agg", mask_probability=0.7)).eval()
    z = torch.randn(len(batch), 3, dtype=torch.float64)
    torch.manual_seed(9)
    log_q = model.flow_terms("concept", batch, z).parts["concept/log_q"]  # type: ignore[operator]
    torch.manual_seed(9)
    left = mask_at_random(batch.concept, 0.7)
    assert bool((left < 0).any())
    torch.testing.assert_close(log_q, model.posterior(concept=left).log_prob(z))
    assert not torch.allclose(log_q, model.posterior(concept=batch.concept).log_prob(z))
