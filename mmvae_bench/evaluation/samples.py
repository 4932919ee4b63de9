"""The picture of a trained model: what it imagines at each level, and where the classifier disagrees.

Shapes: Q query, S sample, C channel, H height, W width, A attribute.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import torch
from einops import rearrange
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..base.seeds import derive_seed
from ..concepts import UNSPECIFIED, Schema
from ..concepts.concepts import MOST_WORDS
from ..data.base import ConceptDataModule
from ..data.sheets import INK, PAPER, draw_sheet, lettering, save_picture
from ..metrics.functional import NOT_SCORED
from ..objectives.base import Objective, evaluating
from ..specs.trial import EvaluationSpec
from .classifier import ObservationClassifier
from .queries import Queries, fixed_queries, named_queries

ROWS_A_LEVEL, IMAGES_A_ROW = 2, 10
CELL, GAP, BORDER, FONT, LABEL_WIDTH = 72, 6, 3, 14, 210
MAX_NAMED, LONG, LINE = 4, 4, 26
"""Named queries shown; number of specified attributes above which a label is running text; its line length."""
RIGHT, WRONG = (205, 205, 205), (214, 39, 40)
REAL_IMAGES = 3
"""Real images beside each row."""
NOTE = "mmvae-bench"
"""Keyword of the text in the file that says where which image is, and what the classifier reads in it."""


def write_samples(
    model: Objective,
    data: ConceptDataModule,
    classifier: ObservationClassifier,
    path: Path,
    *,
    seed: int = 0,
    images: str = "sample",
) -> None:
    """Writes a PNG with a row of ten images per query: two queries per level and the named ones, the same for all
    models.

    The images are means of p(x|z). A red border, with a dark notch below it, means that the classifier, given what the
    evaluation shows it at that z (a sample of p(x|z), or the mean itself), reads some specified attribute differently;
    a grey one, that it reads all of them as specified; the title says which it was given. A query of given attributes
    alone leaves nothing to read: its images have no border. For a model without q(z|y) they are images of z ~ p(z),
    without borders. To the right are the first test images that satisfy the query. A text in the file says where each
    image is, and what is read in it.

    Args:
        model: Trained.
        data: After ``setup()``.
        classifier: On the model's device.
        path: The file, replaced atomically.
        seed: Seed of the queries and the images.
        images: The setting ``images`` of the evaluation.
    """
    source = f", source {data.spec.source}" if data.spec.source != data.spec.name else ""
    title = f"{model.spec.name} on {data.spec.name}{source}, split {data.spec.split}"
    title += ", texts" if data.spec.chosen_view == "text" else ""
    notes: list[dict[str, object]] = []
    real: list[Image.Image] = []
    num_real: list[int] = []
    if model.can_imagine:
        shown = _shown(model, data, seed=seed)
        queries = torch.cat([each.concepts for each in shown])
        judged_mean = images == "mean" or bool(getattr(model, "has_fixed_scale", False))
        means, told, read = imagine_and_read(
            model, classifier, queries, num_samples=IMAGES_A_ROW, seed=seed, judged_mean=judged_mean
        )
        wrong = _mistaken(told, read).any(-1)
        labels = [label_of(model.schema, concept) for concept in queries.tolist()]
        judged = (queries[:, list(model.schema.scored_positions)] != UNSPECIFIED).any(1)
        what = "of the mean" if judged_mean else "of a sample"
        title += f"\nmeans of p(x|z); red and notched: the classifier reads a specified attribute {what} otherwise"
        title += "" if bool(judged.all()) else "; no frame: nothing to judge"
        notes = [
            {
                "query": model.schema.words(query),
                "read": [_readings(model.schema, *each) for each in zip(*row, strict=True)],
            }
            for query, *row in zip(queries.tolist(), told.tolist(), read.tolist(), strict=True)
        ]
        found = [real_images(data, query, REAL_IMAGES) for query in queries]
        real, num_real = [_strip(each, _scale(means)) for each in found], list(map(len, found))
    else:
        means = prior_images(model, num_rows=4, num_samples=IMAGES_A_ROW, seed=seed)
        wrong, judged = torch.zeros(means.shape[:2], dtype=torch.bool), torch.zeros(len(means), dtype=torch.bool)
        labels = ["z ~ p(z)"] * len(means)
        title += "\nno q(z|y): means of p(x|z) for z from the prior"
    sheet = draw_grid(means, wrong, labels, title=title, judged=judged)
    places = sheet.info["places"]
    if real:
        sheet, real_places = _with_real(sheet, places[:: means.shape[1]], real, _scale(means) * means.shape[-1] + GAP)
        for row, note in enumerate(notes):
            own = places[row * means.shape[1] : (row + 1) * means.shape[1]]
            note |= {"places": own, "real": real_places[row][: num_real[row]]}
    scale = _scale(means)
    size = [scale * side for side in (means.shape[-1], means.shape[-2])]
    text = json.dumps({"version": 1, "scale": scale, "size": size, "rows": notes}, separators=(",", ":"))
    save_picture(sheet, path, texts={NOTE: text})


def imagine_and_judge(
    model: Objective,
    classifier: ObservationClassifier,
    queries: Tensor,
    *,
    num_samples: int,
    seed: int,
    judged_mean: bool = False,
) -> tuple[Tensor, Tensor]:
    """Mean images of queries, and where the classifier reads a sample at the same z, or the mean itself, differently.

    Args:
        model: With q(z|y).
        classifier: On the model's device.
        queries: Long[Q, A], -1 where unspecified.
        num_samples: S.
        seed: Seed of the images.
        judged_mean: Show the classifier the mean.

    Returns:
        (Float[Q, S, C, H, W], Bool[Q, S]), on the CPU.
    """
    means, told, read = imagine_and_read(
        model, classifier, queries, num_samples=num_samples, seed=seed, judged_mean=judged_mean
    )
    return means, _mistaken(told, read).any(-1)


def imagine_and_read(
    model: Objective,
    classifier: ObservationClassifier,
    queries: Tensor,
    *,
    num_samples: int,
    seed: int,
    judged_mean: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`imagine_and_judge`, with what was asked and what is read: Float[Q, S, C, H, W], Long[Q, S, A] twice."""
    chosen = derive_seed("sample grid", seed=seed)
    # The latents are drawn before the pixels, so equal generators give equal latents.
    images, means = (
        model.imagine(queries, num_samples=num_samples, mean=mean, generator=torch.Generator().manual_seed(chosen))
        for mean in (judged_mean, True)
    )
    told = queries.cpu()[:, None].expand(-1, num_samples, -1)
    read = classifier.predict(images.flatten(0, 1), given=told.flatten(0, 1)).cpu().unflatten(0, told.shape[:2])
    return means.cpu(), told, read


