"""The protocols: how one set of samples becomes scores. Imports no torch, so that the command line can list them.

``official`` is what the released code of Vedantam et al. (2018) computes, ``paper`` what the paper writes, and
``corrected`` what is right where attributes depend on each other. ``cremer`` is what Cremer and Kushman (2018) compute.
``multivae``, ``mmvaeplus`` and ``mopoe`` are three ways in which released codes compute what they all call coherence.
``attribute2image`` is how Yan et al. (2016) compare samples with the attributes that were asked for.
Other packages add protocols through entry points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..base.catalogue import Catalogue
from ..base.errors import ConfigError, unknown

OFFICIAL_SAMPLES = 10
"""Samples per query that the official protocol scores: the first ones of those drawn."""
Target = Literal["uniform", "marginal", "conditional"]
_Shown = Literal["sample", "mean"]

SMOOTHING = 20.0
"""How many training rows the marginal counts for in p(y_k|y_O): with n matching rows it has weight 20 / (n + 20)."""


@dataclass(frozen=True, kw_only=True)
class ProtocolRule:
    """How samples become scores.

    Attributes:
        name: As in an evaluation spec.
        summary: One line.
        reference: The paper or code that defines it.
        num_samples: How many samples of each query are scored, the first ones; None: all that were drawn.
        target: The distribution with which the values of an unspecified attribute are compared: uniform, the training
            marginal p(y_k), or p(y_k|y_O) in training, smoothed towards the marginal.
        base: Base of the logarithm in the Jensen-Shannon divergence.
        asks: The question that is scored by this protocol: ``three_cs``, about the fixed queries, whose samples all
            protocols share; ``texts``, about the texts of real images; ``coherence``, whose samples the protocols of
            other projects share; or ``similarity``, about the concepts of real images.
        image: What the classifier is shown: a sample of p(x|z), or its mean.
        by_class: Of a coherence: accuracy is averaged over the values of an attribute, and not over images.
        inside: Of a coherence: what is generated may be a part of what is given, and both may be given.
        whole_batches: Of a coherence: of the images only whole batches of this size count; None: all of them.
    """

    name: str
    summary: str
    reference: str
    num_samples: int | None
    target: Target
    base: float
    asks: str = "three_cs"
    image: _Shown = "sample"
    by_class: bool = False
    inside: bool = False
    whole_batches: int | None = None

    def __post_init__(self) -> None:
        """Refuses what would be scored in silence as something else."""
        for name, kind in (("target", Target), ("image", _Shown)):
            value, choices = getattr(self, name), get_args(kind)
            if value not in choices:
                raise ConfigError([unknown(f"{name} of protocol {self.name!r}:", value, choices)])
        if self.num_samples is not None and self.num_samples < 1:
            raise ConfigError(f"protocol {self.name!r}: num_samples must be at least 1 or None, got {self.num_samples}")
        if not self.base > 1:
            raise ConfigError(f"protocol {self.name!r}: base of a logarithm must be above 1, got {self.base}")


def _coherence(name: str, summary: str, reference: str, **rule: Any) -> ProtocolRule:
    """A protocol of coherence: one z per image, decoded to the mean; no reference distribution is involved."""
    return ProtocolRule(
        name=name, summary=f"coherence: {summary}", reference=reference, num_samples=1, target="marginal", base=2.0,
        asks="coherence", image="mean", **rule,
    )  # fmt: skip


_BUILT_IN = (
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
        summary="full texts of real images, one z per text, the mean image: correctness only",
        reference="Cremer and Kushman 2018, table 1 and section 5.4",
        num_samples=1,
        target="marginal",
        base=2.0,
        asks="texts",
        image="mean",
    ),
    _coherence(
        "multivae",
        "accuracy of each value, then their mean; one modality from the other",
        "MultiVae (Senellart, Chadebec and Allassonniere), released code",
        by_class=True,
    ),
    _coherence(
        "mmvaeplus",
        "accuracy over images; one modality from the other",
        "MMVAE+ (Palumbo et al. 2023), released code",
    ),
    _coherence(
        "mopoe",
        "accuracy over whole batches; every modality from every subset, also those that it is in",
        "MoPoE-VAE (Sutter et al. 2021), released code",
        inside=True,
        whole_batches=256,
    ),
    ProtocolRule(
        name="attribute2image",
        summary="concepts of real images, 10 samples each: cosine and squared error of what the classifier reads",
        reference="Yan et al. 2016, Attribute2Image, table 2 and supplement C",
        num_samples=10,
        target="marginal",
        base=2.0,
        asks="similarity",
        image="mean",
    ),
)
PROTOCOLS = tuple(rule.name for rule in _BUILT_IN)
"""Those of this package. All of them, with those of other packages: ``list(PROTOCOL_RULES)``."""
PROTOCOL_RULES: Catalogue[ProtocolRule] = Catalogue(
    "protocol", ProtocolRule, group="mmvae_bench.protocols", built_in=_BUILT_IN
)
"""Every protocol by name."""
