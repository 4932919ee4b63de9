"""What a grid can name, as a data frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..specs.listing import describe_kind

if TYPE_CHECKING:
    import pandas as pd


def list_parts(kind: str = "objectives") -> pd.DataFrame:
    """Everything of a kind: a row for each, by name, as ``mmvae-bench list KIND --json`` prints it.

    Args:
        kind: objectives, datasets, backbones, classifiers, protocols, metrics or questions.

    Raises:
        ConfigError: for an unknown kind, with the choices.
    """
    import pandas as pd

    return pd.DataFrame(describe_kind(kind)).set_index("name")
