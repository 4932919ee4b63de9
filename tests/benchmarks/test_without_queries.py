"""What is claimed with scores per query, and what is left of it without."""

from __future__ import annotations

from pathlib import Path

import pytest
import without_queries

from mmvae_bench.report.comparison import compare
from mmvae_bench.report.gather import read_run, write_results

from ..report.synthetic_runs import SKILL, spec_of, write_trial


def test_pairs_and_intervals_are_counted_with_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SKILL, "bivcca", 0.4)
    for seed in range(3):
        for objective in ("telbo", "jmvae", "bivcca"):
            write_trial(tmp_path / "run", spec_of(objective, seed=seed))
    write_results(tmp_path / "run")
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("results.parquet", "queries.parquet"):
        (tmp_path / "run" / name).rename(kept / name)
    (section,) = compare(read_run(tmp_path / "run")).sections
    told = sum(int(row.better.sum()) for row in section.rows)
    (line,) = without_queries.compared(kept)
    assert line.startswith(f"mnist_a · digits · iid: of {told} pairs told apart ")
    (known,) = without_queries.sections(kept, tmp_path / "known")
    assert without_queries.counts(known, known) == (told, told, 0, 0, 27), "nine shares of three objectives"
    (kept / "queries.parquet").unlink()
    (bare,) = without_queries.sections(kept, tmp_path / "bare")
    counts = without_queries.counts(known, bare)
    assert counts[0] == told > counts[1] > 0
    assert f" told apart {counts[1]} without scores per query, and {counts[2]} others; {counts[3]} of " in line
    assert without_queries.counts(bare, bare)[:2] == (0, 0), "no row has scores per query"
