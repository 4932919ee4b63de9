"""Normalising flows: the one place that knows zuko.

Importing zuko switches off the validation of every torch Distribution in the process; this module restores it. Flows
are not compiled: their couplings break a compiled graph.

Shapes: S sample, B batch, A attribute, D latent dimension, F feature.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, constraints

from ..concepts import Schema
from .layers import Eager, mlp


@contextmanager
def _distributions_as_they_were() -> Iterator[None]:
    """Restores what importing zuko changes in the base class of all torch Distributions."""
    kept = {name: Distribution.__dict__[name] for name in ("_validate_args", "arg_constraints")}
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(Distribution, name, value)


with _distributions_as_they_were():
    from zuko.flows.coupling import GeneralCouplingTransform
    from zuko.lazy import LazyComposedTransform
    from zuko.transforms import ComposedTransform, MonotonicAffineTransform

NUM_TRANSFORMATIONS = 6
"""Each transforms both halves, so there are twice as many couplings (Cremer and Kushman, Sec. 5.1.1)."""
HIDDEN = 50
"""Width of the hidden layer of a coupling's network (their code)."""
LARGEST_LOG_SCALE = 2.0
"""Bound on |log s| of a coupling. Twelve unbounded ones can map a z unlike the training ones to 1e25 and beyond."""
FIRST_WEIGHTS = 0.01
"""Factor on the initial weights of a coupling's last layer: a flow starts near the identity."""
EMBEDDING = 32
"""Size of the embedding of an attribute's value, as in the experts of the other posteriors."""


class FlowDistribution(Distribution):
    """A base distribution pushed through an invertible map: ``log q(z) = log q_0(f(z)) + log |det df/dz|``.

    Args:
        transform: f, from z to the base.
        base: q_0, over Float[..., D].
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, transform: ComposedTransform, base: Distribution) -> None:
        self.transform, self.base = transform, base
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Float[..., D] to Float[...], in nats."""
        # A coupling does not broadcast.
        value = value.expand(torch.broadcast_shapes(value.shape, self.base.mean.shape))
        with _full_precision(value):
            base_value, log_det = self.transform.call_and_ladj(value.to(self.base.mean.dtype))
            result: Tensor = self.base.log_prob(base_value) + log_det
        return result

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Float[S..., B..., D], differentiable."""
        base_value = self.base.rsample(torch.Size(sample_shape))
        with _full_precision(base_value):
            return self._inverse(base_value)

    @property
    def centre(self) -> Tensor:
        """Float[..., D]: where the mean of the base goes. A flow's own mean has no closed form."""
        with _full_precision(self.base.mean):
            return self._inverse(self.base.mean)

    def _inverse(self, base_value: Tensor) -> Tensor:
        result: Tensor = self.transform.inv(base_value)
        return result


