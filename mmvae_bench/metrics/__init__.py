"""The metrics as torchmetrics classes: update with queries, compute the mean over them, exact over processes.

The same scores query by query, with their references, are functions in :mod:`mmvae_bench.metrics.functional`. What
there is to be measured, and under which protocols, is said without torch in :mod:`mmvae_bench.metrics.catalogue` and
:mod:`mmvae_bench.metrics.protocols`; so the names below are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classes import Compositionality as Compositionality
    from .classes import Correctness as Correctness
    from .classes import Coverage as Coverage
    from .classes import JointDivergence as JointDivergence
    from .classes import QueryMean as QueryMean
    from .description import DescriptionAccuracy as DescriptionAccuracy
    from .description import DescriptionScore as DescriptionScore
    from .likelihood import ELBOTerms as ELBOTerms
    from .likelihood import ELBOValues as ELBOValues
    from .likelihood import LogLikelihood as LogLikelihood
    from .likelihood import LogLikelihoodValue as LogLikelihoodValue

_EXPORTS = {
    "Compositionality": ".classes",
    "Correctness": ".classes",
    "Coverage": ".classes",
    "DescriptionAccuracy": ".description",
    "DescriptionScore": ".description",
    "ELBOTerms": ".likelihood",
    "ELBOValues": ".likelihood",
    "JointDivergence": ".classes",
    "LogLikelihood": ".likelihood",
    "LogLikelihoodValue": ".likelihood",
    "QueryMean": ".classes",
}

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


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
