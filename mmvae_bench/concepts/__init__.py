"""Attributes, schemas, partial concepts, and captions. Imports torch only when a tensor is needed."""

from __future__ import annotations

from .concepts import (
    UNSPECIFIED,
    Attribute,
    Schema,
    compositional_split,
    keep_random,
    satisfies,
    specified,
)

__all__ = [
    "UNSPECIFIED",
    "Attribute",
    "Schema",
    "compositional_split",
    "keep_random",
    "satisfies",
    "specified",
]
