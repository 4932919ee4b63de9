"""What the numbers mean, in a paragraph each."""

from __future__ import annotations

from collections.abc import Collection

from ..evaluation.protocols import PROTOCOL_RULES
from ..specs.trial import PROTOCOLS
from .style import metric_order, style_of

_METRICS = {
    "correctness": (
        "The share of specified attributes that the observation classifier finds in the imagined images. The ceiling "
        "is the classifier's accuracy on real images of the same concepts: a reference, not a bound, since clear "
        "prototypes can please a judge more than real images do. The floor is chance."
    ),
    "coverage": (
        "How widely the attributes that were left unspecified vary: one minus the Jensen–Shannon divergence between "
        "the values found in the images of a query and the reference distribution, mean over those attributes. The "
        "ceiling is the expected score of a perfect generator that draws as many samples, which falls short of 100 % "
        "because a finite sample never matches its distribution. The floor is that of a generator collapsed to one "
        "value drawn from the reference."
    ),
    "joint_divergence": (
        "The Jensen–Shannon divergence over all attributes, where the target of a specified one is that value alone: "
        "correctness and coverage in one number, in hundredths of a bit (of a nat under official). Lower is better, so "
        "the ceiling, a perfect generator's score, is the smaller of the two references."
    ),
    "compositionality": (
        "Correctness on the concepts that differ from every concept seen in training: whether known attributes can be "
        "put together in a new way. Ceiling and floor are those of correctness on the same concepts."
    ),
    "description_accuracy": (
        "The way back: how often the model names the attributes of a held-out real image rightly. No classifier takes "
        "part in it. The floor is to name each attribute's most frequent value always. An objective without a "
        "posterior given the image alone has no such score."
    ),
    "named_query": (
        "One concept that the dataset names, such as a rare combination: the share of its specified attributes that "
        "the classifier finds in the images imagined for it. The interval is over those images, as there is one "
        "concept: it says nothing of other concepts. The ceiling is the classifier's on held-out real images of the "
        "concept, where there are any; the floor is chance."
    ),
    "named_query_all": "Of the same images, the share in which every specified attribute is found.",
    "frequency_unspecified": (
        "How often an attribute appears in the images of all queries that leave it open. Neither high nor low is good: "
        "the ceiling is its frequency in training, which a perfect generator has too, as far as the classifier reads "
        "it rightly. There is no floor, and the objectives are not ranked."
    ),
    "frequency_real": (
        "How often the classifier sees the attribute in held-out real images, and in the column of the ceiling how "
        "often it is there: what the classifier's own errors add to or take from the frequency above."
    ),
    "log_px_given_y": (
        "A lower bound of log p(x|y) on held-out images, in nats, with one z from q(z|x) (Cremer and Kushman 2018, Eq. "
        "6): a q(z|y) that leaves out a part of the images of a text pays for it here. No training weight counts in "
        "any of the likelihoods. The bounds of different objectives differ in how tight they are, too."
    ),
    "log_px": (
        "An importance-weighted lower bound of log p(x), z from q(z|x); with the flow, q(z) takes the place of p(z). "
        "The proposals and the number of samples stand in result.json. Densities of pixels in [0, 1] may be above one."
    ),
    "log_py": (
        "An importance-weighted lower bound of log p(y), z from q(z|y), so looser where q(z|y) is far from p(z|y)."
    ),
    "prior_correctness": (
        "One z from the prior, or from the flow q(z) in its place: the share of the attributes of a text sampled from "
        "p(y|z) that the classifier finds in the mean of p(x|z). The floor is the base rate, each text with the images "
        "of the other z: it is each model's own."
    ),
    "correctness_words": (
        "Correctness of what a caption says alone: on CelebA the attributes that are present, and Male or Female. "
        "Absences, of which most of a concept consists, do not count."
    ),
    "description_entropy": (
        "How uncertain p(y_k|z) leaves an attribute, in nats, at the z that training infers: near zero where the "
        "latent holds the text itself, as with inference from image and text together."
    ),
    "elbo": (
        "Minus the training loss on held-out images, in nats per image. Every objective has its own loss, with its own "
        "weights, so this compares settings and seeds of one objective, never two objectives: it is not ranked."
    ),
}


def explain_metrics(metrics: Collection[str]) -> list[tuple[str, str]]:
    """(label, paragraph) of each of the metrics that has one."""
    names = sorted(set(metrics) & set(_METRICS), key=metric_order)
    return [(style_of(name).label, _METRICS[name]) for name in names]


def explain_protocols(protocols: Collection[str]) -> list[tuple[str, str]]:
    """(name, sentence) of each of the protocols that has one."""
    rules = [PROTOCOL_RULES[name] for name in PROTOCOLS if name in protocols]
    return [(rule.name, f"{rule.summary[:1].upper()}{rule.summary[1:]} ({rule.reference}).") for rule in rules]
