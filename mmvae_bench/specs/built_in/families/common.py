"""What the specs of several objectives share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import Field

from ...base import LARGEST
from ...components import ObjectiveSpec

NEEDS_LABEL: Final = "every term is an expectation under q(z|x,y), which needs the label"
"""Why images without labels are left out of a loss."""

Steps = Annotated[int, Field(gt=0, le=LARGEST)]
"""How many steps a stage takes."""


class WeightedImagesSpec(ObjectiveSpec):
    """Objectives whose weight of log p(x|z) was added later; in the others it was there before."""

    later_fields: ClassVar[frozenset[str]] = frozenset({"image_weight"})

    image_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(x|z): the a of elbo_{a,b,c} (Vedantam et al. 2018, Sec. 2.1)."""
