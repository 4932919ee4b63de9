"""Canonical JSON, its hashes, and the seeds derived from them.

Seeds are derived, never drawn: a hash of a purpose and of the named components it may depend on. Two draws with
different purposes are independent, and adding an objective to a comparison changes no other number.
"""

from __future__ import annotations

import hashlib
import json


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def content_hash(value: object, length: int = 12) -> str:
    """The first ``length`` hex digits of the sha256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def derive_seed(purpose: str, **components: object) -> int:
    """A 63-bit seed for ``purpose``.

    >>> derive_seed("batches", seed=0, stage="fit") == derive_seed("batches", stage="fit", seed=0)
    True
    >>> derive_seed("batches", seed=0) == derive_seed("noise", seed=0)
    False
    """
    digest = hashlib.sha256(canonical_json([purpose, components]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
