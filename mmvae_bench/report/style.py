"""How a number is written: the same in every rendering, with no more digits than its interval supports."""

from __future__ import annotations

import math

DASH = "–"
"""What stands where there is no number."""


_DECIMALS = {"nats/dim": 3}


def number(value: float, unit: str = "%") -> str:
    """One decimal, of a percent or of a nat, three of nats a dimension; a dash where there is no number.

    >>> number(0.91149), number(-0.0001), number(float("nan")), number(-112.25, "nats")
    ('91.1', '0.0', '–', '-112.2')
    """
    if not math.isfinite(value):
        return DASH
    text = f"{100 * value if unit == '%' else value:.{_DECIMALS.get(unit, 1)}f}"
    return text.removeprefix("-") if not float(text) else text


def half_width(value: float, low: float, high: float) -> float:
    """The longer arm of an interval: what stands after ±, so that value ± arm covers the interval."""
    return max(high - value, value - low)


def with_interval(value: float, low: float, high: float, unit: str = "%") -> str:
    """A value and the longer arm of its interval.

    >>> with_interval(0.911, 0.906, 0.915), with_interval(0.911, float("nan"), float("nan"))
    ('91.1 ±0.5', '91.1')
    """
    arm = number(half_width(value, low, high), unit)
    return number(value, unit) if DASH in (arm, number(value, unit)) else f"{number(value, unit)} ±{arm}"


def with_bounds(value: float, low: float, high: float, unit: str = "%") -> str:
    """A difference and both ends of its interval.

    >>> with_bounds(0.02, -0.001, 0.041)
    '+2.0 [-0.1, +4.1]'
    """
    if not math.isfinite(value):
        return DASH
    ends = [_signed(number(end, unit)) for end in (value, low, high)]
    return ends[0] if DASH in ends else f"{ends[0]} [{ends[1]}, {ends[2]}]"


def _signed(text: str) -> str:
    return text if text in (DASH, "0.0") or text.startswith("-") else f"+{text}"
