"""The catalogue of metrics: what each is called, its unit, which way is better, and what it means. Imports no torch.

Evaluation, report and listing read it. Other packages add metrics through entry points; a metric that is not in the
catalogue is shown under its own name. The entries are in :mod:`mmvae_bench.metrics.entries`.
"""

from __future__ import annotations

from dataclasses import replace

from ..base.catalogue import Catalogue
from .entries import captions, coherence, graphs, imagination, labels, latents, likelihoods, pictures, samples
from .info import MetricInfo as MetricInfo

_PLACED = (
    *imagination.IMAGINATION, *captions.STRICT, *likelihoods.LIKELIHOODS, *labels.LABELS, *coherence.COHERENCE,
    *latents.LATENTS, *imagination.ABLATIONS, *pictures.PICTURES, *pictures.LAYERS, *samples.SIMILARITIES,
    *samples.DISTANCES, *samples.NEIGHBOURS, *captions.WORDS, *graphs.GRAPHS, *graphs.PAPERS,
)  # fmt: skip
"""In the order of a report."""
_UNPLACED = (imagination.CLASSIFIER, *likelihoods.ELBO_TERMS, *likelihoods.PER_DIMENSION)

MEAN_IMAGES = "_mean_images"
"""Suffix of the name of a metric that is scored on means of p(x|z), and not on samples."""

METRICS: Catalogue[MetricInfo] = Catalogue(
    "metric",
    MetricInfo,
    group="mmvae_bench.metrics",
    built_in=(*(replace(metric, order=order) for order, metric in enumerate(_PLACED)), *_UNPLACED),
)
"""Every metric by name."""


def metric_info(name: str) -> MetricInfo:
    """What is known about a metric, in the catalogue or not: likelihoods and ELBOs are in nats, all others are
    fractions. Scored on mean images a metric is what it is otherwise, in rows of its own.

    Neither direction of an ELBO is better between objectives: they bound and weight different things.
    """
    known = METRICS.find(name)
    if known is not None:
        return known
    if name.endswith(MEAN_IMAGES):
        whole = metric_info(name.removesuffix(MEAN_IMAGES))
        return replace(whole, name=name, label=f"{whole.label}, mean images", explanation="")
    label = name.replace("_", " ")
    if name.startswith("log_") or "elbo" in name:
        return MetricInfo(name=name, label=label, unit="nats", direction=0 if "elbo" in name else 1)
    return MetricInfo(name=name, label=label)


def is_guessed(name: str) -> bool:
    """Whether unit and direction of a metric are a guess: no installed package describes it, or the one that does is
    broken."""
    return METRICS.find(name.removesuffix(MEAN_IMAGES)) is None


def metric_order(name: str) -> tuple[int, str]:
    """The key that sorts metrics into the order of a report."""
    return metric_info(name).order, name