class RealNVP(nn.Module):
    """The invertible map of a flow: six transformations of both halves of z, each given the other half.

    ``z_1' = z_1 * s_1(z_2, c) + m_1(z_2, c)``, then ``z_2' = z_2 * s_2(z_1', c) + m_2(z_1', c)``

    Cremer and Kushman (2018), Eq. 7 and 8; after Dinh et al. (2016). The networks here give the inverse of each of
    these steps, which has the same form (1/s and -m/s), so that a density takes one pass.

    Args:
        latent_size: D, at least 2: a coupling needs something to condition on.
        context_size: Number of features of c, which every coupling is conditioned on; 0: none.
        num_transformations: Pairs of couplings.
        hidden: Width of a coupling's hidden layer.
    """

    def __init__(
        self,
        latent_size: int,
        *,
        context_size: int = 0,
        num_transformations: int = NUM_TRANSFORMATIONS,
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()
        if latent_size < 2:
            raise ValueError(
                f"a flow couples the two halves of z, so latent_size must be at least 2, not {latent_size}"
            )
        first_half = torch.arange(latent_size) < latent_size // 2
        # From z to the base a transformation is undone: the second half given the first, then the first.
        self.couplings = LazyComposedTransform(
            *(
                _coupling(kept, context_size=context_size, hidden=hidden)
                for kept in (first_half, ~first_half) * num_transformations
            )
        )

    def forward(self, base: Distribution, context: Tensor | None = None) -> FlowDistribution:
        """A base over Float[..., D] and, where there is a context, Float[B, F] to a distribution over Float[..., D]."""
        return FlowDistribution(self.couplings(context), base)


def _coupling(kept: Tensor, *, context_size: int, hidden: int) -> GeneralCouplingTransform:
    """One half moved and scaled, given the half that is kept (Bool[D]) and the context."""
    coupling = GeneralCouplingTransform(
        len(kept),
        context_size,
        kept,
        univariate=partial(MonotonicAffineTransform, slope=math.exp(-LARGEST_LOG_SCALE)),
        hidden_features=(hidden,),
        activation=nn.ELU,
    )
    with torch.no_grad():
        for parameter in coupling.hyper[-1].parameters():
            parameter *= FIRST_WEIGHTS
    return coupling


class ConditionalFlow(Eager):
    """q(z|y): a standard normal through a flow whose couplings are all conditioned on the concept, or its caption.

    Args:
        features: Long[B, A] (-1 where unspecified), or captions, to Float[B, F].
        num_features: F.
        latent_size: D.
    """

    def __init__(self, features: nn.Module, *, num_features: int, latent_size: int) -> None:
        super().__init__()
        self.features, self.latent_size = features, latent_size
        self.flow = RealNVP(latent_size, context_size=num_features)

    def forward(self, concept: Tensor) -> Distribution:
        """Long[B, A], or captions, Long[B, W], to a distribution over Float[B, D]."""
        with _full_precision(concept):
            context = self.features(concept)
        zeros = torch.zeros(*context.shape[:-1], self.latent_size, dtype=context.dtype, device=context.device)
        result: Distribution = self.flow(Independent(Normal(zeros, torch.ones_like(zeros)), 1), context)
        return result


class UnconditionalFlow(Eager):
    """q(z): a standard normal through a flow, for the aggregate of all images.

    Args:
        latent_size: D.
    """

    zeros: Tensor

    def __init__(self, latent_size: int) -> None:
        super().__init__()
        self.register_buffer("zeros", torch.zeros(latent_size), persistent=False)
        self.flow = RealNVP(latent_size)

    def forward(self) -> Distribution:
        """A distribution over Float[D]."""
        result: Distribution = self.flow(Independent(Normal(self.zeros, torch.ones_like(self.zeros)), 1))
        return result


class FlowPosterior(Eager):
    """q(z|x) or q(z|y): the normal of an encoder, pushed through a flow that is the same for all inputs.

    Senellart et al. (2023). Unspecified attributes are treated as the encoder treats them.

    Args:
        encoder: An input to a diagonal normal over Float[B, D].
        latent_size: D.
    """

    def __init__(self, encoder: nn.Module, *, latent_size: int) -> None:
        super().__init__()
        self.encoder, self.flow = encoder, RealNVP(latent_size)

    def forward(self, observed: Tensor) -> Distribution:
        """An image or a concept to a distribution over Float[B, D]."""
        with _full_precision(observed):
            result: Distribution = self.flow(self.encoder(observed))
        return result


class PartialConceptFeatures(nn.Module):
    """Features of a concept for a flow: an embedding for each attribute's value *and for its being unspecified*.

    The embeddings are concatenated; a fully connected layer follows.

    Args:
        schema: The attributes.
        num_features: F.
    """

    unspecified: Tensor

    def __init__(self, schema: Schema, *, num_features: int) -> None:
        super().__init__()
        # The last row of an embedding represents "unspecified".
        self.register_buffer("unspecified", torch.tensor(schema.sizes), persistent=False)
        self.embeddings = nn.ModuleList(nn.Embedding(size + 1, EMBEDDING) for size in schema.sizes)
        self.hidden = mlp((EMBEDDING * len(schema), num_features))

    def forward(self, concept: Tensor) -> Tensor:
        """Long[B, A], -1 where unspecified, to Float[B, F]."""
        rows = torch.where(concept < 0, self.unspecified, concept)
        parts = [embedding(rows[..., k]) for k, embedding in enumerate(self.embeddings)]
        features: Tensor = self.hidden(torch.cat(parts, dim=-1))
        return features


@contextmanager
def _full_precision(like: Tensor) -> Iterator[None]:
    """No autocast inside: in bfloat16 twelve couplings are not inverted accurately."""
    with torch.autocast(like.device.type, enabled=False):
        yield
