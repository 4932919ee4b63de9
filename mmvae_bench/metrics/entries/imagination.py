"""Images that are imagined for a concept, and what a real image is described as."""

from __future__ import annotations

from dataclasses import replace

from ..info import CREMER, FLOW, PROJECT, MetricInfo

_VEDANTAM = "Vedantam et al. 2018, section 3"

IMAGINATION = (
    MetricInfo(
        name="correctness",
        label="correctness",
        summary="share of the specified attributes that imagined images show",
        reference=_VEDANTAM,
        needs=("q(z|y)", "p(x|z)"),
        headline=True,
        explanation=(
            "The share of specified attributes that the observation classifier finds in the imagined images. The "
            "ceiling is the classifier's accuracy on real images of the same concepts: a reference, not a bound, since "
            "the classifier can read clear prototypes better than real images. The floor is what a generator that "
            "ignores the query would score: real images of training concepts, drawn without regard to it, as the "
            "classifier reads them. One image of the most frequent values scores more where attributes are rare."
        ),
    ),
    MetricInfo(
        name="coverage",
        label="coverage",
        summary="how widely unspecified attributes vary in imagined images",
        divergence=True,
        reference=_VEDANTAM,
        needs=("q(z|y)", "p(x|z)"),
        headline=True,
        explanation=(
            "How widely the attributes that were left unspecified vary: one minus the Jensen–Shannon divergence "
            "between the values found in the images of a query and the reference distribution, mean over those "
            "attributes. The ceiling is the expected score of an exact conditional generator, which draws as many "
            "samples from the training images that satisfy the query: under a reference that ignores how attributes "
            "depend on each other even that one falls short, and one that ignores the query can score more. Where "
            "no training image satisfies a query, as on comp, it draws each attribute as often as training has it. The "
            "floor is that of a generator which shows one training concept, drawn without regard to the query. Both "
            "are read without error: the classifier's errors are in the score alone."
        ),
    ),
    MetricInfo(
        name="compositionality",
        label="compositionality",
        summary="correctness on concepts never seen in training",
        reference=_VEDANTAM,
        needs=("q(z|y)", "p(x|z)"),
        headline=True,
        explanation=(
            "Correctness on the concepts that differ from every concept seen in training: whether known attributes can "
            "be put together in a new way. Ceiling and floor are those of correctness on the same concepts."
        ),
    ),
    MetricInfo(
        name="joint_divergence",
        label="joint divergence",
        summary="correctness and coverage in one number: a divergence over all attributes",
        divergence=True,
        reference=_VEDANTAM,
        direction=-1,
        needs=("q(z|y)", "p(x|z)"),
        explanation=(
            "The Jensen–Shannon divergence over all attributes, where the target of a specified one is that value "
            "alone: correctness and coverage in one number, in hundredths of a bit (of a nat under official). Lower is "
            "better, so the ceiling is the smaller of the two references: the score of an exact conditional generator, "
            "which shows all that is specified; the floor is that of one training concept, drawn without regard to the "
            "query. Both as for coverage."
        ),
    ),
    MetricInfo(
        name="description_accuracy",
        label="description",
        summary="share of the attributes of held-out real images that the model names correctly",
        reference=PROJECT,
        needs=("q(z|x)", "p(y|z)"),
        headline=True,
        explanation=(
            "The reverse direction: how often the model names the attributes of a held-out real image correctly. The "
            "classifier is not involved. The floor is the score of always naming each attribute's most frequent value. "
            "An objective without a posterior given the image alone has no such score."
        ),
    ),
    MetricInfo(
        name="named_query",
        label="named query",
        summary="correctness on one concept that the dataset names",
        reference=PROJECT,
        needs=("q(z|y)", "p(x|z)"),
        headline=True,
        own_rows=True,
        explanation=(
            "One concept that the dataset names, such as a rare combination: the share of its specified attributes "
            "that the classifier finds in the images imagined for it. The interval is over those images, as there is "
            "one concept: it says nothing about other concepts. The ceiling is what the classifier scores on held-out "
            "real images of the concept, if there are any; the floor is what real images of training concepts score, "
            "drawn without regard to the query."
        ),
    ),
    MetricInfo(
        name="named_query_all",
        label="named query, all of it",
        summary="share of the images of a named query that show all of it",
        reference=PROJECT,
        needs=("q(z|y)", "p(x|z)"),
        own_rows=True,
        explanation=(
            "The share of the same images in which every specified attribute is found. The ceiling is that share among "
            "held-out real images of the concept, if there are any; the floor that among real images of training "
            "concepts, drawn without regard to the query."
        ),
    ),
    MetricInfo(
        name="frequency_unspecified",
        label="frequency when open",
        summary="how often an attribute appears in images of queries that leave it open",
        reference=PROJECT,
        direction=0,
        needs=("q(z|y)", "p(x|z)"),
        headline=True,
        own_rows=True,
        explanation=(
            "How often an attribute appears in the images of all queries that leave it open. Neither high nor low is "
            "good: the ceiling is how often training images that satisfy these queries have it, which an exact "
            "conditional generator has too, as far as the classifier reads it correctly. There is no floor, and the "
            "objectives are not ranked."
        ),
    ),
    MetricInfo(
        name="frequency_real",
        label="frequency read in real images",
        summary="how often the classifier sees an attribute in held-out real images",
        reference=PROJECT,
        direction=0,
        own_rows=True,
        explanation=(
            "How often the classifier sees the attribute in held-out real images, next to how often it is really there "
            "(the ceiling). The difference is what the classifier's own errors add to or take from the frequency "
            "above."
        ),
    ),
    MetricInfo(
        name="correctness_words",
        label="correctness, words said",
        summary="correctness of only what a caption says, without what it leaves unsaid",
        reference=f"{CREMER}, table 1",
        needs=("q(z|y)", "p(x|z)"),
        explanation=(
            "Correctness of only what a caption says: on CelebA the attributes that are present, and Male or Female. "
            "Absences, which make up most of a concept, do not count."
        ),
    ),
    MetricInfo(
        name="prior_correctness",
        label="prior: image against text",
        summary="agreement of the image and the text generated from one z of the prior",
        reference=f"{CREMER}, table 2",
        needs=("p(x|z)", "p(y|z)"),
        own_floor=True,
        explanation=(
            "One z from the prior, or from the flow q(z) in its place: the share of the attributes of a text sampled "
            "from p(y|z) that the classifier finds in the mean of p(x|z). The floor is the base rate, each text with "
            "the images of the other z: it differs between models."
        ),
    ),
    MetricInfo(
        name="prior_correctness_flow_prior",
        label="q(z) flow: image against text",
        summary="prior_correctness with z from the flow q(z) instead of the prior",
        reference=f"{CREMER}, table 2",
        needs=("p(x|z)", "p(y|z)", FLOW),
        own_floor=True,
    ),
    MetricInfo(
        name="prior_correctness_words",
        label="prior: image against words said",
        summary="prior_correctness of only what the text says, without what it leaves unsaid",
        reference=f"{CREMER}, table 2",
        needs=("p(x|z)", "p(y|z)"),
        own_floor=True,
    ),
    MetricInfo(
        name="prior_correctness_words_flow_prior",
        label="q(z) flow: image against words said",
        summary="prior_correctness_words with z from the flow q(z) instead of the prior",
        reference=f"{CREMER}, table 2",
        needs=("p(x|z)", "p(y|z)", FLOW),
        own_floor=True,
    ),
)
"""Imagined images, named queries and z of the prior."""

