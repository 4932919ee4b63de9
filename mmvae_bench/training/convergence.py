"""How far from convergence a run stopped: the trend of the validation ELBO at the end of each stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..base.statistics import trend_at_end

FLAT_NATS = 1.0
"""A change of the ELBO below this many nats per image is called flat. Published objectives are 11 to 24 nats apart."""


@dataclass(frozen=True)
class Convergence:
    """The end of a validation curve.

    Attributes:
        slope_per_1000_steps: Nats per image that the validation ELBO gains in 1,000 steps, by least squares over the
            last third of the curve.
        standard_error: Of that slope, allowing for autocorrelation.
        ci_low: Lower end of the slope's 95 % interval.
        ci_high: Upper end.
        gain: Nats per image that as many more steps as the slope was measured over would bring, if it stayed the same.
        last_elbo: The last value, nats per image.
        stage: The stage of the curve.
        verdict: ``flat``: the whole interval of the gain is within one nat. ``rising`` or ``falling`` (overfitting, or
            an unstable loss): it is on one side of zero. ``unclear``: neither. On noise around a constant, rising or
            falling is said in 5 % of the cases, and in up to 14 % where neighbouring validations have a correlation of
            0.8 (``docs/statistics.md``).
    """

    slope_per_1000_steps: float
    standard_error: float
    last_elbo: float
    verdict: str
    stage: str | None = None
    ci_low: float = math.nan
    ci_high: float = math.nan
    gain: float = math.nan

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
    line, span = trend_at_end(steps, elbos)
    if span * max(abs(line.low), abs(line.high)) <= FLAT_NATS:
        verdict = "flat"
    elif line.low > 0 or line.high < 0:
        verdict = "rising" if line.slope > 0 else "falling"
    else:
        verdict = "unclear"
    return Convergence(
        slope_per_1000_steps=1000 * line.slope,
        standard_error=1000 * line.standard_error,
        last_elbo=elbos[-1],
        verdict=verdict,
        stage=stage,
        ci_low=1000 * line.low,
        ci_high=1000 * line.high,
        gain=span * line.slope,
    )


def by_stage(history: Sequence[Mapping[str, Any]]) -> list[Convergence]:
    """One verdict per stage, in order: each has its own loss.

    Args:
        history: The validations, each with ``stage``, ``step`` and ``elbo``.
    """
    stages = dict.fromkeys(record["stage"] for record in history)
    curves = {stage: [record for record in history if record["stage"] == stage] for stage in stages}
    return [
        convergence([record["step"] for record in curve], [record["elbo"] for record in curve], stage=stage)
        for stage, curve in curves.items()
    ]