def _mistaken(told: Tensor, read: Tensor) -> Tensor:
    """Bool of the same shape: attributes that are specified and scored, and read otherwise."""
    return (told != UNSPECIFIED) & (read != NOT_SCORED) & (read != told)


def _readings(schema: Schema, told: Sequence[int], read: Sequence[int]) -> list[list[object]]:
    """What is read of each attribute that is specified and scored, in words, and whether it is wrong."""
    found: list[list[object]] = []
    for attribute, asked, seen in zip(schema.attributes, told, read, strict=True):
        if asked != UNSPECIFIED and seen != NOT_SCORED:
            no = attribute.values == ("no", "yes")
            word = f"{'' if seen else 'no '}{attribute.name}" if no else attribute.values[seen]
            found.append([word, seen != asked])
    return found


def real_images(data: ConceptDataModule, query: Tensor, number: int) -> Tensor:
    """The first images of the test part that satisfy a query: Float[S, C, H, W] with S at most ``number``."""
    rows = data.rows("test")
    fits = ((query == UNSPECIFIED) | (data.store.concepts[rows] == query)).all(1)
    return data.store.batch(rows[fits][:number]).image.cpu()


def _strip(images: Tensor, scale: int) -> Image.Image:
    """Images beside each other; as wide as REAL_IMAGES of them."""
    full = torch.ones(REAL_IMAGES, *images.shape[1:])
    full[: len(images)] = images
    return draw_sheet(full, num_columns=REAL_IMAGES, scale=scale, gap=GAP, margins=(0, 0, 0, 0), colours=())[0]


def _with_real(
    sheet: Image.Image, lefts: Sequence[tuple[int, int]], real: Sequence[Image.Image], step: int
) -> tuple[Image.Image, list[list[tuple[int, int]]]]:
    """A sheet with real images to the right of each row, and their places.

    Args:
        sheet: The sheet.
        lefts: The place of the first image of each row.
        real: The real images of each row.
        step: From one image to the next.
    """
    left = sheet.width + 3 * GAP
    whole = Image.new("RGB", (left + real[0].width, sheet.height), PAPER)
    whole.paste(sheet, (0, 0))
    font = ImageFont.load_default(FONT)
    ImageDraw.Draw(whole).text((left, lefts[0][1] - FONT - 2 * GAP), "real images", INK, font)
    for (_, y), strip in zip(lefts, real, strict=True):
        whole.paste(strip, (left, y))
    return whole, [[(left + step * index, y) for index in range(REAL_IMAGES)] for _, y in lefts]


