"""What a report claims without scores per query, of what it claims with them.

Takes a folder with ``results.parquet`` and ``queries.parquet``, and prints for each table with several seeds how many
pairs of objectives are told apart in rows that have scores per query, how many of those still are without them, and how
many intervals of shares are narrower without. ``docs/statistics.md`` has the last figures.

    python benchmarks/without_queries.py benchmarks/results/sprites_leaderboard
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from mmvae_bench.metrics.catalogue import metric_info
from mmvae_bench.report.comparison import Section, compare
from mmvae_bench.report.gather import load
from mmvae_bench.report.merge import merge_runs
from mmvae_bench.runs.names import RESULTS_FILE


def sections(folder: Path, out: Path) -> tuple[Section, ...]:
    """The tables of a folder with the scores of a run."""
    return compare(load(merge_runs([folder], out))).sections


def counts(known: Section, bare: Section) -> tuple[int, int, int, int, int]:
    """Pairs told apart with scores per query, also without, and only without; intervals of shares that are narrower
    without, and of how many. Rows in which no seed has scores per query do not count, nor cells in which one has none.
    """
    told = kept = more = narrower = total = 0
    for row, other in zip(known.rows, bare.rows, strict=True):
        cells = [(cell, rest) for cell, rest in zip(row.cells, other.cells, strict=True) if cell and rest]
        have = [[each.per_query is not None for each in cell.seeds] for cell, _ in cells]
        if row.best is not None and any(map(any, have)):
            told += int(row.better.sum())
            kept += int((row.better & other.better).sum())
            more += int((other.better & ~row.better).sum())
        whole = [pair for pair, each in zip(cells, have, strict=True) if all(each)]
        if metric_info(row.metric).is_share:
            narrower += sum(rest.high - rest.low < cell.high - cell.low - 1e-9 for cell, rest in whole)
            total += len(whole)
    return told, kept, more, narrower, total


def compared(folder: Path) -> Iterator[str]:
    """A line per table with several seeds."""
    with TemporaryDirectory() as place:
        bare = Path(place) / "bare"
        bare.mkdir()
        shutil.copy(folder / RESULTS_FILE, bare)
        pairs = zip(sections(folder, Path(place) / "one"), sections(bare, Path(place) / "other"), strict=True)
        for known, rest in pairs:
            if max(len(column.done) for column in known.columns) > 1:
                told, kept, more, narrower, total = counts(known, rest)
                yield (
                    f"{known.title}: of {told} pairs told apart {kept} without scores per query, and {more} others; "
                    f"{narrower} of {total} intervals of shares narrower"
                )


def main() -> None:
    """Prints a line per table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for line in compared(parser.parse_args().folder):
        print(line, flush=True)


if __name__ == "__main__":
    main()
