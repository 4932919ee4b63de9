"""Run folders whose trials are stand-ins: those of the driver's tests."""

from __future__ import annotations

from ..sweep.conftest import stub

__all__ = ["stub"]
