"""What the specs of the objectives share that fuse one expert a modality."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import DatasetSpec, ObjectiveSpec, Posterior, by_setting


class MultimodalSpec(ObjectiveSpec):
    """The joint posterior follows from the modalities' own experts; no network sees both image and concept.

    The weight of log p(y|z) is 50 as for the objectives of the published table, so that a comparison is not one of
    weights; the papers of these objectives have weights of their own for each pair of modalities.
    """

    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "image", "concept"})
    text_obstacle: ClassVar[str | None] = by_setting(
        lambda spec: None if spec.modalities == "two" else "words are no modalities: choose modalities two"
    )

    modalities: Literal["two", "per_attribute"] = "two"
    """two: the image, and all attributes together; per_attribute: the image, and each attribute by itself."""
    lambda_image: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(x|z)."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z)."""

    def num_modalities(self, dataset: DatasetSpec) -> int:
        """M, on the concepts of a dataset."""
        return 1 + (1 if self.modalities == "two" else len(dataset.schema()))