def _scale(images: Tensor) -> int:
    """How many pixels of the sheet a pixel of an image is wide."""
    return max(1, round(CELL / images.shape[-1]))


@torch.no_grad()
def prior_images(model: Objective, *, num_rows: int, num_samples: int, seed: int) -> Tensor:
    """E[x|z] for z ~ p(z): Float[row, S, C, H, W], on the CPU."""
    generator = torch.Generator().manual_seed(derive_seed("sample grid", seed=seed))
    z = model.sample_prior(num_rows * num_samples, generator=generator)
    with evaluating(model):
        px = model.image_likelihood(z.to(model.device))
    means: Tensor = px.mean.clamp(0, 1).cpu()
    return rearrange(means, "(row s) c h w -> row s c h w", row=num_rows)


def draw_grid(
    images: Tensor, wrong: Tensor, labels: list[str], *, title: str, judged: Tensor | None = None
) -> Image.Image:
    """Rows of images with a label on their left and a border around each judged image: red if ``wrong``, else grey.

    Args:
        images: Float[Q, S, C, H, W] in [0, 1], with one or three channels.
        wrong: Bool[Q, S].
        labels: One per row; line breaks are kept.
        title: Text above the rows.
        judged: Bool[Q], the rows that get borders; None: all.
    """
    num_columns = images.shape[1]
    framed_rows = [True] * len(images) if judged is None else judged.tolist()
    scale = _scale(images)
    font, (title, *labels) = lettering(FONT, [title, *labels])
    height = scale * images.shape[-2] + 2 * BORDER
    sheet, places = draw_sheet(
        images.flatten(0, 1),
        num_columns=num_columns,
        scale=scale,
        gap=GAP,
        margins=(LABEL_WIDTH, GAP * 2 + _text_height(title), GAP, GAP),
        border=BORDER,
        colours=[
            (WRONG if each else RIGHT) if framed else PAPER
            for row, framed in zip(wrong.tolist(), framed_rows, strict=True)
            for each in row
        ],
        row_heights=[max(height, _text_height(label)) + GAP for label in labels],
    )
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((GAP, GAP), title, INK, font)
    for (_, y), label in zip(places[::num_columns], labels, strict=True):
        draw.multiline_text((GAP, y - BORDER), label, INK, font)
    bottom = scale * images.shape[-2] + BORDER
    for (x, y), each in zip(places, (wrong & torch.tensor(framed_rows)[:, None]).flatten().tolist(), strict=True):
        if each:
            left, top = x - BORDER, y + bottom
            draw.polygon([(left, top), (left + 2 * GAP, top), (left + GAP, top + GAP - 1)], INK)
    sheet.info["places"] = places
    return sheet


def _text_height(text: str) -> int:
    return (FONT + 4) * (text.count("\n") + 1)


def _shown(model: Objective, data: ConceptDataModule, *, seed: int) -> list[Queries]:
    """Two fixed test queries of each level that the model can condition on, spread over values; and named queries."""
    shown, evaluation = [], EvaluationSpec(seed=seed)
    asked = [*fixed_queries(data, evaluation, "test"), *named_queries(data, evaluation, "test")[:MAX_NAMED]]
    for queries in asked:
        if model.takes_partial_concepts or queries.level == len(model.schema):
            generator = torch.Generator().manual_seed(derive_seed("shown queries", seed=seed, level=queries.level))
            number = ROWS_A_LEVEL if data.spec.split != "comp" else 4 * ROWS_A_LEVEL
            chosen = torch.randperm(len(queries), generator=generator)[: 1 if queries.name else number]
            shown.append(Queries(queries.partition, queries.level, queries.concepts[chosen], name=queries.name))
    return shown


def label_of(schema: Schema, concept: Sequence[int]) -> str:
    """What a concept specifies: one line per attribute for up to four attributes, else running text.

    >>> from mmvae_bench.concepts import Attribute
    >>> schema = Schema(tuple(Attribute(name, ("no", "yes")) for name in ("Bald", "Male", "Smiling")))
    >>> label_of(schema, [1, 0, -1]), label_of(schema, [0, 1, 0])
    ('Bald\\nno Male', 'Male\\nno other')
    """
    words = schema.words(concept)
    if len(words) > MOST_WORDS:
        words = [*words[:MOST_WORDS], f"{len(words) - MOST_WORDS} more"]
    if len(words) <= LONG:
        return "\n".join(words)
    # No line is broken after a "no".
    unbroken = [re.sub("^no ", "no\u00a0", word) for word in words]
    return textwrap.fill(", ".join(unbroken), LINE, break_long_words=False).replace("\u00a0", " ")
