"""A run folder that version 0.1.0 made before its code was rearranged is still read, number for number.

``earlier/`` holds the texts of that folder: a finished trial, an interrupted one, and the table that was reported.
"""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

import pytest

from mmvae_bench.report import write_report
from mmvae_bench.runs.store import overview
from mmvae_bench.specs.grid import load_grid

EARLIER = Path(__file__).parent / "earlier"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A copy that may be written to."""
    return Path(shutil.copytree(EARLIER, tmp_path / "earlier", ignore=shutil.ignore_patterns("expected.csv")))


def test_its_trials_have_the_states_that_they_had(run_dir: Path) -> None:
    states = {trial.key: (trial.label, trial.status.state) for trial in overview(run_dir)}
    assert states == {
        "fe202b0d1c81": ("jmvae mnist_a/digits/iid seed 0", "done"),
        "80670ee1b07f": ("telbo mnist_a/digits/iid seed 0", "interrupted"),
    }


def test_its_grid_has_the_keys_of_its_folders(run_dir: Path) -> None:
    assert {trial.key for trial in load_grid(run_dir / "grid.yaml").trials} == {
        path.name for path in (run_dir / "trials").iterdir()
    }


def test_its_table_is_reported_number_for_number(run_dir: Path) -> None:
    write_report(run_dir, width=100, color=False)
    with (EARLIER / "expected.csv").open() as before, (run_dir / "report" / "table.csv").open() as now:
        expected, found = list(csv.DictReader(before)), list(csv.DictReader(now))
    assert len(found) == len(expected) > 40
    for old, new in zip(expected, found, strict=True):
        for column, text in old.items():
            try:
                number = float(text)
            except ValueError:
                assert new[column] == text, column
            else:
                # Quantiles may differ in the last bit between versions of scipy.
                assert math.isclose(float(new[column]), number, rel_tol=1e-12), (column, old)
