"""Checks of the metrics' inputs: shapes, value ranges and distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...concepts import UNSPECIFIED

NOT_SCORED = -1
"""A prediction that no score counts, such as the relation of a Two-Object caption."""

SUM_TOLERANCE = 1e-5
"""How far from 1 the sum of a distribution may be: room for tables in single precision, not for counts."""


def as_indices(values: Tensor, name: str, shape: str) -> Tensor:
    """Value indices as int64, or a ValueError that names the argument and the shape it must have."""
    if not isinstance(values, Tensor):
        raise ValueError(f"{name} must be an integer tensor {shape}, got a {type(values).__name__}")
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"{name} must be an integer tensor {shape}, got one of {values.dtype}")
    if values.ndim != shape.count(",") + 1:
        raise ValueError(f"{name} must have the shape {shape}, got {tuple(values.shape)}")
    indices = values.long()
    if indices.numel() and int(indices.min()) < UNSPECIFIED:
        raise ValueError(
            f"{name} contains {int(indices.min())}: value indices are 0, 1, ..., or {UNSPECIFIED} for none"
        )
    return indices


def as_queries(predictions: Tensor, concepts: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions Long[query, sample, attribute] and the concepts Long[query, attribute] that they belong to."""
    predictions = as_indices(predictions, "predictions", "[query, sample, attribute]")
    concepts = as_indices(concepts, "concepts", "[query, attribute]")
    if predictions.shape[::2] != concepts.shape:
        raise ValueError(
            "predictions [query, sample, attribute] and concepts [query, attribute] disagree: "
            f"got {tuple(predictions.shape)} and {tuple(concepts.shape)}"
        )
    return predictions, concepts.to(predictions.device)


def as_distribution(p: Tensor, name: str) -> Tensor:
    """Probabilities along the last axis in float64, or a ValueError. Single-precision rounding of the sum is undone."""
    if not isinstance(p, Tensor) or not p.is_floating_point() or p.ndim == 0:
        given = f"{p.dtype}{list(p.shape)}" if isinstance(p, Tensor) else type(p).__name__
        raise ValueError(f"{name} must be a floating-point tensor of probabilities along its last axis, got {given}")
    p = p.double()
    if not bool(torch.isfinite(p).all()):
        raise ValueError(f"{name} contains a value that is not finite")
    if bool((p < 0).any()):
        raise ValueError(f"{name} contains a negative probability: {float(p.min()):g}")
    total = p.sum(-1, keepdim=True)
    far = (total - 1).abs() > SUM_TOLERANCE
    if bool(far.any()):
        raise ValueError(f"{name} is not normalised: it sums to {float(total[far][0]):g} along the last axis, not to 1")
    return p / total


def as_reference(reference: Sequence[Tensor], num_queries: int | None = None) -> list[Tensor]:
    """For each attribute its reference Float[value], or Float[query, value] where it depends on the query."""
    tables = [as_distribution(table, f"reference of attribute {k}") for k, table in enumerate(reference)]
    if not tables:
        raise ValueError("the reference has no attributes")
    if num_queries is None:
        num_queries = next((len(table) for table in tables if table.ndim == 2), None)
    for k, table in enumerate(tables):
        if table.ndim > 2 or (table.ndim == 2 and len(table) != num_queries):
            queries = "" if num_queries is None else f" with {num_queries} queries"
            raise ValueError(
                f"reference of attribute {k} must have the shape [value] or [query, value]{queries}, "
                f"got {tuple(table.shape)}"
            )
    return tables


def check_values(name: str, indices: Tensor, num_values: Sequence[int]) -> None:
    """Raise a ValueError that names the first attribute along the last axis with an index beyond its values."""
    if indices.shape[-1] != len(num_values):
        raise ValueError(f"{name} has {indices.shape[-1]} attributes, the reference has {len(num_values)}")
    if not indices.numel():
        return
    for k, (largest, number) in enumerate(zip(indices.flatten(0, -2).amax(0).tolist(), num_values, strict=True)):
        if largest >= number:
            raise ValueError(f"{name} contains value {largest} of attribute {k}, whose reference has {number} values")


def check_base(base: float) -> float:
    """The natural logarithm of the base: dividing by it turns nats into the requested unit."""
    if not (math.isfinite(base) and base > 1):
        raise ValueError(f"base must be a number above 1 (2 for bits, math.e for nats), got {base}")
    return math.log(base)


def as_scored(scored: Tensor | None, concepts: Tensor) -> Tensor:
    """Bool[attribute]: the attributes that are scored, by default all of them."""
    num_attributes = concepts.shape[-1]
    if scored is None:
        return torch.ones(num_attributes, dtype=torch.bool, device=concepts.device)
    if scored.dtype != torch.bool or scored.shape != (num_attributes,):
        raise ValueError(
            f"scored must be a boolean tensor with {num_attributes} attributes, got {scored.dtype}{list(scored.shape)}"
        )
    return scored.to(concepts.device)


def mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over the last axis of the values under the mask; nan if the mask is empty."""
    return values.masked_fill(~mask, 0.0).sum(-1) / mask.sum(-1)