_IMPUTED = (
    "The open attributes of a query are first given their most probable values, those of the most frequent training "
    "concept that has all of the specified ones, and the full concept is imagined. Scored as if they had been left "
    "open, on the same queries: what is gained in correctness is paid in coverage, as one completion shows one value."
)
_OWN_STATISTICS = (
    "Every batch norm of the image decoder normalises by the mean and variance of the images of one query, and not by "
    "its running statistics, as the released code of Vedantam et al. (2018) generated its images. They depend on what "
    "else was drawn for the query, and on how much."
)
ABLATIONS = tuple(
    replace(
        next(metric for metric in IMAGINATION if metric.name == name),
        name=f"{name}_{suffix}",
        label=f"{name.replace('_', ' ')}, {label}",
        summary=f"{name.replace('_', ' ')} {what}",
        headline=False,
        explanation=explanation if name == "correctness" else "",
    )
    for suffix, label, what, explanation, names in (
        ("imputed", "imputed", "where open attributes were first given their most probable values", _IMPUTED, ()),
        (
            "query_statistics",
            "query's statistics",
            "with the decoder's batch norm on the images of one query",
            _OWN_STATISTICS,
            ("compositionality",),
        ),
    )
    for name in ("correctness", "coverage", "joint_divergence", *names)
)
"""The same with one thing done differently."""

CLASSIFIER = MetricInfo(
    name="classifier_accuracy",
    label="classifier accuracy",
    summary="accuracy of the observation classifier on held-out real images",
    reference=PROJECT,
)
"""The observation classifier itself."""
