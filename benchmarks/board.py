"""One picture of a run: what each objective imagines for the same queries, beside real images of them.

Every model is given the same noise; a red frame means that the classifier reads a specified attribute otherwise. Real
images are the first of the test part that satisfy the query.

    python benchmarks/board.py runs/quick --where dataset.split=iid --where seed=0 --out board.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import mmvae_bench as mb
from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.concepts import UNSPECIFIED, Schema
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.sheets import INK, PAPER, draw_sheet, save_picture
from mmvae_bench.evaluation.evaluate import judge_of
from mmvae_bench.evaluation.samples import RIGHT, WRONG, imagine_and_judge, label_of
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.grid import load_grid
from mmvae_bench.specs.matching import matching
from mmvae_bench.specs.trial import TrialSpec

SCALE, GAP, BORDER, FONT, LABEL = 2, 4, 3, 14, 150


def main() -> None:
    """Reads the command line, writes the picture."""
    parse = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parse.add_argument("run", type=Path, help="a run folder whose trials still have their weights")
    parse.add_argument("--where", action="append", default=[], help="which trials, as in `mmvae-bench run`")
    parse.add_argument("--query", action="append", default=[], help='such as "shape=heart, colour=red"; repeats')
    parse.add_argument("--columns", type=int, default=3, help="images of each objective (default: 3)")
    parse.add_argument("--out", type=Path, required=True)
    given = parse.parse_args()
    trials = [spec for spec in matching(load_grid(given.run / "grid.yaml").trials, given.where) if _imagines(spec)]
    if len({spec.dataset for spec in trials}) != 1 or len({spec.seed for spec in trials}) != 1:
        raise BenchmarkError("a board shows one dataset, one split and one seed: narrow the trials with --where")
    data = trials[0].dataset.build()
    data.setup()
    queries = queries_of(data.schema, given.query)
    blocks = [("real images", *real_images(data, queries, given.columns))]
    judge = judge_of(data, trials[0].evaluation)
    for spec in trials:
        model: Objective = mb.load(given.run / "trials" / spec.key)
        drawn, wrong = imagine_and_judge(model, judge, queries, num_samples=given.columns, seed=0, judged_mean=True)
        blocks.append((spec.objective.name, drawn, wrong))
    save_picture(board(blocks, [label_of(data.schema, query) for query in queries.tolist()]), given.out)


def _imagines(spec: TrialSpec) -> bool:
    return "concept" in spec.objective.posteriors


def queries_of(schema: Schema, given: Sequence[str]) -> Tensor:
    """Long[Q, A]: the queries that were asked for; or one a level, from all attributes to the first alone."""
    if given:
        return torch.stack([torch.as_tensor(schema.parse(text)) for text in given])
    full = torch.tensor([size - 1 for size in schema.sizes])
    rows = [torch.where(torch.arange(len(full)) < level, full, UNSPECIFIED) for level in range(len(full), 0, -1)]
    return torch.stack(rows)


def real_images(data: ConceptDataModule, queries: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The first test images of each query, and that none of them is wrong: Float[Q, S, C, H, W] and Bool[Q, S]."""
    rows = data.rows("test")
    concepts = data.store.concepts[rows]
    found = [rows[((query == UNSPECIFIED) | (concepts == query)).all(1)][:number] for query in queries]
    for query, those in zip(queries.tolist(), found, strict=True):
        if len(those) < number:
            words = ", ".join(data.schema.words(query))
            raise BenchmarkError(
                f"only {len(those)} test images satisfy {words}: take fewer --columns, or another --query"
            )
    images = torch.stack([data.store.batch(each).image for each in found])
    return images, torch.zeros(images.shape[:2], dtype=torch.bool)


def board(blocks: Sequence[tuple[str, Tensor, Tensor]], labels: Sequence[str]) -> Image.Image:
    """One block of columns per name, one row per label."""
    font = ImageFont.load_default(FONT)
    height = SCALE * blocks[0][1].shape[-2] + 2 * BORDER
    heights = [max(height, (FONT + 4) * (label.count("\n") + 1)) + 2 * GAP for label in labels]
    sheets = [
        draw_sheet(
            images.flatten(0, 1),
            num_columns=images.shape[1],
            scale=SCALE,
            gap=GAP,
            margins=(3 * GAP, 2 * FONT, 0, GAP),
            border=BORDER,
            colours=[WRONG if each else RIGHT for each in wrong.flatten().tolist()],
            row_heights=heights,
        )
        for _, images, wrong in blocks
    ]
    result = Image.new("RGB", (LABEL + sum(sheet.width for sheet, _ in sheets), sheets[0][0].height), PAPER)
    draw = ImageDraw.Draw(result)
    left = LABEL
    for (name, _, _), (sheet, _) in zip(blocks, sheets, strict=True):
        result.paste(sheet, (left, 0))
        draw.text((left + 3 * GAP, GAP), name, INK, font)
        left += sheet.width
    for label, (_, top) in zip(labels, sheets[0][1][:: blocks[0][1].shape[1]], strict=True):
        draw.multiline_text((GAP, top - BORDER), label, INK, font)
    return result


if __name__ == "__main__":
    main()
