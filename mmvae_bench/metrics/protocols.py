"""The protocols: how one set of samples becomes scores. Free of torch: the command line lists them.

``official`` is what the released code of Vedantam et al. (2018) computes, ``paper`` what the paper writes, and
``corrected`` what is right where attributes depend on each other. ``cremer`` is what Cremer and Kushman (2018) compute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Protocol = Literal["official", "paper", "corrected", "cremer"]
PROTOCOLS: tuple[Protocol, ...] = ("official", "paper", "corrected", "cremer")
"""All of them."""
OFFICIAL_SAMPLES = 10
"""Samples a query that the official protocol scores: the first ones of those drawn."""
Target = Literal["uniform", "marginal", "conditional"]

SMOOTHING = 20.0
"""Training rows that the marginal counts for in p(y_k|y_O): with n matching rows it has weight 20 / (n + 20)."""


@dataclass(frozen=True, kw_only=True)
class ProtocolRule:
    """A way from samples to scores.

    Attributes:
        name: As in an evaluation spec.
        summary: One line.
        reference: Where it is written.
        num_samples: The first so many samples of each query count; None: all that were drawn.
        target: The distribution that the values of an unspecified attribute are held against: uniform, the training
            marginal p(y_k), or p(y_k|y_O) in training, smoothed towards the marginal.
        base: Of the logarithm in the Jensen-Shannon divergence.
        asks: What is imagined: the fixed queries, shared by the protocols that ask them, or the texts of real images.
        image: What the classifier is shown: a sample of p(x|z), or its mean.
    """

    name: Protocol
    summary: str
    reference: str
    num_samples: int | None
    target: Target
    base: float
    asks: Literal["queries", "texts"] = "queries"
    image: Literal["sample", "mean"] = "sample"


_RULES = (
    ProtocolRule(
        name="official",
        summary="10 samples, uniform reference, nats: comparable with the published table",
        reference="Vedantam et al. 2018, released code (google/joint_vae at 984f456)",
        num_samples=OFFICIAL_SAMPLES,
        target="uniform",
        base=math.e,
    ),
    ProtocolRule(
        name="paper",
        summary="all samples, training marginal as reference, bits",
        reference="Vedantam et al. 2018, section 3",
        num_samples=None,
        target="marginal",
        base=2.0,
    ),
    ProtocolRule(
        name="corrected",
        summary="all samples, training p(y_k | y_O) as reference, bits: fair where attributes depend on each other",
        reference="this project",
        num_samples=None,
        target="conditional",
        base=2.0,
    ),
    ProtocolRule(
        name="cremer",
        summary="the texts of real images in full, one z a text, the mean image: correctness alone",
        reference="Cremer and Kushman 2018, table 1 and section 5.4",
        num_samples=1,
        target="marginal",
        base=2.0,
        asks="texts",
        image="mean",
    ),
)
PROTOCOL_RULES: Mapping[Protocol, ProtocolRule] = {rule.name: rule for rule in _RULES}
assert tuple(PROTOCOL_RULES) == PROTOCOLS
