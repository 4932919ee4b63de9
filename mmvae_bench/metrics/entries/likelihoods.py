"""Likelihoods and their bounds, and the ELBO."""

from __future__ import annotations

from dataclasses import replace

from ..info import CREMER, ENCODER, FLOW, PROJECT, MetricInfo

_BURDA = "Burda et al. 2016, equation 8"

LIKELIHOODS = (
    MetricInfo(
        name="log_px_given_y",
        label="log p(x|y)",
        summary="lower bound of log p(x|y), one z from q(z|x)",
        reference=f"{CREMER}, equation 6",
        unit="nats",
        ranked=False,
        needs=("q(z|y)", ENCODER, "p(x|z)"),
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
        needs=(ENCODER, "p(x|z)"),
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
        needs=(ENCODER, "p(x|z)", FLOW),
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
        reference=PROJECT,
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
        needs=("q(z|y)", "p(y|z)", FLOW),
    ),
    MetricInfo(
        name="log_py_tight_flow_prior",
        label="log p(y), tight, q(z) flow",
        summary="log_py_tight with the flow q(z) as prior, and half of z from it",
        reference=f"{_BURDA}; Owen and Zhou 2000",
        unit="nats",
        needs=("q(z|y)", "p(y|z)", FLOW),
    ),
    MetricInfo(
        name="log_pxy",
        label="log p(x,y)",
        summary="importance-weighted lower bound of log p(x,y)",
        reference=_BURDA,
        unit="nats",
        ranked=False,
        needs=(ENCODER, "p(x|z)", "p(y|z)"),
        explanation=(
            "An importance-weighted lower bound of the joint log p(x,y), with z from q(z|x,y), or from q(z|x) where "
            "there is no other: the z of the unweighted ELBO, whose estimate it is with one z, and which it exceeds "
            "with more. Image and text count without training weights, so the image, with thousands of pixels, makes "
            "up most of it."
        ),
    ),
    MetricInfo(
        name="log_pxy_flow_prior",
        label="log p(x,y), q(z) flow",
        summary="importance-weighted lower bound of log p(x,y), with the flow q(z) as prior",
        reference=_BURDA,
        unit="nats",
        ranked=False,
        needs=(ENCODER, "p(x|z)", "p(y|z)", FLOW),
    ),
    MetricInfo(
        name="description_entropy",
        label="entropy of p(y_k|z)",
        summary="uncertainty of p(y_k|z) about an attribute, at the z that training infers",
        reference=PROJECT,
        unit="nats",
        direction=0,
        needs=(ENCODER, "p(y|z)"),
        explanation=(
            "How uncertain p(y_k|z) leaves an attribute, in nats, at the z that training infers: near zero if the "
            "latent contains the text itself, as with inference from image and text together."
        ),
    ),
    MetricInfo(
        name="elbo",
        label="ELBO",
        summary="minus the objective's own training loss on held-out images",
        reference=PROJECT,
        unit="nats",
        direction=0,
        explanation=(
            "Minus the training loss on held-out images, in nats per image. Every objective has its own loss, with its "
            "own weights, so this compares settings and seeds of one objective, but never two objectives: it is not "
            "ranked."
        ),
    ),
)
"""Bounds of likelihoods, and the ELBO of training."""

ELBO_TERMS = tuple(
    MetricInfo(
        name=f"elbo_{term}",
        label=f"elbo {term}".replace("_", " "),
        summary=f"the term {formula} of the ELBO, without training weights",
        reference=PROJECT,
        unit="nats",
        direction=0,
        needs=(ENCODER, "p(x|z)", "p(y|z)"),
    )
    for term, formula in (("log_px", "E[log p(x|z)]"), ("log_py", "E[log p(y|z)]"), ("kl", "KL(q || p)"))
)
"""The terms of an ELBO."""

PER_DIM = "_per_dim"
"""Suffix of the name of a likelihood in nats per dimension: a pixel's channel, an attribute or a word."""

PER_DIMENSION = tuple(
    replace(
        metric, name=metric.name + PER_DIM, unit="nats/dim", summary=f"{metric.summary}, per dimension", explanation=""
    )
    for metric in LIKELIHOODS
    if metric.name.startswith("log_") and not metric.name.endswith(("_ess", "_step"))
)
"""The likelihoods again, per dimension."""
