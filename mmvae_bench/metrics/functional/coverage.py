"""Coverage and joint divergence: whether images imagined for a concept vary in what it leaves open as the data do.

Both compare the values found in the images with a reference by the Jensen-Shannon divergence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ...concepts import UNSPECIFIED
from .validation import as_distribution, as_queries, as_reference, check_base, check_values, mean_where

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Int


def js_terms(p: Tensor, q: Tensor, base: float = 2.0) -> Tensor:
    """What each value adds to the divergence: f(p, q) = [p log(2p / (p+q)) + q log(2q / (p+q))] / 2, never negative.

    Element by element, unchecked, in the precision of its inputs; nan where an input is nan. The divergence is the sum
    of the terms over values.
    """
    total = p + q
    total = total.masked_fill(total == 0, 1.0)
    terms = torch.xlogy(p, 2 * p / total) + torch.xlogy(q, 2 * q / total)
    return terms.clamp(min=0.0) / (2 * check_base(base))


def js_divergence(
    p: Float[Tensor, "*#rows value"], q: Float[Tensor, "*#rows value"], base: float = 2.0
) -> Float64[Tensor, "*rows"]:
    """Jensen-Shannon divergence along the last axis, in [0, log_base 2].

    JS(p, q) = [KL(p || m) + KL(q || m)] / 2 with m = (p + q) / 2, and 0 log 0 = 0 exactly (Lin 1991, with equal
    weights; the square of the Jensen-Shannon distance).

    Args:
        p: probabilities, summing to 1 along the last axis; leading axes broadcast against those of ``q``.
        q: the same.
        base: of the logarithm: 2 for bits, ``math.e`` for nats.

    Raises:
        ValueError: an input is negative, not normalised or not finite, or the numbers of values differ.

    >>> js_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    tensor(1., dtype=torch.float64)
    """
    p, q = as_distribution(p, "p"), as_distribution(q, "q")
    if p.shape[-1] != q.shape[-1]:
        raise ValueError(f"p has {p.shape[-1]} values and q has {q.shape[-1]}")
    return js_terms(p, q, base).sum(-1)


def value_frequencies(predictions: Tensor, num_values: int) -> Tensor:
    """Long[query, sample] of one attribute -> Float[query, value]; a row of nan if no sample is scored."""
    # -1 equals no value, so samples that are not scored drop out of the count by themselves.
    counts = (predictions.unsqueeze(-1) == torch.arange(num_values, device=predictions.device)).sum(1).double()
    return counts / counts.sum(-1, keepdim=True)


def _checked(predictions: Tensor, concepts: Tensor, reference: Sequence[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
    predictions, concepts = as_queries(predictions, concepts)
    tables = [table.to(predictions.device) for table in as_reference(reference, len(concepts))]
    num_values = [table.shape[-1] for table in tables]
    check_values("predictions", predictions, num_values)
    check_values("concepts", concepts, num_values)
    return predictions, concepts, tables


def _divergences(predictions: Tensor, targets: Sequence[Tensor], base: float) -> Tensor:
    """JS(target_k, q_k) as Float[query, attribute]; nan where an attribute has no scored sample."""
    columns = []
    for k, target in enumerate(targets):
        frequencies = value_frequencies(predictions[..., k], target.shape[-1])
        columns.append(js_terms(target, frequencies, base).sum(-1))
    return torch.stack(columns, -1)


def coverage(
    predictions: Int[Tensor, "query sample attribute"],
    concepts: Int[Tensor, "query attribute"],
    reference: Sequence[Tensor],
    base: float = 2.0,
) -> Float64[Tensor, " query"]:
    """How well the samples of a query cover the values of the attributes that the query leaves open.

    coverage(S, y_O) = mean over attributes k not in O of 1 - JS(p_k, q_k), with q_k the histogram of the predicted
    values over the samples (Vedantam et al. 2018, section 3). Finitely many samples keep a perfect generator below 1:
    see :func:`coverage_reference`.

    Args:
        predictions: the classifier's value of each attribute in each sample; -1 where it is not scored.
        concepts: the value each query specifies; -1 where an attribute is unspecified.
        reference: p_k of each attribute, Float[value], or Float[query, value] where it depends on the query.
        base: of the logarithm: 2 for bits, ``math.e`` for nats, in which a score is at least 1 - log 2 = 0.31.

    Returns:
        A score per query. Samples at -1 are left out of the histogram and an attribute without a scored sample out of
        the mean; nan where that leaves nothing, as where everything is specified.

    Raises:
        ValueError: shapes disagree, a value has no place in the reference, or a reference is no distribution.

    >>> half = torch.tensor([0.5, 0.5])
    >>> coverage(torch.tensor([[[0, 1], [1, 1]]]), torch.tensor([[-1, 1]]), [half, half])
    tensor([1.], dtype=torch.float64)
    """
    predictions, concepts, tables = _checked(predictions, concepts, reference)
    divergences = _divergences(predictions, tables, base)
    return mean_where(1 - divergences, (concepts == UNSPECIFIED) & ~divergences.isnan())


def joint_divergence(
    predictions: Int[Tensor, "query sample attribute"],
    concepts: Int[Tensor, "query attribute"],
    reference: Sequence[Tensor],
    base: float = 2.0,
) -> Float64[Tensor, " query"]:
    """Correctness and coverage in one number, lower is better: the mean over all attributes of JS(target_k, q_k).

    The target of a specified attribute puts everything on the specified value; that of an unspecified one is its
    reference p_k (Vedantam et al. 2018, section 3).

    Args:
        predictions: the classifier's value of each attribute in each sample; -1 where it is not scored.
        concepts: the value each query specifies; -1 where an attribute is unspecified.
        reference: p_k of each attribute, Float[value], or Float[query, value] where it depends on the query.
        base: of the logarithm: 2 for bits, ``math.e`` for nats.

    Returns:
        A divergence per query, in [0, log_base 2]. Samples at -1 and attributes without a scored sample are left out;
        nan where that leaves nothing.

    Raises:
        ValueError: shapes disagree, a value has no place in the reference, or a reference is no distribution.

    >>> half = torch.tensor([0.5, 0.5])
    >>> joint_divergence(torch.tensor([[[0, 0], [1, 0]]]), torch.tensor([[-1, 1]]), [half, half])
    tensor([0.5000], dtype=torch.float64)
    """
    predictions, concepts, tables = _checked(predictions, concepts, reference)
    targets = []
    for k, table in enumerate(tables):
        value = concepts[:, k]
        specified = one_hot(value.clamp(min=0), table.shape[-1]).double()
        targets.append(torch.where((value == UNSPECIFIED).unsqueeze(-1), table, specified))
    divergences = _divergences(predictions, targets, base)
    return mean_where(divergences, ~divergences.isnan())
