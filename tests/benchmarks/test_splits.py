"""The mean over splits: seeds first, then splits, which are the sample."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import splits
from scipy import stats

from mmvae_bench.report.frames import COLUMNS

VALUES = {
    ("telbo", 42): [0.90, 0.94],
    ("telbo", 1): [0.80],
    ("telbo", 2): [0.70, 0.72, 0.74],
    ("jmvae", 42): [0.80],
    ("jmvae", 1): [0.76],
    ("jmvae", 2): [0.60, 0.62],
    ("jmvae", 3): [0.10],
    ("cvae", 42): [1.0],
}


def stored(folder: Path) -> Path:
    rows = []
    for (name, split_seed), values in VALUES.items():
        for seed, value in enumerate(values):
            rows.append(dict.fromkeys(COLUMNS) | {
                "objective": name, "objective_params": "{}", "dataset": "sprites", "source": "drawn", "seed": seed,
                "dataset_params": json.dumps({"level": 4, "split_seed": split_seed}), "split": "comp",
                "split_seed": split_seed, "backbone": "patches", "backbone_params": "{}", "training_params": "{}",
                "partition": "test", "protocol": "paper", "metric": "correctness", "level": 4, "value": value,
                "status": "done", "steps": 10,
            })  # fmt: skip
            rows.append(rows[-1] | {"attribute": "shape", "value": 0.0})
            rows.append(rows[-2] | {"status": "failed", "value": 0.0})
    pd.DataFrame(rows).to_parquet(folder / "results.parquet")
    return folder


def test_a_split_counts_once_however_many_seeds_it_has(tmp_path: Path) -> None:
    found = splits.pooled(splits.means_of_splits(splits.read_results(stored(tmp_path)))).set_index("objective")
    assert set(found.index) == {"telbo", "jmvae"}, "one split is no sample of splits"
    means = [0.92, 0.80, 0.72]
    telbo = found.loc["telbo"]
    assert telbo["value"] == pytest.approx(sum(means) / 3)
    low, high = stats.t.interval(0.95, 2, loc=sum(means) / 3, scale=stats.sem(means))
    assert (telbo["low"], telbo["high"]) == pytest.approx((low, high))
    assert telbo["splits"] == (42, 1, 2)
    assert telbo["num_seeds"] == 1
    assert found.loc["jmvae"]["value"] == pytest.approx((0.80 + 0.76 + 0.61 + 0.10) / 4)


def test_a_difference_is_paired_by_split(tmp_path: Path) -> None:
    found = splits.differences(splits.means_of_splits(splits.read_results(stored(tmp_path))))
    (row,) = found.itertuples()
    assert {row.first[0], row.second[0]} == {"telbo", "jmvae"}
    sign = 1 if row.first[0] == "telbo" else -1
    paired = [sign * each for each in (0.12, 0.04, 0.11)]
    assert row.num_splits == 3, "the split that one of them lacks is left out"
    assert row.value == pytest.approx(sum(paired) / 3)
    low, high = stats.t.interval(0.95, 2, loc=sum(paired) / 3, scale=stats.sem(paired))
    assert (row.low, row.high) == pytest.approx((low, high))


def test_what_it_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["splits.py", str(stored(tmp_path))])
    splits.main()
    printed = capsys.readouterr().out
    assert "| comp | correctness | 4 | telbo | 42, 1, 2 | 1 | 81.3 | 56.3 to 100.0 |" in printed
    assert "cvae" not in printed
    monkeypatch.setattr(sys, "argv", ["splits.py", str(tmp_path), "--metric", "coverage"])
    with pytest.raises(SystemExit, match="no objective was trained on two splits"):
        splits.main()
    monkeypatch.setattr(sys, "argv", ["splits.py", str(tmp_path), "--metric", "elbo"])
    with pytest.raises(SystemExit, match="elbo: is in nats"):
        splits.main()
    monkeypatch.setattr(sys, "argv", ["splits.py", str(tmp_path / "nothing")])
    with pytest.raises(SystemExit, match="no table of results"):
        splits.main()


def test_objectives_of_one_name_are_told_apart() -> None:
    params = ['{"gamma": 1, "lambda": 50}', '{"gamma": 50, "lambda": 50}', "{}"]
    table = pd.DataFrame({"objective": ["telbo", "telbo", "jmvae"], "objective_params": params})
    assert list(splits.labels(table).values()) == ["telbo gamma=1", "telbo gamma=50", "jmvae"]
