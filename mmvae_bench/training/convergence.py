"""How far from convergence a run stopped: the slope of the validation ELBO at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..base.statistics import slope

FLAT = 0.01
"""A relative change of the ELBO below this is called flat."""


@dataclass(frozen=True)
class Convergence:
    """The end of a validation curve.

    Attributes:
        slope_per_1000_steps: Nats per image that the validation ELBO gains in 1,000 steps, by least squares over the
            last third of the curve.
        standard_error: Of that slope.
        last_elbo: The last value, nats per image.
        stage: The stage of the curve: the last one.
        verdict: ``rising`` or ``falling`` (overfitting, or an unstable loss): the slope is more than two standard
            errors from zero. ``flat``: over as many more steps as the slope was measured over, the ELBO would change by
            less than one percent. ``unclear``: neither.
    """

    slope_per_1000_steps: float
    standard_error: float
    last_elbo: float
    verdict: str
    stage: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; not-a-number becomes null."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in vars(self).items()
        }


def convergence(steps: Sequence[int], elbos: Sequence[float], *, stage: str | None = None) -> Convergence:
    """Judges the last third of a validation curve, at least three points of it.

    >>> convergence([1000, 2000, 3000, 4000], [-9.0, -6.0, -5.0, -4.0]).slope_per_1000_steps
    1.0
    """
    if len(steps) < 3:
        last = elbos[-1] if elbos else math.nan
        return Convergence(math.nan, math.nan, last, "unknown: fewer than three validations", stage)
    tail = max(3, math.ceil(len(steps) / 3))
    per_step, error = slope(steps[-tail:], elbos[-tail:])
    span = steps[-1] - steps[-tail]
    if (abs(per_step) + 2 * error) * span <= FLAT * abs(elbos[-1]):
        verdict = "flat"
    elif abs(per_step) > 2 * error:
        verdict = "rising" if per_step > 0 else "falling"
    else:
        verdict = "unclear"
    return Convergence(1000 * per_step, 1000 * error, elbos[-1], verdict, stage)
