"""Seeds are derived, never drawn: a hash of a purpose and of the named components that it may depend on.

Two seeds with different purposes are independent, and adding an objective to a comparison changes no other number.
"""

from __future__ import annotations

import hashlib

from .canonical import canonical_json


def derive_seed(purpose: str, **components: object) -> int:
    """A 63-bit seed for ``purpose``.

    >>> derive_seed("batches", seed=0, stage="fit") == derive_seed("batches", stage="fit", seed=0)
    True
    >>> derive_seed("batches", seed=0) == derive_seed("noise", seed=0)
    False
    """
    digest = hashlib.sha256(canonical_json([purpose, components]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
