"""Values of attributes that no training image has: they are queried all the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ..base.printable import few, printable
from ..concepts import Schema


def absent_values(schema: Schema, concepts: Tensor) -> dict[str, list[str]]:
    """The values that none of some concepts has, by attribute; attributes that lack none are left out.

    Args:
        schema: The attributes.
        concepts: Long[N, A], fully specified.
    """
    found = {}
    for k, attribute in enumerate(schema.attributes):
        counts = concepts[:, k].bincount(minlength=len(attribute)).tolist()
        missing = [value for value, count in zip(attribute.values, counts, strict=True) if not count]
        if missing:
            found[attribute.name] = missing
    return found


def absent_text(absent: Mapping[str, Sequence[str]]) -> str:
    """:func:`absent_values` in a sentence."""
    named = "; ".join(
        f"{printable(name)}: {few([printable(each) for each in values], most=12)}" for name, values in absent.items()
    )
    return (
        f"no training image has {named}. Queries ask for these values all the same, and no model can have learned "
        "them: use more images, another split, or a schema without them"
    )
