"""How a number is written: the same in every rendering, with no more digits than its interval supports."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

DASH = "–"
"""What stands where there is no number."""


@dataclass(frozen=True, kw_only=True)
class MetricStyle:
    """How a metric is shown.

    Attributes:
        label: What the rows are called.
        unit: ``%`` for fractions, else the unit of the value.
        direction: 1 where higher is better, -1 where lower is, 0 where neither is.
        headline: Whether it belongs into the short table on the terminal.
        own_rows: Whether its attribute names a question of its own, such as a named query: its rows then stand among
            the scores of all attributes, and not in the table by attribute.
        own_floor: Whether the floor depends on the model, so that objectives may differ in it.
    """

    label: str
    unit: str = "%"
    direction: int = 1
    headline: bool = False
    own_rows: bool = False
    own_floor: bool = False


_STYLES = {
    "correctness": MetricStyle(label="correctness", headline=True),
    "coverage": MetricStyle(label="coverage", headline=True),
    "compositionality": MetricStyle(label="compositionality", headline=True),
    "joint_divergence": MetricStyle(label="joint divergence", direction=-1),
    "description_accuracy": MetricStyle(label="description", headline=True),
    "named_query": MetricStyle(label="named query", headline=True, own_rows=True),
    "named_query_all": MetricStyle(label="named query, all of it", own_rows=True),
    "frequency_unspecified": MetricStyle(label="frequency when open", direction=0, headline=True, own_rows=True),
    "frequency_real": MetricStyle(label="frequency read in real images", direction=0, own_rows=True),
    "correctness_words": MetricStyle(label="correctness, words said"),
    "prior_correctness": MetricStyle(label="prior: image against text", own_floor=True),
    "prior_correctness_flow_prior": MetricStyle(label="q(z) flow: image against text", own_floor=True),
    "prior_correctness_words": MetricStyle(label="prior: image against words said", own_floor=True),
    "prior_correctness_words_flow_prior": MetricStyle(label="q(z) flow: image against words said", own_floor=True),
    "log_px_given_y": MetricStyle(label="log p(x|y)", unit="nats"),
    "log_px": MetricStyle(label="log p(x)", unit="nats"),
    "log_px_flow_prior": MetricStyle(label="log p(x), q(z) flow", unit="nats"),
    "log_py": MetricStyle(label="log p(y)", unit="nats"),
    "log_py_flow_prior": MetricStyle(label="log p(y), q(z) flow", unit="nats"),
    "description_entropy": MetricStyle(label="entropy of p(y_k|z)", unit="nats", direction=0),
    "elbo": MetricStyle(label="ELBO", unit="nats", direction=0),
}


_PER_DIM = "_per_dim"
_DECIMALS = {"nats/dim": 3}


def style_of(metric: str) -> MetricStyle:
    """The style of a metric, known or not: likelihoods and bounds are in nats, everything else is a fraction.

    An ELBO has no better or worse between objectives: they bound and weight different things.
    """
    if metric in _STYLES:
        return _STYLES[metric]
    if metric.endswith(_PER_DIM):
        return replace(style_of(metric.removesuffix(_PER_DIM)), unit="nats/dim")
    if metric.startswith("log_") or "elbo" in metric:
        return MetricStyle(label=metric.replace("_", " "), unit="nats", direction=0 if "elbo" in metric else 1)
    return MetricStyle(label=metric.replace("_", " "))


def metric_order(metric: str) -> tuple[int, str]:
    """The key that sorts metrics into their order on the page."""
    names = list(_STYLES)
    return (names.index(metric) if metric in names else len(names)), metric


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
