"""Puts today's floors and ceilings into a committed page of results, without the weights that made it.

Floors depend on the queries and on the training concepts, ceilings of coverage and joint divergence likewise: both are
made again from the grid. What the classifier reads is not: a floor of correctness here is that of an exact one. Nothing
is bold in a page of single seeds. Values, intervals and ceilings of correctness stay as they were made.

    python benchmarks/references.py --grid configs/small_mnist.yaml --page benchmarks/results/small_mnist.md

Prints what changes, as Markdown; ``--write`` changes the page.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.mnist_a import MnistADataModule
from mmvae_bench.evaluation.classifier import HeldOut
from mmvae_bench.evaluation.queries import fixed_queries, named_queries
from mmvae_bench.evaluation.questions.named_queries import named_query_scores
from mmvae_bench.evaluation.questions.three_cs import three_cs
from mmvae_bench.evaluation.references import TrainingConcepts
from mmvae_bench.evaluation.scoring import Judge
from mmvae_bench.metrics.catalogue import metric_info
from mmvae_bench.metrics.protocols import PROTOCOL_RULES
from mmvae_bench.report.text import number
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.grid import load_grid
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.worlds.clevr.recipe import ClevrRecipe
from mmvae_bench.worlds.mnist_a import draw_geometry

HEADLINE = "paper"
"""The protocol of the tables that name none, in the pages so far."""


class Row(NamedTuple):
    """What a row of a table is about: the protocol counts only where the metric depends on it."""

    table: str
    protocol: str | None
    label: str
    level: str


class Concepts:
    """The concepts of images that are not drawn: what a split and a reference need of a store."""

    def __init__(self, concepts: Tensor) -> None:
        self.concepts = concepts

    def __len__(self) -> int:
        return len(self.concepts)


def data_of(spec: TrialSpec) -> ConceptDataModule:
    """The concepts of a trial's images. Path-traced scenes and MNIST's digits are not drawn for them."""
    data = spec.dataset.build()
    if isinstance(data, MnistADataModule):
        digits, images = data.images.source.load(), data.images
        rows = torch.arange(images.num_used(len(digits)) * images.spec.replicas)
        source, replica = images.identity(rows, num_digits=len(digits))
        drawn = draw_geometry(source, replica, seed=images.spec.seed).concept
        data.meta = {"num_digits": len(digits)}
        data._store = Concepts(torch.cat([digits.labels[source, None], drawn], 1).long())  # type: ignore[assignment]
        return data
    recipe = getattr(data, "recipe", lambda: None)()
    if isinstance(recipe, ClevrRecipe):
        numbers = torch.arange(recipe.num_images).numpy()
        data._store = Concepts(torch.from_numpy(recipe.concepts(recipe.scenes(numbers))).long())  # type: ignore[assignment]
        return data
    data.prepare_data()
    data.setup()
    return data


def scores_of(spec: TrialSpec, partition: str) -> Iterator[Score]:
    """The scores of an arbitrary answer to the queries of a trial: their references are what is wanted."""
    data = data_of(spec)
    real = data.concepts("test", split="iid")
    scored = torch.tensor([k in data.schema.scored_positions for k in range(len(data.schema))])
    training = TrainingConcepts(data.concepts("train"), sizes=data.schema.sizes)
    judge = Judge(data.schema, data.spec.split, training, HeldOut(real, real.masked_fill(~scored, -1)))
    for queries in fixed_queries(data, spec.evaluation, partition):
        seen = judge.blind.constant(len(queries)).expand(-1, spec.evaluation.num_samples, -1)
        for name in ("paper", "official", "corrected"):
            yield from three_cs(judge, PROTOCOL_RULES[name], queries, seen)
    for queries in named_queries(data, spec.evaluation, partition):
        yield from named_query_scores(judge, queries, judge.blind.constant(len(queries)))


def references(grid: Path) -> dict[Row, Score]:
    """The references of every row of the tables of a grid, those of the test partition."""
    found = {}
    for spec in {trial.dataset: trial for trial in load_grid(grid).trials}.values():
        table = f"{spec.dataset.name} · {spec.dataset.source} · {spec.dataset.split}"
        for score in scores_of(spec, "test"):
            label = metric_info(score.metric).label + (f", {score.attribute}" if score.attribute else "")
            found[Row(table, score.protocol, label, str(score.level))] = score
    return found


class Change(NamedTuple):
    """A number of the page that is another one now."""

    row: Row
    what: str
    old: str
    new: str


def rewritten(page: str, found: dict[Row, Score]) -> tuple[str, list[Change]]:
    """The page with the references, and without bold numbers, in its tables that have references."""
    table, protocol, has_references, lines, changes = "", HEADLINE, False, list[str](), list[Change]()
    for line in page.splitlines():
        if line.startswith("## "):
            table = line.removeprefix("## ")
        if line.startswith("#"):
            named = re.match(r"### \w+, protocol (\w+)", line)
            protocol = named[1] if named else HEADLINE
        if line.startswith("|  | "):
            has_references = line.endswith("| ceiling | floor |")
        elif line.startswith("| ") and has_references and "---" not in line:
            cells = [cell.strip().replace("**", "") for cell in line.strip("| ").split(" | ")]
            label, level, *_ = [*cells, ""]
            label = re.sub(r" [↓↑]$", "", label)
            score = found.get(Row(table, protocol, label, level)) or found.get(Row(table, None, label, level))
            if score is not None:
                new = {-1: ("floor", number(score.floor))}
                if score.metric in ("coverage", "joint_divergence"):
                    new[-2] = ("ceiling", number(score.ceiling))
                for place, (what, value) in new.items():
                    if cells[place] != value:
                        changes.append(Change(Row(table, protocol, label, level), what, cells[place], value))
                    cells[place] = value
            line = f"| {' | '.join(cells)} |"
        lines.append(line)
    return "\n".join(lines) + "\n", changes


def main() -> None:
    """Prints the changes, and makes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=Path, required=True)
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    page = options.page.read_text(encoding="utf-8")
    text, changes = rewritten(page, references(options.grid))
    by_kind = defaultdict(list)
    for change in changes:
        by_kind[change.row.table, change.row.protocol, change.what, change.row.label.partition(",")[0]].append(change)
    print(f"{len(changes)} numbers change, {(page.count('**') - text.count('**')) // 2} are no longer bold\n")
    print("| table | protocol | what | row | level: old, new |\n| --- | --- | --- | --- | --- |")
    for (table, protocol, what, label), found in by_kind.items():
        cells = "; ".join(
            f"{each.row.label.partition(', ')[2]} {each.row.level}: {each.old}, {each.new}".strip() for each in found
        )
        print(f"| {table} | {protocol} | {what} | {label} | {cells} |")
    if options.write:
        options.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
