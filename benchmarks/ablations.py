"""Two tables of a run of configs/ablations.yaml that its report does not have.

The scores of a question that changes how a trained model is asked, less the scores of the same model without the
change, query by query and seed by seed; and the shape of q(z|y_O) at each level.

    python benchmarks/ablations.py runs/ablations
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch.distributions import kl_divergence

import mmvae_bench as mb
from mmvae_bench.base.files import DamagedFile
from mmvae_bench.base.statistics import Difference, mean_interval, paired_difference
from mmvae_bench.concepts import UNSPECIFIED
from mmvae_bench.objectives.base import Objective
from mmvae_bench.runs.folder import read_result

METRICS = ("correctness", "coverage", "joint_divergence")
CHANGES = ("_imputed", "_query_statistics")
SETTINGS = ("universal_expert", "concept_fusion", "joint_encoder", "shared_decoder")
Trial = tuple[Path, Mapping[str, Any]]


def finished(run: Path) -> Iterator[Trial]:
    """The finished trials of a run: folders and results."""
    for folder in sorted((run / "trials").iterdir()):
        with suppress(FileNotFoundError, DamagedFile):
            yield folder, read_result(folder / "result.json")


def trials_of(run: Path) -> dict[str, dict[int, Trial]]:
    """The finished trials of each column of the report, by training seed."""
    found: dict[str, dict[int, Trial]] = defaultdict(dict)
    for folder, result in finished(run):
        spec = result["spec"]
        objective, dataset = spec["objective"], spec["dataset"]
        parts = [objective["name"], *(f"{key}={objective[key]}" for key in SETTINGS if key in objective)]
        parts += [spec["backbone"]["name"], dataset["split"]]
        parts += [f"split_seed={dataset['split_seed']}"] if dataset["split"] == "comp" else []
        found[" ".join(parts)][spec["seed"]] = (folder, result)
    return dict(found)


def changed_less_plain(
    results: Mapping[int, Mapping[str, Any]], metric: str, change: str, level: int
) -> Difference | None:
    """A metric with a change less the same metric without it, on test and under protocol paper; None where either is
    missing."""
    changed, plain, groups = [], [], None
    for result in results.values():
        rows = {
            row["metric"]: row
            for row in result["scores"]
            if (row["partition"], row["protocol"], row["attribute"], row["level"]) == ("test", "paper", None, level)
        }
        if metric + change in rows and metric in rows:
            for values, name in ((changed, metric + change), (plain, metric)):
                values.append([float("nan") if value is None else value for value in rows[name]["per_query"]])
            groups = rows[metric]["groups"]
    return paired_difference(changed, plain, groups=groups) if changed else None


@torch.no_grad()
def shape_of(model: Objective, level: int) -> tuple[float, float, float]:
    """Of q(z|y_O) over every concept of so many attributes: the mean of its largest scale, the median of its largest
    scale over its smallest, and the mean of KL(q(z|y_O) || p(z)) in nats."""
    full, rows = model.schema.combinations(), []
    for kept in combinations(range(len(model.schema)), level):
        partial = torch.full_like(full, UNSPECIFIED)
        partial[:, list(kept)] = full[:, list(kept)]
        rows.append(partial.unique(dim=0))
    q = model.posterior(concept=torch.cat(rows))
    largest, smallest = q.stddev.amax(1), q.stddev.amin(1)
    return float(largest.mean()), float((largest / smallest).median()), float(kl_divergence(q, model.prior(q)).mean())


def difference_rows(trials: Mapping[str, Mapping[int, Trial]]) -> Iterator[str]:
    """Rows of a Markdown table, in points."""
    for name, members in trials.items():
        results = {seed: result for seed, (_, result) in members.items()}
        for change in CHANGES:
            for metric in METRICS:
                for level in (4, 3, 2, 1):
                    found = changed_less_plain(results, metric, change, level)
                    if found is not None:
                        numbers = f"{100 * found.value:+.1f} | {100 * found.low:+.1f} to {100 * found.high:+.1f}"
                        yield f"| {name} | {metric}{change} | {level} | {len(results)} | {numbers} |"


def shape_rows(trials: Mapping[str, Mapping[int, Trial]]) -> Iterator[str]:
    """Rows of a Markdown table: means over training seeds, with the interval over them for the ratio."""
    for name, members in trials.items():
        models = [mb.load(folder) for _, (folder, _) in sorted(members.items())]
        if "concept" not in models[0].spec.posteriors or not hasattr(models[0].concept_encoder, "heads"):
            continue
        for level in range(1, len(models[0].schema) + 1):
            scales, ratios, divergences = zip(*(shape_of(model, level) for model in models), strict=True)
            low, high = mean_interval(ratios)
            mean = [sum(values) / len(values) for values in (scales, ratios, divergences)]
            interval = f"{low:.1f} to {high:.1f}" if len(ratios) > 1 else "–"
            numbers = f"{mean[0]:.2f} | {mean[1]:.1f} | {interval} | {mean[2]:.1f}"
            yield f"| {name} | {level} | {len(models)} | {numbers} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    trials = trials_of(parser.parse_args().run)
    print(
        "| model | metric | level | seeds | changed less plain, points | 95 % interval |\n|---|---|---:|---:|---:|---:|"
    )
    print(*difference_rows(trials), sep="\n")
    print("\n| model | level | seeds | largest scale | over smallest | 95 % interval | KL to p(z), nats |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    print(*shape_rows(trials), sep="\n")


if __name__ == "__main__":
    main()
