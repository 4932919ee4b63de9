"""The catalogue of metrics: what each is called, its unit, which way is better, and what it means. Imports no torch.

Evaluation, report and listing read it. Other packages add metrics through entry points; a metric that is not in the
catalogue is shown under its own name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..base.catalogue import Catalogue

LAST = 1000
"""The order of metrics that have no place of their own: after the others, by name."""


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """What is known about a metric besides its values.

    Attributes:
        name: As in ``results.parquet``.
        label: The label of its rows in a report.
        summary: One line.
        reference: Where it is defined.
        unit: ``%`` for fractions, else the unit of the value.
        divergence: Whether a fraction is no share of right answers but a divergence: its interval is Student's.
        direction: 1 where higher is better, -1 where lower is, 0 where neither is.
        ranked: Whether objectives may be ranked by it, so that a report marks the best. Not set for a bound that is as
            loose as the proposal which an objective brings along.
        order: Its place in a report: metrics are sorted by it, then by name.
        needs: The distributions that an objective must have to be scored, such as ``q(z|y)``; ``q(z|x) or q(z|x,y)``
            where either is enough.
        headline: Whether it is shown in the short table on the terminal.
        own_rows: Whether its attribute names a question, such as a named query: its rows are then shown with the scores
            over all attributes, and not in the table by attribute.
        own_floor: Whether the floor depends on the model, so that it differs between objectives.
        explanation: A paragraph for readers of a report; empty: none.
    """

    name: str
    label: str
    summary: str = ""
    reference: str = ""
    unit: str = "%"
    divergence: bool = False
    direction: int = 1
    ranked: bool = True
    order: int = LAST
    needs: tuple[str, ...] = ()
    headline: bool = False
    own_rows: bool = False
    own_floor: bool = False
    explanation: str = ""

    @property
    def is_share(self) -> bool:
        """Whether it is the share of answers that are right, in [0, 1]."""
        return self.unit == "%" and not self.divergence


_VEDANTAM = "Vedantam et al. 2018, section 3"
_CREMER = "Cremer and Kushman 2018"
_BURDA = "Burda et al. 2016, equation 8"
_SEJNOVA = "Sejnova et al. 2022"
_PROJECT = "this project"
_ENCODER = "q(z|x) or q(z|x,y)"
_FLOW = "a flow q(z)"

_PLACED = (
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
        reference=_PROJECT,
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
        reference=_PROJECT,
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
        reference=_PROJECT,
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
        reference=_PROJECT,
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
        reference=_PROJECT,
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
        reference=f"{_CREMER}, table 1",
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
        reference=f"{_CREMER}, table 2",
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
        reference=f"{_CREMER}, table 2",
        needs=("p(x|z)", "p(y|z)", _FLOW),
        own_floor=True,
    ),
    MetricInfo(
        name="prior_correctness_words",
        label="prior: image against words said",
        summary="prior_correctness of only what the text says, without what it leaves unsaid",
        reference=f"{_CREMER}, table 2",
        needs=("p(x|z)", "p(y|z)"),
        own_floor=True,
    ),
    MetricInfo(
        name="prior_correctness_words_flow_prior",
        label="q(z) flow: image against words said",
        summary="prior_correctness_words with z from the flow q(z) instead of the prior",
        reference=f"{_CREMER}, table 2",
        needs=("p(x|z)", "p(y|z)", _FLOW),
        own_floor=True,
    ),
    MetricInfo(
        name="strict",
        label="strict, text to image",
        summary="share of the images of a full concept that show all of it",
        reference=_SEJNOVA,
        needs=("q(z|y)", "p(x|z)"),
        explanation=(
            "CdSprites+'s strict score: an image counts if the classifier finds every attribute of the text in it. A "
            "guess is right in 1 of 3, 6, 30, 120 or 240 images at levels 1 to 5. The ceiling is that share of "
            "held-out real images of the same concepts; the floor that of real images of training concepts, drawn "
            "without regard to the text."
        ),
    ),
    MetricInfo(
        name="features",
        label="features, text to image",
        summary="share of the attributes of a full concept that its images show",
        reference=_SEJNOVA,
        needs=("q(z|y)", "p(x|z)"),
        explanation=(
            "CdSprites+'s feature score, printed there as a number of attributes and here as a share of them: the "
            "correctness of full concepts. A guess has 0.33 of 1, 0.83 of 2, 1.03 of 3, 1.28 of 4 or 1.78 of 5."
        ),
    ),
    MetricInfo(
        name="strict_text",
        label="strict, image to text",
        summary="share of held-out images about which the model says all that is right and nothing else",
        reference=_SEJNOVA,
        needs=("q(z|x)", "p(y|z)"),
        explanation=(
            "The other direction: the share of held-out images of which every attribute is named correctly. The floor "
            "is that of a training concept, drawn without regard to the image."
        ),
    ),
    MetricInfo(
        name="features_text",
        label="features, image to text",
        summary="share of the attributes of held-out images that the model says correctly",
        reference=_SEJNOVA,
        needs=("q(z|x)", "p(y|z)"),
    ),
    MetricInfo(
        name="letters_text",
        label="letters, image to text",
        summary="share of the letters of a caption that the model writes at the same places, in the text view",
        reference=_SEJNOVA,
        needs=("q(z|x)", "p(y|z)"),
        explanation=(
            "Letter by letter from the start, spaces included, over the length of the true caption: a word of another "
            "length shifts all that follow. The floor is the caption of a training concept, drawn without regard to "
            "the image."
        ),
    ),
    MetricInfo(
        name="log_px_given_y",
        label="log p(x|y)",
        summary="lower bound of log p(x|y), one z from q(z|x)",
        reference=f"{_CREMER}, equation 6",
        unit="nats",
        ranked=False,
        needs=("q(z|y)", _ENCODER, "p(x|z)"),
        explanation=(
            "A lower bound of log p(x|y) on held-out images, in nats, with one z from q(z|x) (Cremer and Kushman 2018, "
            "Eq. 6): a q(z|y) that misses some of the images of a text is penalised here. None of the likelihoods "
            "contains a training weight. The bounds of different objectives also differ in how tight they are."
        ),
    ),
    MetricInfo(
        name="log_px",
        label="log p(x)",
        summary="importance-weighted lower bound of log p(x)",
        reference=_BURDA,
        unit="nats",
        ranked=False,
        needs=(_ENCODER, "p(x|z)"),
        explanation=(
            "An importance-weighted lower bound of log p(x), with z from q(z|x); with the flow, q(z) takes the place "
            "of p(z). The proposals and the number of samples are in result.json. Densities of pixels in [0, 1] may be "
            "above one."
        ),
    ),
    MetricInfo(
        name="log_px_flow_prior",
        label="log p(x), q(z) flow",
        summary="importance-weighted lower bound of log p(x), with the flow q(z) as prior",
        reference=_BURDA,
        unit="nats",
        ranked=False,
        needs=(_ENCODER, "p(x|z)", _FLOW),
    ),
    MetricInfo(
        name="log_py",
        label="log p(y)",
        summary="importance-weighted lower bound of log p(y)",
        reference=_BURDA,
        unit="nats",
        ranked=False,
        needs=("q(z|y)", "p(y|z)"),
        explanation=(
            "An importance-weighted lower bound of log p(y), with z from q(z|y), as Cremer and Kushman print it: the "
            "further q(z|y) is from p(z|y), the looser the bound. So it ranks proposals, not models, and the "
            "objectives are not ranked by it."
        ),
    ),
    MetricInfo(
        name="log_py_tight",
        label="log p(y), tight",
        summary="lower bound of log p(y) with half of z from the prior: tight whatever q(z|y) is",
        reference=f"{_BURDA}; Owen and Zhou 2000",
        unit="nats",
        needs=("q(z|y)", "p(y|z)"),
        explanation=(
            "log p(y) with half of the z from the prior and half from q(z|y), weighted by the mixture of the two: no "
            "weight exceeds 2 p(y|z), so a q(z|y) that misses part of the posterior cannot loosen it. The number of z "
            "is doubled until that moves the mean by less than a tenth of its interval, or by less than 0.01 nats, up "
            "to the setting likelihood_max_samples; the rows below say how far that got."
        ),
    ),
    MetricInfo(
        name="log_py_tight_ess",
        label="log p(y), tight: effective samples",
        summary="effective sample size of log_py_tight, as a share of the z drawn",
        reference="Kong 1992",
        direction=0,
        needs=("q(z|y)", "p(y|z)"),
        explanation=(
            "(sum of weights)^2 / sum of squared weights, over the number of z: the share of them that carries the "
            "estimate."
        ),
    ),
    MetricInfo(
        name="log_py_tight_step",
        label="log p(y), tight: last doubling",
        summary="by how much the last doubling of the number of z moved log_py_tight",
        reference=_PROJECT,
        unit="nats",
        direction=0,
        needs=("q(z|y)", "p(y|z)"),
    ),
    MetricInfo(
        name="log_py_flow_prior",
        label="log p(y), q(z) flow",
        summary="importance-weighted lower bound of log p(y), with the flow q(z) as prior",
        reference=_BURDA,
        unit="nats",
        ranked=False,
        needs=("q(z|y)", "p(y|z)", _FLOW),
    ),
    MetricInfo(
        name="log_py_tight_flow_prior",
        label="log p(y), tight, q(z) flow",
        summary="log_py_tight with the flow q(z) as prior, and half of z from it",
        reference=f"{_BURDA}; Owen and Zhou 2000",
        unit="nats",
        needs=("q(z|y)", "p(y|z)", _FLOW),
    ),
    MetricInfo(
        name="description_entropy",
        label="entropy of p(y_k|z)",
        summary="uncertainty of p(y_k|z) about an attribute, at the z that training infers",
        reference=_PROJECT,
        unit="nats",
        direction=0,
        needs=(_ENCODER, "p(y|z)"),
        explanation=(
            "How uncertain p(y_k|z) leaves an attribute, in nats, at the z that training infers: near zero if the "
            "latent contains the text itself, as with inference from image and text together."
        ),
    ),
    MetricInfo(
        name="elbo",
        label="ELBO",
        summary="minus the objective's own training loss on held-out images",
        reference=_PROJECT,
        unit="nats",
        direction=0,
        explanation=(
            "Minus the training loss on held-out images, in nats per image. Every objective has its own loss, with its "
            "own weights, so this compares settings and seeds of one objective, but never two objectives: it is not "
            "ranked."
        ),
    ),
)
_UNPLACED = (
    MetricInfo(
        name="classifier_accuracy",
        label="classifier accuracy",
        summary="accuracy of the observation classifier on held-out real images",
        reference=_PROJECT,
    ),
    *(
        MetricInfo(
            name=f"elbo_{term}",
            label=f"elbo {term}".replace("_", " "),
            summary=f"the term {formula} of the ELBO, without training weights",
            reference=_PROJECT,
            unit="nats",
            direction=0,
            needs=(_ENCODER, "p(x|z)", "p(y|z)"),
        )
        for term, formula in (("log_px", "E[log p(x|z)]"), ("log_py", "E[log p(y|z)]"), ("kl", "KL(q || p)"))
    ),
)

PER_DIM = "_per_dim"
"""Suffix of the name of a likelihood in nats per dimension: a pixel's channel, an attribute or a word."""

MEAN_IMAGES = "_mean_images"
"""Suffix of the name of a metric that is scored on means of p(x|z), and not on samples."""


def _built_in() -> Iterator[MetricInfo]:
    for order, metric in enumerate(_PLACED):
        yield replace(metric, order=order)
    yield from _UNPLACED
    for metric in _PLACED:
        if metric.name.startswith("log_") and not metric.name.endswith(("_ess", "_step")):
            summary = f"{metric.summary}, per dimension"
            yield replace(metric, name=metric.name + PER_DIM, unit="nats/dim", summary=summary, explanation="")


METRICS: Catalogue[MetricInfo] = Catalogue(
    "metric", MetricInfo, group="mmvae_bench.metrics", built_in=sorted(_built_in(), key=lambda each: each.order)
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


def metric_order(name: str) -> tuple[int, str]:
    """The key that sorts metrics into the order of a report."""
    return metric_info(name).order, name
