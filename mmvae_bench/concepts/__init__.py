"""Attributes, schemas, partial concepts, and how they are said in words. Free of torch until a tensor is asked for."""

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
