"""The flows: densities that integrate to one, maps that invert, and nothing changed in torch by loading them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from mmvae_bench.backbones.flows import (
    HIDDEN,
    ConditionalFlow,
    FlowDistribution,
    FlowPosterior,
    PartialConceptFeatures,
    RealNVP,
    UnconditionalFlow,
)
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.distributions.latents import diagonal_normal
from mmvae_bench.specs.components import datasets
from mmvae_bench.specs.trial import TrialSpec

SCHEMA = datasets.parse("mnist_a").concept_schema()
CONCEPTS = torch.tensor([[3, 1, 2, 0], [3, -1, -1, 0]])
NUM_SAMPLES = 4000
FULL = torch.tensor([[3, 1, 2, 0], [5, 0, 1, 3]])


class Shifted(nn.Module):
    """An encoder whose normal depends on the concept."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, size)

    def forward(self, concept: Tensor) -> Distribution:
        mean = self.embedding(concept[:, 0])
        return diagonal_normal(mean, -0.3 + 0.1 * mean)


def conditional(size: int) -> nn.Module:
    features = PartialConceptFeatures(SCHEMA, num_features=7)
    return ConditionalFlow(features, num_features=7, latent_size=size)


FLOWS: dict[str, Callable[[int], nn.Module]] = {
    "conditional": conditional,
    "unconditional": UnconditionalFlow,
    "posterior": lambda size: FlowPosterior(Shifted(size), latent_size=size),
}


def build(kind: str, size: int) -> nn.Module:
    """A flow far from the identity, in double precision."""
    torch.manual_seed(0)
    flow = FLOWS[kind](size).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return flow


def ask(kind: str, flow: nn.Module) -> FlowDistribution:
    q = flow() if kind == "unconditional" else flow(FULL if kind == "posterior" else CONCEPTS)
    assert isinstance(q, FlowDistribution)
    return q


@pytest.mark.parametrize("kind", FLOWS)
def test_the_density_integrates_to_one_and_is_that_of_the_samples(kind: str) -> None:
    q = ask(kind, build(kind, 2))
    with torch.no_grad():
        samples = q.sample((NUM_SAMPLES,)).reshape(NUM_SAMPLES, -1, 2)
        low, high = samples.flatten(0, 1).amin(0) - 2, samples.flatten(0, 1).amax(0) + 2
        axes = [torch.linspace(float(a), float(b), 241, dtype=torch.float64) for a, b in zip(low, high, strict=True)]
        grid = torch.cartesian_prod(*axes)
        cell = float((axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0]))
        density = q.log_prob(grid[:, None] if q.batch_shape else grid).exp().reshape(len(grid), -1) * cell
    torch.testing.assert_close(density.sum(0), torch.ones_like(density[0]), rtol=0, atol=2e-3)
    for k in range(density.shape[1]):
        mean = density[:, k] @ grid
        error = samples[:, k].std(0) / NUM_SAMPLES**0.5
        assert bool(((samples[:, k].mean(0) - mean).abs() < 5 * error + 1e-3).all())
    if kind != "unconditional":
        assert float((density[:, 1] - density[:, 0]).abs().sum()) > 0.01, "the flow does not hear its condition"


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize("size", [2, 5])
def test_the_map_inverts_and_its_determinant_is_the_jacobians(kind: str, size: int) -> None:
    q = ask(kind, build(kind, size))
    z = q.sample((3,))
    base_value, log_det = q.transform.call_and_ladj(z)
    torch.testing.assert_close(q.transform.inv(base_value), z)
    torch.testing.assert_close(q.centre, q.transform.inv(q.base.mean))
    torch.testing.assert_close(q.transform(q.centre), q.base.mean)
    jacobian = torch.autograd.functional.jacobian(lambda value: q.transform(value).sum((0, 1)), z.reshape(3, -1, size))
    if not q.batch_shape:
        log_det = log_det[:, None]
    # Float[D, 3, B, D]: examples do not mix, so the sum over them keeps each one's own Jacobian.
    torch.testing.assert_close(torch.linalg.slogdet(jacobian.permute(1, 2, 0, 3)).logabsdet, log_det)
    torch.testing.assert_close(q.log_prob(z), q.base.log_prob(base_value) + log_det.reshape(q.log_prob(z).shape))


