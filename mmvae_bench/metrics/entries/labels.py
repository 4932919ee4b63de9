"""Few labels: what is read off an image, attributes and the light."""

from __future__ import annotations

from ..info import PROJECT, MetricInfo

_SIDDHARTH = "Siddharth et al. 2017, figure 5"
_DESCRIBES = ("q(y|x), or q(z|x) and p(y|z)",)

LABELS = (
    MetricInfo(
        name="label_error",
        label="label error",
        summary="share of held-out images with a wrong label, where training has few labels",
        reference=_SIDDHARTH,
        direction=-1,
        needs=_DESCRIBES,
        headline=True,
        explanation=(
            "The share of all held-out images that are described wrongly in an attribute of which only some training "
            "images had labels: by argmax q(y|x), or by p(y|z) at the centre of q(z|x) where there is no q(y|x). The "
            "floor is that of always naming the most frequent values."
        ),
    ),
    MetricInfo(
        name="label_error_alone",
        label="label error, labels alone",
        summary="the same of a classifier that was trained on the labelled images alone",
        reference=PROJECT,
        direction=0,
        headline=True,
        explanation=(
            "The label error of the backbone's q(y|x) as a plain classifier, trained on the labelled images alone: "
            "cross-entropy, 1,000 steps of Adam with the trial's batch size, step size and seed. It says what the "
            "labels are worth without the other images: what is below it, these have brought."
        ),
    ),
    MetricInfo(
        name="light_distance",
        label="light, 1 - cos",
        summary="cosine distance between the direction of the light that a model sees and the true one",
        reference="Siddharth et al. 2017, figure 7",
        divergence=True,
        direction=-1,
        needs=_DESCRIBES,
        explanation=(
            "1 minus the cosine of the angle between the two directions, in per cent: the cosine angle distance of "
            "the paper, which gives no unit. The answer is the mean of q(l|x) or, of a model without a continuous "
            "light, the middle of the bins of azimuth and elevation that it names, of which the true ones are the "
            "ceiling. The floor is that of always answering the mean direction of training."
        ),
    ),
    MetricInfo(
        name="light_angle",
        label="light, angle",
        summary="the same as an angle",
        reference="Siddharth et al. 2017, figure 7",
        unit="degrees",
        direction=-1,
        needs=_DESCRIBES,
    ),
)
