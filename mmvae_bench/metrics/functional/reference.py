"""What a perfect and a collapsed generator would score: the numbers that every score is read against.

They are expectations, not bounds: a score can lie outside them by noise.
Shapes: a table of an attribute is Float[value], or Float[query, value] where it depends on the query.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ...concepts import UNSPECIFIED
from .coverage import js_terms
from .validation import as_indices, as_reference, as_scored, check_base, check_values, mean_where

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

# Bounds the memory of the expectation: at most this many (probability, count) pairs are held at once.
_PAIRS_AT_ONCE = 2**20


class References(NamedTuple):
    """The expected scores of the two generators that a score is read against."""

    perfect: Tensor
    collapsed: Tensor


def _expected_terms(p: Tensor, shown: Tensor, num_samples: int, base: float) -> Tensor:
    """E[f(p, K / n)] with K ~ Binomial(n, shown), f the term of one value in the divergence, for each element."""
    count = torch.arange(num_samples + 1, dtype=torch.float64, device=p.device)
    rest = num_samples - count
    log_choices = math.lgamma(num_samples + 1) - torch.lgamma(count + 1) - torch.lgamma(rest + 1)
    # Equal probabilities share one expectation: a marginal repeated for every query costs no more than itself.
    both = torch.stack(torch.broadcast_tensors(p, shown), -1)
    distinct, place = both.flatten(0, -2).unique(dim=0, return_inverse=True)
    expected = []
    for part in distinct.unsqueeze(1).split(max(1, _PAIRS_AT_ONCE // (num_samples + 1))):
        target, drawn = part.unbind(-1)
        log_mass = log_choices + torch.xlogy(count, drawn) + torch.special.xlog1py(rest, -drawn)
        expected.append((log_mass.exp() * js_terms(target, count / num_samples, base)).sum(-1))
    return torch.cat(expected)[place].reshape(both.shape[:-1])


def coverage_reference(
    reference: Sequence[Tensor],
    num_samples: int,
    base: float = 2.0,
    *,
    drawn: Sequence[Tensor] | None = None,
    shown: Sequence[Tensor] | None = None,
) -> References:
    """The coverage expected of a perfect and of a collapsed generator, exactly, for each attribute.

    perfect = E[1 - JS(p, N / n)] with N ~ Multinomial(n, p). The divergence is a sum over values and each count alone
    is Binomial(n, p_v), so the expectation is a sum of one-dimensional ones: 1 - sum_v E_{K ~ Bin(n, p_v)} f(p_v, K/n).
    A generator that draws from the truth is perfect only if the reference is the truth: ``shown`` says what it draws
    from where that is not so, N ~ Multinomial(n, shown).
    collapsed = E_{v ~ p}[1 - JS(p, delta_v)]: all samples show one value, drawn from the reference, or from ``drawn``.

    Args:
        reference: p of each attribute, Float[value], or Float[query, value] where it depends on the query.
        num_samples: n, the images imagined for a query.
        base: of the logarithm: 2 for bits, ``math.e`` for nats.
        drawn: what the collapsed generator draws each attribute from, in the same form; None: from the reference.
        shown: what the other one draws each image from, in the same form; None: from the reference.

    Returns:
        (perfect, collapsed), each Float[attribute]; Float[query, attribute] as soon as one attribute depends on the
        query.

    Raises:
        ValueError: a reference is no distribution, or ``num_samples`` is below 1.

    >>> perfect, collapsed = coverage_reference([torch.tensor([0.5, 0.5])], num_samples=1)
    >>> torch.allclose(perfect, collapsed)  # one sample cannot show two values
    True
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    tables = as_reference(reference)
    sources, seen = (tables if each is None else as_reference(each) for each in (drawn, shown))
    _check_sources(tables, sources, "drawn")
    _check_sources(tables, seen, "shown")
    shape = max((table.shape[:-1] for table in (*tables, *sources, *seen)), key=len)
    perfect, collapsed = [], []
    for table, source, each in zip(tables, sources, seen, strict=True):
        deltas = torch.eye(table.shape[-1], dtype=torch.float64, device=table.device)
        one_value = js_terms(table.unsqueeze(-2), deltas, base).sum(-1)
        perfect.append((1 - _expected_terms(table, each, num_samples, base).sum(-1)).expand(shape))
        collapsed.append((1 - (source * one_value).sum(-1)).expand(shape))
    return References(torch.stack(perfect, -1), torch.stack(collapsed, -1))


def _check_sources(tables: Sequence[Tensor], sources: Sequence[Tensor], name: str) -> None:
    """Raise a ValueError unless ``sources`` have the attributes and values of the reference."""
    given, wanted = ([table.shape[-1] for table in each] for each in (sources, tables))
    if given != wanted:
        raise ValueError(f"{name} has attributes with {given} values, the reference with {wanted}")


