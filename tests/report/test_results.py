"""``results.parquet`` holds every number once, with the columns that others rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.base.files import write_json
from mmvae_bench.report import read_results, write_results
from mmvae_bench.report.frames import COLUMNS

from .synthetic_runs import result_of, scores_of, spec_of, write_trial

CONTRACT = """trial, objective, objective_params, dataset, source, dataset_params, split, split_seed, backbone,
backbone_params, training_params, seed, steps, protocol, partition, metric, attribute, level, value, ci_low, ci_high,
ceiling, floor, num_queries, num_samples, status, wall_seconds, steps_per_second, device, version, commit,
dataset_fingerprint, classifier_fingerprint"""


def test_columns_are_the_contract(run_dir: Path) -> None:
    expected = [name.strip() for name in CONTRACT.replace("\n", " ").split(",")]
    # Columns of later versions come after those of the contract.
    expected += ["constant", "deaf", "share", "share_low", "share_high", "processor_seconds"]
    assert list(COLUMNS) == expected
    assert list(write_results(run_dir).columns) == expected
    assert list(pd.read_parquet(run_dir / "results.parquet").columns) == expected


def test_every_number_is_a_row(run_dir: Path) -> None:
    frame = write_results(run_dir)
    expected = 0
    for folder in (run_dir / "trials").iterdir():
        rows = frame[frame.trial == folder.name]
        if not (folder / "result.json").exists():
            assert len(rows) == 1
            assert rows.metric.isna().all()
            assert rows.value.isna().all()
            expected += 1
            continue
        result = json.loads((folder / "result.json").read_text())
        expected += len(result["scores"])
        for score, (_, row) in zip(result["scores"], rows.iterrows(), strict=True):
            for name in COLUMNS[13:25]:
                assert (pd.isna(row[name]) and score[name] is None) or row[name] == score[name], name
        (params,) = set(rows.objective_params)
        assert json.loads(params) == {key: value for key, value in result["spec"]["objective"].items() if key != "name"}
        assert set(rows.commit) == {"abc1234"}
        assert set(rows.device) == {"cpu"}
        assert set(rows.version) == {"0.1.0"}
        assert set(rows.steps) == {6000}
        assert set(rows.classifier_fingerprint) == {"c" * 12}
    assert len(frame) == expected


def test_status_of_trials_without_numbers(run_dir: Path) -> None:
    frame = write_results(run_dir)
    failed = frame[frame.status == "failed"].iloc[0]
    assert (failed.objective, failed.split, failed.seed, failed.steps) == ("jmvae", "comp", 1, 17)
    pending = frame[frame.status == "pending"].iloc[0]
    assert (pending.objective, pending.split, pending.seed) == ("telbo", "comp", 1)
    assert set(frame.status) == {"done", "failed", "pending"}


def test_reading_gives_back_what_was_written(run_dir: Path) -> None:
    frame = write_results(run_dir)
    pd.testing.assert_frame_equal(read_results(run_dir), frame)
    assert str(frame.level.dtype) == "Int64"
    assert frame.level.isna().any()


def test_a_run_without_any_number_can_be_written_and_read(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of(), "pending")
    frame = write_results(tmp_path)
    assert list(frame.status) == ["pending"]
    pd.testing.assert_frame_equal(read_results(tmp_path), frame)


def test_not_a_number_becomes_null(tmp_path: Path) -> None:
    spec = spec_of()
    folder = write_trial(tmp_path, spec)
    result = result_of(spec, scores_of(spec)[:1])
    result["scores"][0]["value"] = None
    write_json(folder / "result.json", result)
    frame = write_results(tmp_path)
    assert frame.value.isna().all()
    assert list(frame.metric) == ["correctness"]


@pytest.mark.parametrize("writer", [0, 1], ids=["results.parquet", "queries.parquet"])
def test_a_failed_write_leaves_the_old_files(run_dir: Path, monkeypatch: pytest.MonkeyPatch, writer: int) -> None:
    write_results(run_dir)
    before = {name: (run_dir / name).read_bytes() for name in ("results.parquet", "queries.parquet")}
    writers: list[pq.ParquetWriter] = []
    write_table = pq.ParquetWriter.write_table

    def fail(self: pq.ParquetWriter, table: pa.Table, *rest: Any, **options: Any) -> None:
        write_table(self, table, *rest, **options)
        writers.append(self)
        if len(writers) > writer:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail)
    with pytest.raises(OSError, match="No space left"):
        write_results(run_dir)
    assert {name: (run_dir / name).read_bytes() for name in before} == before
    assert [path.name for path in run_dir.iterdir() if path.name.startswith(".")] == []


def test_reading_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"no such file\n.*mmvae-bench report"):
        read_results(tmp_path)
    (tmp_path / "results.parquet").write_bytes(b"not parquet")
    with pytest.raises(BenchmarkError, match="cannot be read"):
        read_results(tmp_path)
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "results.parquet")
    with pytest.raises(BenchmarkError, match="its columns are not those that this version writes"):
        read_results(tmp_path)


def test_no_torch_is_imported(run_dir: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from mmvae_bench.report.write import write_report
from mmvae_bench.report.frames import read_results
write_report(Path({str(run_dir)!r}))
read_results(Path({str(run_dir)!r}))
wrong = {{"torch", "pytorch_lightning", "matplotlib.pyplot"}} & set(sys.modules)
sys.exit(f"imported {{wrong}}" if wrong else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
