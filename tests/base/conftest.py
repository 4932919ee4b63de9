"""A run of stand-ins for trials: that of the driver's tests."""

from __future__ import annotations

from ..sweep.conftest import stub

__all__ = ["stub"]