@pytest.mark.parametrize("size", [4, 5])
def test_samples_follow_the_equations_of_the_paper(size: int) -> None:
    """Eq. 7 then Eq. 8, six times, written out from the weights."""
    flow = build("conditional", size)
    q, context, half = ask("conditional", flow), flow.features(CONCEPTS), size // 2  # type: ignore[operator]
    torch.manual_seed(1)
    z = q.rsample()
    torch.manual_seed(1)
    base = q.base.rsample()

    def step(coupling: nn.Module, moved: Tensor, kept: Tensor) -> Tensor:
        first, _, last = coupling.hyper  # type: ignore[union-attr,misc]
        hidden = nn.functional.elu(torch.cat([kept, context], -1) @ first.weight.T + first.bias)
        assert hidden.shape[-1] == HIDDEN == 50
        shift, raw = (hidden @ last.weight.T + last.bias).unflatten(-1, (-1, 2)).unbind(-1)
        log_scale = raw / (1 + raw.abs() / 2)
        assert float(log_scale.detach().abs().max()) < 2
        return moved * (-log_scale).exp() - shift * (-log_scale).exp()

    couplings = list(flow.flow.couplings.transforms)  # type: ignore[union-attr,arg-type]
    assert len(couplings) == 12
    z_1, z_2 = base[:, :half], base[:, half:]
    for given_second, given_first in zip(couplings[::-2], couplings[-2::-2], strict=True):
        z_1 = step(given_second, z_1, z_2)
        z_2 = step(given_first, z_2, z_1)
    torch.testing.assert_close(z, torch.cat([z_1, z_2], -1))


@pytest.mark.parametrize("kind", FLOWS)
def test_gradients_reach_every_parameter_from_densities_and_from_samples(kind: str) -> None:
    flow = FLOWS[kind](4)
    for what in (lambda q: q.log_prob(torch.randn(6, *q.batch_shape, 4)), lambda q: q.rsample((6,)).square()):
        flow.zero_grad(set_to_none=True)
        what(ask(kind, flow)).sum().backward()
        assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in flow.parameters())


def test_a_new_flow_is_near_its_base() -> None:
    torch.manual_seed(0)
    q = UnconditionalFlow(6)()
    z = torch.randn(200, 6)
    assert float((q.log_prob(z) - q.base.log_prob(z)).detach().abs().max()) < 0.5


def test_unspecified_is_no_value() -> None:
    flow = build("conditional", 3)
    features = flow.features(torch.tensor([[-1, 0, 0, 0], [0, 0, 0, 0], [9, 0, 0, 0]]))  # type: ignore[operator]
    assert float(torch.pdist(features).detach().min()) > 1e-3


def test_a_flow_computes_in_full_precision_under_autocast() -> None:
    flow = conditional(4)
    z = torch.randn(2, 4)
    plain = flow(CONCEPTS).log_prob(z)
    with torch.autocast("cpu", torch.bfloat16):
        q = flow(CONCEPTS)
        torch.testing.assert_close(q.log_prob(z), plain)
        assert q.rsample().dtype == torch.float32
    for kind in FLOWS:
        with torch.autocast("cpu", torch.bfloat16):
            assert ask(kind, FLOWS[kind](4)).log_prob(z.bfloat16()).dtype == torch.float32


def test_a_flow_is_left_eager() -> None:
    for kind in FLOWS:
        flow = FLOWS[kind](2)
        flow.compile()
        assert flow._compiled_call_impl is None


PROGRAM = """
import sys
from torch.distributions import Distribution

def changed_by_import(module, validate):
    for name in [name for name in sys.modules if name.startswith(("zuko", "mmvae_bench.backbones.flows"))]:
        del sys.modules[name]
    Distribution.set_default_validate_args(validate)
    before = dict(Distribution.__dict__)
    __import__(module)
    return sorted(key for key, value in Distribution.__dict__.items() if before.get(key) is not value)

print(changed_by_import("mmvae_bench.backbones.flows", True))
print(changed_by_import("mmvae_bench.backbones.flows", False))
print(changed_by_import("zuko", True))
"""


def test_loading_it_leaves_torchs_distributions_alone() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, check=True)
    # The last line is the trap itself: without the adapter two things change.
    assert done.stdout.splitlines() == ["[]", "[]", "['_validate_args', 'arg_constraints']"]


def test_one_latent_dimension_cannot_be_coupled() -> None:
    with pytest.raises(ValueError, match="latent_size must be at least 2, not 1"):
        RealNVP(1)


@pytest.mark.parametrize("objective", ["q_agg", "q_true", "jnf", {"name": "vlvae", "prior_flow": True}])
def test_one_latent_dimension_is_refused_with_the_configuration(objective: object) -> None:
    values = {
        "dataset": {"name": "mnist_a", "canvas": 16},
        "backbone": {"name": "mnist_a_thin", "latent_size": 1},
        "objective": objective,
    }
    with pytest.raises(ConfigError, match=r"backbone\.latent_size: .* fits a flow.*must be at least 2\n  given: 1"):
        TrialSpec.parse(values)
    TrialSpec.parse(values | {"objective": "vlvae"})
