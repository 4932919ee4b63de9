"""Whether torch Distributions check their arguments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.distributions import Distribution


@contextmanager
def argument_checks(wanted: bool) -> Iterator[None]:
    """Inside the block, torch Distributions check their arguments, or do not; afterwards it is as before."""
    # There is no public way to read the setting.
    before = Distribution._validate_args
    Distribution.set_default_validate_args(wanted)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
