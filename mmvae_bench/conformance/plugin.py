"""The pytest plugin (entry point ``pytest11``): the option ``--part``. It is loaded into every pytest, so it imports
nothing else."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option."""
    parser.getgroup("mmvae-bench").addoption(
        "--part",
        action="append",
        default=[],
        metavar="PART",
        help="with --pyargs mmvae_bench.conformance: test this objective, backbone or dataset, a name or a mapping "
        "with settings such as '{name: mine, alpha: 2}'; repeatable; default: all parts of other packages",
    )
