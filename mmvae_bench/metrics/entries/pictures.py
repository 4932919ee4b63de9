"""Pictures of real images: reconstructed, completed, and taken apart into layers."""

from __future__ import annotations

from ..info import PROJECT, MetricInfo

_YAN = "Yan et al. 2016, Attribute2Image, section 5"
_INFERENCE_GAP = "Cremer et al. 2018, Inference Suboptimality in Variational Autoencoders"
_TASKS = {"reconstruction": "reconstructed images", "completion": "completed parts of images"}
_INFERRED = {
    "": ("", "z from the encoder", ("q(z|x)", "p(x|z)")),
    "_fitted": (", z fitted", "z by optimisation", ("p(x|z)",)),
    "_nearest": (", nearest training image", "shown the nearest training image instead of a model's", ()),
}
"""Of a metric's ending: how the label ends, what it means, what it needs."""
PICTURES = (
    *(
        MetricInfo(
            name=f"{task}_{error}{ending}",
            label=f"{task} error{label}",
            summary=f"{meaning} of {what}, {how}",
            reference=_YAN,
            unit=unit,
            direction=-1,
            ranked=ending != "_nearest",
            needs=needs,
            own_rows=True,
            explanation=""
            if ending or error != "error"
            else (
                "The mean squared error of a pixel's value in [0, 1], over the whole image, its foreground where the "
                "dataset has masks, or the hidden part of it. z is the encoder's answer to the image, in which hidden "
                "pixels are zero; where z is fitted, it maximises log p(x|z) + log p(z) over the observed pixels, for "
                "any objective, with or without an encoder. A model with p(x|y,z) is told the image's own y. The floor "
                "is the error of the mean training image; the row of the nearest training image, found by the observed "
                "pixels, is what remembering the data would do. The norm is the square root of the summed squared "
                "error of pixels in [-1, 1], in which Yan et al. have in all likelihood printed theirs."
            ),
        )
        for task, what in _TASKS.items()
        for error, meaning, unit in (("error", "squared error", "MSE"), ("norm", "norm of the error", "norm"))
        for ending, (label, how, needs) in _INFERRED.items()
    ),
    *(
        MetricInfo(
            name=f"{task}_gap{ending}",
            label=f"{task}: amortisation gap",
            summary=f"what optimisation of z finds beyond the encoder's answer: {meaning} of {what}",
            reference=_INFERENCE_GAP,
            unit=unit,
            direction=0,
            needs=("q(z|x)", "p(x|z)"),
            own_rows=True,
            explanation=""
            if ending
            else (
                "How much is lost because z is the answer of an encoder and not the best one for this image: "
                "log p(x|z) + log p(z) at the fitted z less that at the mean of q(z|x), and the encoder's squared "
                "error less that of the fitted z. A decoder that shows little loses little, so objectives are not "
                "ranked by it."
            ),
        )
        for task, what in _TASKS.items()
        for ending, meaning, unit in (("", "log p(x, z)", "nats"), ("_error", "squared error", "MSE"))
    ),
)

_LAYERS_NEED = ("p(x_F|y,z_F)", "p(g|y,z_F)")
LAYERS = (
    MetricInfo(
        name="background_error",
        label="background error",
        summary="squared error of the background layer against the true one, also behind the foreground",
        reference=PROJECT,
        unit="MSE",
        direction=-1,
        needs=_LAYERS_NEED,
        own_rows=True,
        explanation=(
            "How well the layers of a real image are found, z fitted to the image and its concept, without a mask. The "
            "true background was drawn without the person. Its error is the mean squared error of a value in [0, 1], "
            "over the whole image and over the part behind the foreground, which no image shows; the floor is the mean "
            "training background. The gain over chance compares it with the error that the same layer has against the "
            "backgrounds of the other images: above 0, it is this image's. The row of the visible background shows "
            "what one colour does, the mean of what is not covered by the true mask."
        ),
    ),
    MetricInfo(
        name="background_gain",
        label="background: gain over chance",
        summary="squared error of the background layer against other images' true backgrounds, less against its own",
        reference=PROJECT,
        unit="MSE",
        needs=_LAYERS_NEED,
        own_rows=True,
    ),
    MetricInfo(
        name="background_error_visible",
        label="background error, mean visible colour",
        summary="squared error of the mean colour of what is visible of the background, in place of a model's layer",
        reference=PROJECT,
        unit="MSE",
        direction=-1,
        ranked=False,
        needs=_LAYERS_NEED,
        own_rows=True,
    ),
    MetricInfo(
        name="foreground_error",
        label="foreground error",
        summary="squared error of the foreground layer against the true foreground on black",
        reference=PROJECT,
        unit="MSE",
        direction=-1,
        needs=_LAYERS_NEED,
    ),
    MetricInfo(
        name="gate_overlap",
        label="gate overlap",
        summary="intersection over union of the closed gate and the true mask",
        reference=PROJECT,
        needs=_LAYERS_NEED,
        explanation=(
            "Where the gate is closed by more than a half, against the true mask: the pixels of both over the pixels "
            "of either. The floor is the mean training mask, cut at a half."
        ),
    ),
)
