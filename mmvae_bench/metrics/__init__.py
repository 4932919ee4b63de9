"""The metrics as torchmetrics classes: update with queries, compute the mean over them, exact over processes.

The same scores query by query, with their references, are functions in :mod:`mmvae_bench.metrics.functional`.
"""

from __future__ import annotations

from .classes import Compositionality, Correctness, Coverage, JointDivergence, QueryMean
from .description import DescriptionAccuracy, DescriptionScore
from .likelihood import ELBOTerms, ELBOValues, LogLikelihood, LogLikelihoodValue

__all__ = [
    "Compositionality",
    "Correctness",
    "Coverage",
    "DescriptionAccuracy",
    "DescriptionScore",
    "ELBOTerms",
    "ELBOValues",
    "JointDivergence",
    "LogLikelihood",
    "LogLikelihoodValue",
    "QueryMean",
]
