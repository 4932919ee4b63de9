"""The metrics as functions: tensors in, tensors out, one score a query, in float64."""

from __future__ import annotations

from .agreement import agreement_by_chance
from .compositionality import compositionality, satisfied
from .correctness import correctness, correctness_chance
from .coverage import coverage, joint_divergence, value_frequencies
from .description import description_accuracy
from .divergence import js_divergence
from .likelihood import elbo_terms, importance_log_weights, log_likelihood_bound, nats_per_dimension
from .reference import References, coverage_reference, coverage_reference_per_query, joint_divergence_reference
from .validation import NOT_SCORED

__all__ = [
    "NOT_SCORED",
    "References",
    "agreement_by_chance",
    "compositionality",
    "correctness",
    "correctness_chance",
    "coverage",
    "coverage_reference",
    "coverage_reference_per_query",
    "description_accuracy",
    "elbo_terms",
    "importance_log_weights",
    "joint_divergence",
    "joint_divergence_reference",
    "js_divergence",
    "log_likelihood_bound",
    "nats_per_dimension",
    "satisfied",
    "value_frequencies",
]
