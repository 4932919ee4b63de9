"""What the specs of the datasets share whose concepts can be said in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..components import DatasetSpec, View

if TYPE_CHECKING:
    from ...concepts.captions import Captions


class CaptionedSpec(DatasetSpec):
    """A dataset with captions. The view decides what y is, and neither the images nor the split."""

    later_fields: ClassVar[frozenset[str]] = frozenset({"view"})

    view: View = "attributes"
    """attributes: y is the concept; text: y is its caption, a sequence of words that the image's number fixes."""

    @property
    def chosen_view(self) -> View:
        """The field."""
        return self.view

    def texts(self) -> Captions | None:
        """The captions, in the text view."""
        return self.captions() if self.view == "text" else None
