"""What the links of papers say of unseen ones before any word is read: beside a page on words and links as modalities.

The pairs without a link are drawn evenly, and links are not: many lead to few papers. Here a pair of an unseen and a
training paper is scored by the number of the training paper's links alone, in each of several splits. A pair scores the
same whatever the unseen paper is, so nothing of its words or links is used.

    MMVAE_BENCH_DATA=FOLDER python benchmarks/papers.py cora_papers --source planetoid
    MMVAE_BENCH_DATA=FOLDER python benchmarks/papers.py citeseer_papers --source planetoid
"""

from __future__ import annotations

import argparse

import pandas as pd

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.base.statistics import mean_interval
from mmvae_bench.data.papers import PapersDataModule
from mmvae_bench.metrics.functional.links import link_auc, link_average_precision
from mmvae_bench.specs.built_in.papers import PapersSpec
from mmvae_bench.specs.components import datasets

COLUMNS = ("seed", "test_papers", "links", "without_links", "train_without_links", "auc", "ap")


def by_number_of_links(data: PapersDataModule, partition: str = "test") -> tuple[float, float]:
    """AUC and AP of the links of unseen papers, by how many training papers each training paper is linked to.

    Args:
        data: After ``setup()``.
        partition: ``val`` or ``test``.
    """
    # Each training paper is linked to itself besides, which changes no order.
    degrees = data.store.concepts[data.parts["train"]].sum(0).double()
    of_paper = degrees.new_zeros(len(data.store)).index_put((data.parts["train"],), degrees)
    pairs = data.pairs(partition)
    linked, unlinked = of_paper[pairs.linked[1]], of_paper[pairs.unlinked[1]]
    return link_auc(linked, unlinked), link_average_precision(linked, unlinked)


def measured(spec: PapersSpec, seeds: int) -> pd.DataFrame:
    """A row for each training seed, and so for each split: :data:`COLUMNS`."""
    rows = []
    for seed in range(seeds):
        data = spec.build()
        assert isinstance(data, PapersDataModule)
        data.training_seed = seed
        data.setup()
        rows_of, links = data.parts, data.store.concepts.bool()
        # All but the link to itself.
        alone = links[rows_of["train"]].sum(1) == 1
        test = links[rows_of["test"]]
        counts = (len(test), int(test.sum()), int((~test.any(1)).sum()), int(alone.sum()))
        rows.append((seed, *counts, *by_number_of_links(data)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=("cora_papers", "citeseer_papers"))
    parser.add_argument("--source", choices=("drawn", "planetoid"), default="drawn")
    parser.add_argument("--seeds", type=int, default=5, help="as many splits, those of training seeds 0, 1, ...")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds: an interval needs at least 2")
    try:
        spec = datasets.parse({"name": options.dataset, "source": options.source})
        assert isinstance(spec, PapersSpec)
        found = measured(spec, options.seeds)
    except BenchmarkError as error:
        raise SystemExit(str(error)) from None
    print("| seed | test papers | links to training papers | without one | of training | AUC, % | AP, % |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for row in found.itertuples():
        counts = f"{row.test_papers:,} | {row.links:,} | {row.without_links:,} | {row.train_without_links:,}"
        print(f"| {row.seed} | {counts} | {100 * row.auc:.1f} | {100 * row.ap:.1f} |")
    for name in ("auc", "ap"):
        low, high = mean_interval(100 * found[name].to_numpy())
        print(f"\n{name.upper()}: {100 * found[name].mean():.1f} ±{(high - low) / 2:.1f}")


if __name__ == "__main__":
    main()
