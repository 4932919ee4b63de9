"""The mean over several splits of one dataset, for each objective, from the results.parquet of a run.

The concepts that a compositional split holds out are one draw: another seed of the split holds out others, which may be
easier. A report has a table for each split. Here the training seeds of a split are averaged first, and the splits are
the sample: Student's interval over their means, and over their differences between two objectives, split by split.

    python benchmarks/splits.py runs/ablations
    python benchmarks/splits.py runs/ablations --metric compositionality --protocol paper
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from pathlib import Path

import pandas as pd

from mmvae_bench.base.statistics import mean_interval
from mmvae_bench.metrics.catalogue import metric_info
from mmvae_bench.report.frames import COLUMNS
from mmvae_bench.report.grouping import differing

SETTING = ("dataset", "source", "dataset_params", "split", "backbone", "backbone_params", "training_params",
           "partition", "protocol", "metric", "level")  # fmt: skip
"""What splits must have in common to be averaged."""


def read_results(path: Path) -> pd.DataFrame:
    """The numbers over all attributes of a run, or of a results.parquet.

    Raises:
        SystemExit: if there is no such table.
    """
    file = path / "results.parquet" if path.is_dir() else path
    try:
        table = pd.read_parquet(file, columns=list(COLUMNS))
    except (OSError, ValueError) as error:
        raise SystemExit(f"{file}: no table of results: {error}") from None
    table = table[(table["status"] == "done") & table["attribute"].isna()].copy()
    table["dataset_params"] = table["dataset_params"].map(_without_split)
    return table


def _without_split(text: str) -> str:
    return json.dumps({key: value for key, value in json.loads(text).items() if key != "split_seed"}, sort_keys=True)


def means_of_splits(table: pd.DataFrame) -> pd.DataFrame:
    """One row per setting, objective and split: the mean over its training seeds, and how many there are."""
    keys = [*SETTING, "objective", "objective_params", "split_seed"]
    found = table.groupby(keys, dropna=False, sort=False)["value"].agg(["mean", "count"]).reset_index()
    return found.rename(columns={"mean": "value", "count": "num_seeds"})


def pooled(means: pd.DataFrame) -> pd.DataFrame:
    """One row per setting and objective that was trained on at least two splits.

    Returns:
        The columns of the setting, ``objective``, ``objective_params``, ``splits`` (their seeds), ``num_seeds`` (the
        smallest number of training seeds of a split), ``value`` (the mean of the splits' means), ``low`` and ``high``.
    """
    rows = []
    keys = [*SETTING, "objective", "objective_params"]
    for key, group in means.groupby(keys, dropna=False, sort=False):
        if len(group) > 1:
            low, high = mean_interval(group["value"].to_numpy())
            splits = tuple(int(seed) for seed in group["split_seed"])
            rows.append((*key, splits, int(group["num_seeds"].min()), group["value"].mean(), low, high))
    return pd.DataFrame(rows, columns=[*keys, "splits", "num_seeds", "value", "low", "high"])


def differences(means: pd.DataFrame) -> pd.DataFrame:
    """One row per setting and two objectives with two splits or more in common: first minus second, split by split."""
    rows = []
    for key, group in means.groupby(list(SETTING), dropna=False, sort=False):
        wide = group.pivot_table(index="split_seed", columns=["objective", "objective_params"], values="value")
        for first, second in combinations(wide.columns, 2):
            paired = (wide[first] - wide[second]).dropna()
            if len(paired) > 1:
                low, high = mean_interval(paired.to_numpy())
                rows.append((*key, first, second, len(paired), paired.mean(), low, high))
    return pd.DataFrame(rows, columns=[*SETTING, "first", "second", "num_splits", "value", "low", "high"])


def labels(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """A name for each objective with its parameters: the name, and what tells it from others of that name."""
    named: dict[str, list[str]] = {}
    for name, params in dict.fromkeys(zip(table["objective"], table["objective_params"], strict=True)):
        named.setdefault(name, []).append(params)
    return {
        (name, params): f"{name} {extra}".strip()
        for name, members in named.items()
        for params, extra in zip(
            members, differing([{k: str(v) for k, v in json.loads(each).items()} for each in members]), strict=True
        )
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder, or its results.parquet")
    parser.add_argument(
        "--metric", action="append", help="only these; repeats (default: correctness, compositionality)"
    )
    parser.add_argument("--protocol", default="paper")
    options = parser.parse_args()
    table = read_results(options.run)
    metrics = options.metric or ["correctness", "compositionality"]
    if unfit := [name for name in metrics if metric_info(name).unit != "%"]:
        raise SystemExit(f"--metric {unfit[0]}: is in {metric_info(unfit[0]).unit}: only fractions are averaged here")
    chosen = table[table["metric"].isin(metrics) & (table["protocol"] == options.protocol)]
    names, means = labels(table), means_of_splits(chosen)
    found = pooled(means)
    if found.empty:
        raise SystemExit(f"{options.run}: no objective was trained on two splits of one dataset")
    print("| split | metric | level | objective | splits | seeds each | mean, % | 95 % interval |")
    print("|---|---|---:|---|---|---:|---:|---:|")
    for row in found.itertuples():
        splits = ", ".join(map(str, row.splits))
        low, high = max(row.low, 0), min(row.high, 1)
        numbers = f"{100 * row.value:.1f} | {100 * low:.1f} to {100 * high:.1f}"
        name = names[row.objective, row.objective_params]
        print(f"| {row.split} | {row.metric} | {row.level} | {name} | {splits} | {row.num_seeds} | {numbers} |")
    if not (pairs := differences(means)).empty:
        print("\n| split | metric | level | difference, paired by split | splits | mean, points | 95 % interval |")
        print("|---|---|---:|---|---:|---:|---:|")
    for row in pairs.itertuples():
        numbers = f"{100 * row.value:+.1f} | {100 * row.low:+.1f} to {100 * row.high:+.1f}"
        what = f"{names[row.first]} - {names[row.second]}"
        print(f"| {row.split} | {row.metric} | {row.level} | {what} | {row.num_splits} | {numbers} |")


if __name__ == "__main__":
    main()
