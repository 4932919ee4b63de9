"""What the independent computations of the losses share: densities and divergences written out, in double precision.

They share with the code under test only the networks' outputs and the noise that was drawn. Densities are rebuilt from
their parameters, KL divergences are written out, and decoders that must not learn are deep copies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective, Terms

Make = Callable[..., Objective]
"""The fixture ``make``."""
Gaussian = tuple[Tensor, Tensor]
"""Mean and scale."""


def gaussian(q: Distribution) -> Gaussian:
    return q.base_dist.loc, q.base_dist.scale  # type: ignore[attr-defined]


def redraw(q: Gaussian, z: Tensor) -> Tensor:
    """The same sample, as a function of this computation's own mean and scale."""
    mean, scale = q
    noise = ((z - mean) / scale).detach()
    return mean + scale * noise


def kl(p: Gaussian, q: Gaussian) -> Tensor:
    """KL(p || q) of diagonal normals, written out."""
    (m, s), (n, t) = p, q
    return (torch.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5).sum(-1)


def log_normal(z: Tensor, q: Gaussian) -> Tensor:
    mean, scale = q
    return (-0.5 * ((z - mean) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)).sum(-1)


def prior_of(q: Gaussian) -> Gaussian:
    return torch.zeros_like(q[0]), torch.ones_like(q[1])


def log_px(decoder: torch.nn.Module, z: Tensor, image: Tensor) -> Tensor:
    return log_pixels(decoder.network(z), image)  # type: ignore[operator]


def log_pixels(logits: Tensor, image: Tensor) -> Tensor:
    """Bernoulli pixels: l x - log(1 + e^l). From probabilities torch would clamp it, where it is improbable."""
    return (logits * image - torch.logaddexp(logits, torch.zeros_like(logits))).flatten(1).sum(1)


def log_py(decoder: torch.nn.Module, z: Tensor, concept: Tensor, attributes: tuple[int, ...] | None = None) -> Tensor:
    """Sum over the attributes named, or over all."""
    total = torch.zeros(len(z), dtype=z.dtype)
    for k, network in enumerate(decoder.networks):  # type: ignore[arg-type]
        if attributes is None or k in attributes:
            total = total + log_value(network(z), concept[:, k])
    return total


def log_value(logits: Tensor, value: Tensor) -> Tensor:
    """A categorical value: l_v - log sum_w e^{l_w}. From probabilities torch would clamp it at -36."""
    return logits[torch.arange(len(value)), value] - torch.logsumexp(logits, -1)


def attribute_experts(model: Objective, concept: Tensor) -> list[Gaussian]:
    """The Gaussian of each attribute's own network."""
    experts = model.concept_encoder
    found = []
    for k, (embedding, network, head) in enumerate(
        zip(experts.features.embeddings, experts.features.networks, experts.heads, strict=True)  # type: ignore[union-attr,arg-type]
    ):
        mean, log_scale = head(network(embedding(concept[:, k])))
        found.append((mean, log_scale.exp()))
    return found


def multiplied(experts: list[Gaussian]) -> Gaussian:
    """The normalised product of Gaussian densities."""
    precision, weighted = torch.zeros_like(experts[0][0]), torch.zeros_like(experts[0][0])
    for mean, scale in experts:
        precision = precision + 1 / scale**2
        weighted = weighted + mean / scale**2
    return weighted / precision, precision**-0.5


def product(model: Objective, concept: Tensor) -> Gaussian:
    """q(z|y) as a product of densities, prior included."""
    experts = attribute_experts(model, concept)
    return multiplied([prior_of(experts[0]), *experts])


def modality_experts(model: Objective, batch: Batch, *, per_attribute: bool, prior: bool) -> list[Gaussian]:
    """The image's Gaussian, then that of each attribute, or of all with (``prior``) or without the prior in it."""
    image = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    attributes = attribute_experts(model, batch.concept)
    if per_attribute:
        return [image, *attributes]
    return [image, multiplied([*([prior_of(image)] if prior else []), *attributes])]


def nonempty_subsets(number: int) -> list[tuple[int, ...]]:
    return [subset for size in range(1, number + 1) for subset in combinations(range(number), size)]


def random_values(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform_mixture(z: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.logsumexp(torch.stack([log_normal(z, part) for part in parts]), 0) - math.log(len(parts))


def seeded_terms(model: Objective, batch: Batch) -> torch.Tensor:
    torch.manual_seed(5)
    return model.terms(batch).loss


def networks_with_gradients(model: Objective) -> set[str]:
    return {key.split(".")[0] for key, parameter in model.named_parameters() if parameter.grad is not None}


def bound(model: Objective, batch: Batch, q: Gaussian, z: Tensor, a: float, b: float) -> Tensor:
    """a log p(x|z) + b log p(y|z) - KL(q || p(z)) of each example."""
    z = redraw(q, z)
    px, py = log_px(model.image_decoder, z, batch.image), log_py(model.concept_decoder, z, batch.concept)
    return a * px + b * py - kl(q, prior_of(q))


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


def assert_agree(model: Objective, loss: Tensor, value: Tensor, slope: Tensor | None = None) -> None:
    """The loss equals ``value``, and its gradient that of ``slope`` (or of ``value``), parameter by parameter."""
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    others = torch.autograd.grad(value if slope is None else slope, list(parameters.values()))
    torch.testing.assert_close(loss, value, rtol=1e-7, atol=1e-7)
    for key, mine, second in zip(parameters, gradients, others, strict=True):
        torch.testing.assert_close(mine, second, rtol=1e-5, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")
        assert second.abs().max() > 0, f"the gradient of {key} is zero: nothing was compared"


def assert_parts_add_up(terms: Terms, weights: dict[str, float], *, batch_size: int) -> None:
    """The named parts are per example, with the sign of the formula: the loss is their weighted sum."""
    assert set(terms.parts) == set(weights)
    assert all(part.shape == (batch_size,) for part in terms.parts.values())
    total = sum(weights[key] * part.mean() for key, part in terms.parts.items())
    torch.testing.assert_close(terms.loss, torch.as_tensor(total))
