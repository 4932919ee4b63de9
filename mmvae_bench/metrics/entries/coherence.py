"""Coherence, as other projects compute it."""

from __future__ import annotations

from ..info import MetricInfo

_RELEASED = "released codes of MultiVae, MMVAE+ and MoPoE-VAE"

COHERENCE = (
    MetricInfo(
        name="coherence",
        label="coherence",
        summary="mean of the coherences of one protocol: what is generated from another modality shows the same",
        reference=_RELEASED,
        needs=("q(z|x)", "q(z|y)", "p(x|z)", "p(y|z)"),
        explanation=(
            "What other projects call (cross or conditional) coherence, on the images of a partition: the share of "
            "attributes that a modality generated from another one shows, an image as the observation classifier reads "
            "it, a concept as it is. One z per image, decoded to its mean or mode; the protocols share these, and "
            "differ in what they average. multivae: the accuracy of each value, then their mean, so that rare values "
            "count as much as frequent ones. mmvaeplus: all images alike. mopoe: whole batches of 256, and also "
            "modalities that are reconstructed from themselves, which raises it. The ceiling is the classifier's "
            "accuracy on the real images themselves (1 for a concept), which these projects do not report; the floor "
            "is what an answer drawn from training scores, without regard to what is given."
        ),
    ),
    *(
        MetricInfo(
            name=f"coherence_{to}_from_{given}",
            label=f"coherence: {to} from {given}",
            summary=f"share of attributes that the {to} generated from {source} shows",
            reference=_RELEASED,
            needs=(posterior, "p(x|z)" if to == "image" else "p(y|z)"),
        )
        for given, source, posterior in (
            ("concept", "a concept", "q(z|y)"),
            ("image", "an image", "q(z|x)"),
            ("both", "both", "q(z|x,y)"),
        )
        for to in ("image", "concept")
    ),
    MetricInfo(
        name="coherence_joint",
        label="coherence, joint",
        summary="agreement of the image and the concept decoded from one z of the prior",
        reference=_RELEASED,
        needs=("p(x|z)", "p(y|z)"),
        own_floor=True,
        explanation=(
            "One z from the prior: the share of attributes for which the mean image, as the classifier reads it, and "
            "the mode of p(y|z) agree. A caption of which an attribute cannot be read is wrong about it; where "
            "captions leave absences unsaid the attribute does not count, and a z whose caption lacks a given "
            "attribute never does. The floor is the base rate, each concept with the images of the other z: a model "
            "that always generates the same has a coherence of 1, and a floor of 1 too."
        ),
    ),
)
