"""The catalogue of metrics: what each is called, its unit, which way is better, and what it means. Free of torch.

Evaluation, report and listing read it; a metric that is not in it is shown under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """What is known of a metric besides its values.

    Attributes:
        name: As in ``results.parquet``.
        label: What its rows are called.
        unit: ``%`` for fractions, else the unit of the value.
        direction: 1 where higher is better, -1 where lower is, 0 where neither is.
        headline: Whether it belongs into the short table on the terminal.
        own_rows: Whether its attribute names a question of its own, such as a named query: its rows then stand among
            the scores of all attributes, and not in the table by attribute.
        own_floor: Whether the floor depends on the model, so that objectives may differ in it.
        explanation: A paragraph for readers of a report; empty: none.
    """

    name: str
    label: str
    unit: str = "%"
    direction: int = 1
    headline: bool = False
    own_rows: bool = False
    own_floor: bool = False
    explanation: str = ""


_BUILT_IN = (
    MetricInfo(
        name="correctness",
        label="correctness",
        headline=True,
        explanation=(
            "The share of specified attributes that the observation classifier finds in the imagined images. The "
            "ceiling is the classifier's accuracy on real images of the same concepts: a reference, not a bound, since "
            "clear prototypes can please a judge more than real images do. The floor is chance."
        ),
    ),
    MetricInfo(
        name="coverage",
        label="coverage",
        headline=True,
        explanation=(
            "How widely the attributes that were left unspecified vary: one minus the Jensen–Shannon divergence "
            "between the values found in the images of a query and the reference distribution, mean over those "
            "attributes. The ceiling is the expected score of a perfect generator that draws as many samples, which "
            "falls short of 100 % because a finite sample never matches its distribution. The floor is that of a "
            "generator collapsed to one value drawn from the reference."
        ),
    ),
    MetricInfo(
        name="compositionality",
        label="compositionality",
        headline=True,
        explanation=(
            "Correctness on the concepts that differ from every concept seen in training: whether known attributes can "
            "be put together in a new way. Ceiling and floor are those of correctness on the same concepts."
        ),
    ),
    MetricInfo(
        name="joint_divergence",
        label="joint divergence",
        direction=-1,
        explanation=(
            "The Jensen–Shannon divergence over all attributes, where the target of a specified one is that value "
            "alone: correctness and coverage in one number, in hundredths of a bit (of a nat under official). Lower is "
            "better, so the ceiling, a perfect generator's score, is the smaller of the two references."
        ),
    ),
    MetricInfo(
        name="description_accuracy",
        label="description",
        headline=True,
        explanation=(
            "The way back: how often the model names the attributes of a held-out real image rightly. No classifier "
            "takes part in it. The floor is to name each attribute's most frequent value always. An objective without "
            "a posterior given the image alone has no such score."
        ),
    ),
    MetricInfo(
        name="named_query",
        label="named query",
        headline=True,
        own_rows=True,
        explanation=(
            "One concept that the dataset names, such as a rare combination: the share of its specified attributes "
            "that the classifier finds in the images imagined for it. The interval is over those images, as there is "
            "one concept: it says nothing of other concepts. The ceiling is the classifier's on held-out real images "
            "of the concept, where there are any; the floor is chance."
        ),
    ),
    MetricInfo(
        name="named_query_all",
        label="named query, all of it",
        own_rows=True,
        explanation="Of the same images, the share in which every specified attribute is found.",
    ),
    MetricInfo(
        name="frequency_unspecified",
        label="frequency when open",
        direction=0,
        headline=True,
        own_rows=True,
        explanation=(
            "How often an attribute appears in the images of all queries that leave it open. Neither high nor low is "
            "good: the ceiling is its frequency in training, which a perfect generator has too, as far as the "
            "classifier reads it rightly. There is no floor, and the objectives are not ranked."
        ),
    ),
    MetricInfo(
        name="frequency_real",
        label="frequency read in real images",
        direction=0,
        own_rows=True,
        explanation=(
            "How often the classifier sees the attribute in held-out real images, and in the column of the ceiling how "
            "often it is there: what the classifier's own errors add to or take from the frequency above."
        ),
    ),
    MetricInfo(
        name="correctness_words",
        label="correctness, words said",
        explanation=(
            "Correctness of what a caption says alone: on CelebA the attributes that are present, and Male or Female. "
            "Absences, of which most of a concept consists, do not count."
        ),
    ),
    MetricInfo(
        name="prior_correctness",
        label="prior: image against text",
        own_floor=True,
        explanation=(
            "One z from the prior, or from the flow q(z) in its place: the share of the attributes of a text sampled "
            "from p(y|z) that the classifier finds in the mean of p(x|z). The floor is the base rate, each text with "
            "the images of the other z: it is each model's own."
        ),
    ),
    MetricInfo(
        name="prior_correctness_flow_prior",
        label="q(z) flow: image against text",
        own_floor=True,
    ),
    MetricInfo(
        name="prior_correctness_words",
        label="prior: image against words said",
        own_floor=True,
    ),
    MetricInfo(
        name="prior_correctness_words_flow_prior",
        label="q(z) flow: image against words said",
        own_floor=True,
    ),
    MetricInfo(
        name="log_px_given_y",
        label="log p(x|y)",
        unit="nats",
        explanation=(
            "A lower bound of log p(x|y) on held-out images, in nats, with one z from q(z|x) (Cremer and Kushman 2018, "
            "Eq. 6): a q(z|y) that leaves out a part of the images of a text pays for it here. No training weight "
            "counts in any of the likelihoods. The bounds of different objectives differ in how tight they are, too."
        ),
    ),
    MetricInfo(
        name="log_px",
        label="log p(x)",
        unit="nats",
        explanation=(
            "An importance-weighted lower bound of log p(x), z from q(z|x); with the flow, q(z) takes the place of "
            "p(z). The proposals and the number of samples stand in result.json. Densities of pixels in [0, 1] may be "
            "above one."
        ),
    ),
    MetricInfo(
        name="log_px_flow_prior",
        label="log p(x), q(z) flow",
        unit="nats",
    ),
    MetricInfo(
        name="log_py",
        label="log p(y)",
        unit="nats",
        explanation=(
            "An importance-weighted lower bound of log p(y), z from q(z|y), so looser where q(z|y) is far from p(z|y)."
        ),
    ),
    MetricInfo(
        name="log_py_flow_prior",
        label="log p(y), q(z) flow",
        unit="nats",
    ),
    MetricInfo(
        name="description_entropy",
        label="entropy of p(y_k|z)",
        unit="nats",
        direction=0,
        explanation=(
            "How uncertain p(y_k|z) leaves an attribute, in nats, at the z that training infers: near zero where the "
            "latent holds the text itself, as with inference from image and text together."
        ),
    ),
    MetricInfo(
        name="elbo",
        label="ELBO",
        unit="nats",
        direction=0,
        explanation=(
            "Minus the training loss on held-out images, in nats per image. Every objective has its own loss, with its "
            "own weights, so this compares settings and seeds of one objective, never two objectives: it is not "
            "ranked."
        ),
    ),
)
METRICS: Mapping[str, MetricInfo] = {metric.name: metric for metric in _BUILT_IN}
"""Every metric of this package by name, in their order on the page."""

_PER_DIM = "_per_dim"


def metric_info(name: str) -> MetricInfo:
    """What is known of a metric, in the catalogue or not: likelihoods and bounds are in nats, all else is a fraction.

    An ELBO has no better or worse between objectives: they bound and weight different things.
    """
    if name in METRICS:
        return METRICS[name]
    if name.endswith(_PER_DIM):
        return replace(metric_info(name.removesuffix(_PER_DIM)), name=name, unit="nats/dim", explanation="")
    label = name.replace("_", " ")
    if name.startswith("log_") or "elbo" in name:
        return MetricInfo(name=name, label=label, unit="nats", direction=0 if "elbo" in name else 1)
    return MetricInfo(name=name, label=label)


def metric_order(name: str) -> tuple[int, str]:
    """The key that sorts metrics into their order on the page."""
    names = list(METRICS)
    return (names.index(name) if name in names else len(names)), name
