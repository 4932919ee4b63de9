"""The metrics as torchmetrics classes: update with queries, compute the mean over them, exact over processes.

The same scores query by query, with their references, are functions in :mod:`mmvae_bench.metrics.functional`.
"""

from __future__ import annotations

from .compositionality import Compositionality
from .correctness import Correctness
from .coverage import Coverage
from .description import DescriptionAccuracy, DescriptionScore
from .joint_divergence import JointDivergence
from .likelihood import ELBOTerms, ELBOValues, LogLikelihood, LogLikelihoodValue
from .query_mean import QueryMean

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
