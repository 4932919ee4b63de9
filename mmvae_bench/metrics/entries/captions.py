"""Texts that a model writes, and images of whole captions."""

from __future__ import annotations

from ..info import ENCODER, MetricInfo

_SEJNOVA = "Sejnova et al. 2022"

STRICT = (
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
)
"""The scores of CdSprites+."""

WORDS = tuple(
    MetricInfo(
        name=f"{name}{ending}",
        label=f"{label}{of}",
        summary=f"{summary} {which}",
        reference="after Cremer and Kushman 2018, figures 3, 5 and 7",
        divergence=name == "word_distance",
        direction=direction,
        needs=needs,
        explanation="" if ending else explanation,
    )
    for ending, of, which, needs in (
        ("", "", "written from held-out images", (ENCODER, "p(y|z)")),
        ("_prior", ", prior", "written from z of the prior", ("p(y|z)",)),
    )
    for name, label, direction, summary, explanation in (
        (
            "word_frequency", "word frequency", 0, "how often a word occurs in texts",
            "The share of texts that contain a word; its ceiling is the share of training captions that do. A text is "
            "drawn word by word from p(y|z) of a z ~ q(z|x), or q(z|x,y) where that is the encoder.",
        ),
        (
            "word_distance", "distance of word frequencies", -1,
            "total variation between the distributions of words in training captions and in texts",
            "Half the sum of the absolute differences between the shares that the words of the vocabulary have of all "
            "words, blanks left out: 0 % where they are the same, 100 % where no word is in both. The ceiling is that "
            "of the captions of the held-out images. A single number, without an interval.",
        ),
    )
)  # fmt: skip
"""How often words occur."""
