"""Canonical JSON and its hash: what keys and fingerprints are made of."""

from __future__ import annotations

import hashlib
import json


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def content_hash(value: object, length: int = 12) -> str:
    """The first ``length`` hex digits of the sha256 of the canonical JSON of ``value``."""
    return text_hash(canonical_json(value).encode(), length)


def text_hash(content: bytes, length: int = 12) -> str:
    """The same of a canonical JSON as it is stored: the hash of a ``spec.json`` is its trial's key."""
    return hashlib.sha256(content).hexdigest()[:length]
