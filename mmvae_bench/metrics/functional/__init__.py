"""The metrics as functions: tensors in, tensors out, one score per query, in float64."""

from __future__ import annotations

from .aggregate import AggregateTerms, aggregate_terms, mixture_log_prob, moment_fit
from .confusion import confusion_counts
from .correctness import (
    agreement_by_chance,
    blind_all_correct,
    blind_correctness,
    compositionality,
    correctness,
    correctness_chance,
    description_accuracy,
    description_values,
    satisfied,
)
from .coverage import coverage, joint_divergence, js_divergence, value_frequencies
from .likelihood import elbo_terms, importance_log_weights, log_likelihood_bound, nats_per_dimension
from .reference import (
    References,
    coverage_reference,
    coverage_reference_per_query,
    deaf_joint_divergence,
    joint_divergence_reference,
)
from .strict import all_correct, all_correct_chance, blind_letter_accuracy, letter_accuracy
from .validation import NOT_SCORED

__all__ = [
    "NOT_SCORED",
    "AggregateTerms",
    "References",
    "aggregate_terms",
    "agreement_by_chance",
    "all_correct",
    "all_correct_chance",
    "blind_all_correct",
    "blind_correctness",
    "blind_letter_accuracy",
    "compositionality",
    "confusion_counts",
    "correctness",
    "correctness_chance",
    "coverage",
    "coverage_reference",
    "coverage_reference_per_query",
    "deaf_joint_divergence",
    "description_accuracy",
    "description_values",
    "elbo_terms",
    "importance_log_weights",
    "joint_divergence",
    "joint_divergence_reference",
    "js_divergence",
    "letter_accuracy",
    "log_likelihood_bound",
    "mixture_log_prob",
    "moment_fit",
    "nats_per_dimension",
    "satisfied",
    "value_frequencies",
]
