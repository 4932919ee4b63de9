"""One test for each check of each part; see :mod:`mmvae_bench.conformance`."""

from __future__ import annotations

import pytest

from ..base.errors import ConfigError
from .cases import Case, asked_parts, cases
from .surroundings import surroundings


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The checks of the parts that ``--part`` names."""
    try:
        found = list(cases(asked_parts(metafunc.config.getoption("part", []))))
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from None
    metafunc.parametrize("case", found, ids=[case.label for case in found])


def test_part(case: Case, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from or written to the user's cache but what is the user's own; what is made there is made once
    for each part."""
    cache = tmp_path_factory.getbasetemp() / f"cache-{getattr(case.spec, 'name', 'part')}"
    for variable, folder in surroundings(case.spec, cache).items():
        monkeypatch.setenv(variable, str(folder))
    case.check(case.spec)
