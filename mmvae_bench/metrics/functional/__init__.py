"""The metrics as functions: tensors in, tensors out, one score a query, in float64."""

from __future__ import annotations

from .compositionality import compositionality, satisfied
from .correctness import correctness, correctness_chance
from .coverage import coverage, joint_divergence, value_frequencies
from .description import description_accuracy
from .divergence import js_divergence
from .reference import References, coverage_reference, coverage_reference_per_query, joint_divergence_reference
from .validation import NOT_SCORED

__all__ = [
    "NOT_SCORED",
    "References",
    "compositionality",
    "correctness",
    "correctness_chance",
    "coverage",
    "coverage_reference",
    "coverage_reference_per_query",
    "description_accuracy",
    "joint_divergence",
    "joint_divergence_reference",
    "js_divergence",
    "satisfied",
    "value_frequencies",
]
