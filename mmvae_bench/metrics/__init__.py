"""The metrics as torchmetrics classes: update with queries, compute the mean over them, exact over processes.

The same scores query by query, with their references, are functions in :mod:`mmvae_bench.metrics.functional`. Which
metrics and protocols there are is listed without torch in :mod:`mmvae_bench.metrics.catalogue` and
:mod:`mmvae_bench.metrics.protocols`, so the classes below are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classes import Compositionality as Compositionality
    from .classes import Correctness as Correctness
    from .classes import Coverage as Coverage
    from .classes import JointDivergence as JointDivergence
    from .classes import QueryMean as QueryMean

__all__ = ["Compositionality", "Correctness", "Coverage", "JointDivergence", "QueryMean"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import classes

        return getattr(classes, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
