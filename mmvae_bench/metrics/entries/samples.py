"""Samples as pictures: how they are distributed, what they show, and how near they are to training images."""

from __future__ import annotations

from ..info import PROJECT, MetricInfo

_SHOWN = {
    "": ("", "mean over ten samples"),
    "_best": (", best of 10", "best of ten samples"),
    "_nearest": (", nearest training image", "the training image with the nearest attributes"),
    "_nearest_blurred": (", nearest training image, blurred", "the same, blurred by a mean over 5x5 pixels"),
}
"""Of a metric's ending: how the label ends, and what is read."""
SIMILARITIES = (
    *(
        MetricInfo(
            name=f"attribute_{name}{ending}",
            label=f"attribute {name}{label}",
            summary=f"{meaning} between the attributes that were asked for and those read: {what}",
            reference="Yan et al. 2016, Attribute2Image, table 2",
            unit=unit,
            direction=direction,
            ranked="nearest" not in ending,
            needs=("q(z|y)", "p(x|z)"),
            explanation=""
            if ending or name == "error"
            else (
                "Ten samples of the whole concept of a real image, read by the observation classifier. A binary "
                "attribute is +1 or -1, and read as 2 p - 1. In the view of strengths it is the image's score, read "
                "by a regressor, and the numbers are on a different scale. The published table takes the best of the "
                "ten, which rewards samples that differ, right or wrong; the mean is beside it. The ceiling is the "
                "reading of the real image, the floor that of as many training images drawn without regard to the "
                "concept. The rows of the nearest training image show what a search by attributes would."
            ),
        )
        for name, meaning, unit, direction in (
            ("cosine", "cosine", "cos", 1),
            ("error", "squared error, summed over attributes,", "SSE", -1),
        )
        for ending, (label, what) in _SHOWN.items()
    ),
    MetricInfo(
        name="memorisation",
        label="distance to training",
        summary="distance of a sample to the nearest training image, over that of a held-out real image",
        reference=PROJECT,
        unit="ratio",
        direction=0,
        needs=("q(z|y)", "p(x|z)"),
        explanation=(
            "How far the mean image of a sample is from the training image with the nearest pixels, as a share of the "
            "distance of held-out real images. Near 0 a model shows its training images. Below 1 alone is no sign of "
            "that: a blurred image is nearer to every image than a sharp one is."
        ),
    ),
)

DISTANCES = tuple(
    MetricInfo(
        name=f"{name}{ending}",
        label=f"{name.upper()}{label}",
        summary=f"{what} between real images and images of {which}",
        reference=reference,
        unit=name.upper(),
        direction=-1,
        needs=needs,
        explanation=""
        if ending or name != "fid"
        else (
            "FID compares means and covariances of the features of two sets of images, KID all their moments up to the "
            "third. The ceiling is real against real, with as many images: FID falls with their number, so only equal "
            "numbers compare. The features are those of the observation classifier unless the weights of the Inception "
            "network were given: values of different classifiers or datasets do not compare, and none with published "
            "ones but Inception's."
        ),
    )
    for ending, label, which, needs in (
        ("", "", "concepts", ("q(z|y)", "p(x|z)")), ("_prior", ", prior", "z from the prior", ("p(x|z)",)),
    )
    for name, what, reference in (
        ("fid", "Fréchet distance of features", "Heusel et al. 2017, equation 6"),
        ("kid", "squared maximum mean discrepancy of features", "Binkowski et al. 2018"),
    )
)  # fmt: skip

NEIGHBOURS = tuple(
    MetricInfo(
        name=f"{name}{ending}",
        label=f"{label}{of}",
        summary=f"{summary}, {which}",
        reference=reference,
        unit=unit,
        direction=0,
        needs=needs,
        explanation="" if ending else explanation,
    )
    for ending, of, which, needs in (
        ("", "", "images of concepts", ("q(z|y)", "p(x|z)")),
        ("_prior", ", prior", "images of z from the prior", ("p(x|z)",)),
    )
    for name, label, summary, reference, unit, explanation in (
        (
            "closer_than_real", "closer than real", "share of held-out images farther from training than a sample is",
            "Meehan, Chaudhuri and Dasgupta 2020, A Non-Parametric Test to Detect Data-Copying, section 3", "%",
            "How often a sample is nearer to its nearest training image, in pixels, than a held-out real image is to "
            "its own: the Mann-Whitney statistic over all pairs of a sample and a held-out image, ties a half. 50 % is "
            "what held-out images themselves score (the ceiling); the floor, far above it, is what training images "
            "shown as samples do. Above 50 % samples crowd around training images. That alone is no copying: a "
            "blurred image is near to many, so read it with the two ratios. The interval is over samples; the held-out "
            "images are the same for every objective.",
        ),
        (
            "neighbour_ratio", "nearest over second nearest",
            "distance to the nearest training image over that to the second nearest",
            "Lowe 2004, section 7.1; as a sign of memory Yoon et al. 2023", "ratio",
            "A sample between training images is about as far from the second nearest as from the nearest: near 1. A "
            "copy is near one image alone: near 0. Images of training that are the same to the last pixel count once. "
            "Copies are the samples below a third. The ceilings are those of held-out real images.",
        ),
        (
            "copies", "copies", "share of samples three times nearer to one training image than to any other",
            "Yoon et al. 2023, Diffusion Probabilistic Models Generalize when They Fail to Memorize, section 3", "%",
            "",
        ),
    )
)  # fmt: skip