def _checked(concepts: Tensor, reference: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    concepts = as_indices(concepts, "concepts", "[query, attribute]")
    tables = [table.to(concepts.device) for table in as_reference(reference, len(concepts))]
    check_values("concepts", concepts, [table.shape[-1] for table in tables])
    return concepts, tables


def coverage_reference_per_query(
    concepts: Int[Tensor, "query attribute"],
    reference: Sequence[Tensor],
    num_samples: int,
    base: float = 2.0,
    *,
    drawn: Sequence[Tensor] | None = None,
    shown: Sequence[Tensor] | None = None,
    scored: Bool[Tensor, " attribute"] | None = None,
) -> References:
    """:func:`coverage_reference` for each query: averaged over the scored attributes that it leaves open.

    Args:
        concepts: the value each query specifies; -1 where an attribute is unspecified.
        reference: p of each attribute, Float[value], or Float[query, value] where it depends on the query.
        num_samples: the images imagined for a query.
        base: of the logarithm: 2 for bits, ``math.e`` for nats.
        drawn: what the collapsed generator draws from, and
        shown: the perfect one, in the same form as the reference; None: from the reference.
        scored: the attributes that are scored, where not all are.

    Returns:
        (perfect, collapsed), each Float[query]; nan where nothing that is scored is left open.

    Raises:
        ValueError: shapes disagree, a value has no place in the reference, or a reference is no distribution.
    """
    concepts, tables = _checked(concepts, reference)
    open_ = (concepts == UNSPECIFIED) & as_scored(scored, concepts)
    perfect, collapsed = coverage_reference(tables, num_samples, base, drawn=drawn, shown=shown)
    return References(
        mean_where(perfect.expand(concepts.shape), open_), mean_where(collapsed.expand(concepts.shape), open_)
    )


def joint_divergence_reference(
    concepts: Int[Tensor, "query attribute"],
    reference: Sequence[Tensor],
    num_samples: int,
    base: float = 2.0,
    *,
    drawn: Sequence[Tensor] | None = None,
    shown: Sequence[Tensor] | None = None,
    scored: Bool[Tensor, " attribute"] | None = None,
) -> References:
    """The joint divergence expected of a perfect and of a collapsed generator, exactly, for each query.

    The perfect generator shows every specified value, at divergence 0, and draws the others from the reference, or from
    ``shown`` where the truth is another distribution. The
    collapsed one draws a single concept from d, independently of the query, and shows nothing else: on a specified
    attribute with target y it is right with probability d(y), and otherwise as far off as can be, so
    E JS = (1 - d(y)) log_base 2. On an unspecified one E JS = E_{v ~ d} JS(p, delta_v), 1 minus
    :func:`coverage_reference`. The mean over attributes is the same however d couples them, so their marginals are
    enough. d is the reference unless ``drawn`` says otherwise, as it must where the reference is conditioned on the
    query: a generator that draws from p(y_k | y_O) depends on it.

    Args:
        concepts: the value each query specifies; -1 where an attribute is unspecified.
        reference: p of each attribute, Float[value], or Float[query, value] where it depends on the query.
        num_samples: the images imagined for a query.
        base: of the logarithm: 2 for bits, ``math.e`` for nats.
        drawn: d of each attribute, in the same form as the reference; None: the reference.
        shown: what the perfect generator draws from, in the same form; None: the reference.
        scored: the attributes that are scored, where not all are.

    Returns:
        (perfect, collapsed), each Float[query]; nan where nothing is scored.

    Raises:
        ValueError: shapes disagree, a value has no place in the reference, or a reference is no distribution.
    """
    concepts, tables = _checked(concepts, reference)
    mask = as_scored(scored, concepts).expand(concepts.shape)
    sources = tables if drawn is None else [table.to(concepts.device) for table in as_reference(drawn, len(concepts))]
    perfect, collapsed = (
        1 - score for score in coverage_reference(tables, num_samples, base, drawn=sources, shown=shown)
    )
    specified = concepts != UNSPECIFIED
    chosen = [
        source.expand(len(concepts), -1).gather(1, concepts[:, k : k + 1].clamp(min=0)).squeeze(1)
        for k, source in enumerate(sources)
    ]
    missed = (1 - torch.stack(chosen, -1)) * (math.log(2) / check_base(base))
    return References(
        mean_where(perfect.expand(concepts.shape).masked_fill(specified, 0.0), mask),
        mean_where(torch.where(specified, missed, collapsed), mask),
    )


def deaf_joint_divergence(
    concepts: Int[Tensor, "query attribute"],
    reference: Sequence[Tensor],
    drawn: Sequence[Tensor],
    num_samples: int,
    base: float = 2.0,
    *,
    scored: Bool[Tensor, " attribute"] | None = None,
) -> Tensor:
    """The joint divergence expected of a generator that ignores the query and draws every image anew, exactly.

    Its images vary, so it scores better than one that is collapsed too: E JS(target_k, N / n), N ~ Multinomial(n, d_k),
    mean over the scored attributes; the target of a specified one is its value alone.

    Args:
        concepts: the value each query specifies; -1 where an attribute is unspecified.
        reference: p of each attribute, Float[value], or Float[query, value] where it depends on the query.
        drawn: d of each attribute, Float[value].
        num_samples: the images imagined for a query.
        base: of the logarithm: 2 for bits, ``math.e`` for nats.
        scored: the attributes that are scored, where not all are.

    Returns:
        Float[query]; nan where nothing is scored.

    Raises:
        ValueError: shapes disagree, a value has no place in the reference, or a reference is no distribution.
    """
    concepts, tables = _checked(concepts, reference)
    targets = [
        torch.where(concepts[:, k, None] == UNSPECIFIED, table, one_hot(concepts[:, k].clamp(min=0), table.shape[-1]))
        for k, table in enumerate(tables)
    ]
    divergence = 1 - coverage_reference(targets, num_samples, base, shown=drawn).perfect
    return mean_where(divergence, as_scored(scored, concepts).expand(concepts.shape))
