"""Contact sheets: a grid of images, each with its label under it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..base.errors import BenchmarkError
from ..base.seeds import derive_seed
from ..concepts import UNSPECIFIED, Schema
from ..concepts.captions import CAPTION_SEED
from .base import ConceptDataModule
from .batch import Batch
from .sheets import INK, check_picture_name, draw_sheet, lettering, save_picture

CELL, COLOUR_CELL, GAP, LINE, FONT = 128, 224, 8, 1, 12
FRAME = (200, 200, 200)
MASK_COLOURS = ((1.0, 0.1, 0.1), (0.1, 0.4, 1.0), (0.1, 0.8, 0.2), (1.0, 0.8, 0.1))
"""Colours of the first mask, the second, ...; repeated if there are more."""


def contact_sheet(
    images: Tensor, labels: Sequence[str], *, title: str, num_columns: int = 8, cell: int = CELL
) -> Image.Image:
    """Images in rows, each enlarged without smoothing to about ``cell`` pixels, with its label under it.

    Args:
        images: Float[B, C, H, W] in [0, 1], with one or three channels.
        labels: One per image; long lines are broken.
        title: Text above the grid.
        num_columns: Images per row.
        cell: Width of an image on the sheet in pixels.

    Raises:
        ValueError: if there are no images, or not one label per image.
    """
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"a contact sheet needs one label per image, got {len(labels)} for {len(images)} images")
    font, (title, *labels) = lettering(FONT, [title, *labels])
    num_columns = min(num_columns, len(images))
    scale = max(1, cell // images.shape[-1])
    height, width = scale * images.shape[-2], scale * images.shape[-1]
    wrapped = [_wrap(label, font, width) for label in labels]
    label_height = _height(max(wrapped, key=lambda text: text.count("\n")), font)
    heading = _wrap(title, font, num_columns * (width + GAP) - GAP)
    top = 2 * GAP + _height(heading, font)
    sheet, places = draw_sheet(
        images.clamp(0, 1),
        num_columns=num_columns,
        scale=scale,
        gap=GAP - 2 * LINE,
        margins=(GAP - LINE, top - LINE, LINE, GAP + LINE),
        border=LINE,
        colours=[FRAME] * len(images),
        row_heights=[height + GAP + label_height] * -(-len(images) // num_columns),
    )
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((GAP, GAP), heading, INK, font)
    for (x, y), label in zip(places, wrapped, strict=True):
        draw.multiline_text((x, y + height + 2), label, INK, font)
    return sheet


def preview(
    data: ConceptDataModule, path: Path, *, num_images: int, partition: str = "train", masks: bool = False
) -> dict[str, Any]:
    """Writes a contact sheet of random images of a partition (always the same ones), labelled with their concepts.

    Args:
        data: After ``setup()``.
        path: PNG, JPEG or WebP file, by its extension; replaced atomically.
        num_images: At most the size of the partition.
        partition: train, val or test.
        masks: Show each image next to its foreground masks.

    Returns:
        Plain JSON: the file, the rows shown and their concepts; captions if the dataset has any.

    Raises:
        BenchmarkError: for another extension, or if masks are requested but there are none.
    """
    check_picture_name(path)
    rows = data.rows(partition).cpu()
    generator = torch.Generator().manual_seed(derive_seed("preview", fingerprint=data.fingerprint))
    batch = data.store.batch(rows[torch.randperm(len(rows), generator=generator)[:num_images]]).to("cpu")
    concepts = [data.schema.format(concept) for concept in batch.concept.tolist()]
    labels = [label_of(data.schema, concept) for concept in batch.concept.tolist()]
    captions = _captions(data, batch)
    if captions is not None:
        labels = [f"{label}\n“{caption}”" for label, caption in zip(labels, captions, strict=True)]
    title = (
        f"{data.spec.name}, source {data.spec.source}, {' x '.join(map(str, data.image_shape[1:]))}, "
        f"{partition} of split {data.spec.split}, fingerprint {data.fingerprint}"
    )
    images, cell = batch.image, CELL if data.image_shape[0] == 1 else COLOUR_CELL
    if masks:
        if batch.mask is None:
            raise BenchmarkError(f"{data.spec.name} from source {data.spec.source} has no masks: leave out --masks")
        images, cell = torch.cat([images.expand(-1, 3, -1, -1), _tinted(images, batch.mask)], -1), 2 * cell
    sheet = contact_sheet(images, labels, title=title, cell=cell, num_columns=4 if masks else 8)
    save_picture(sheet, path)
    shown = {"file": str(path), "rows": batch.index.tolist(), "concepts": concepts}
    return shown if captions is None else {**shown, "captions": captions}


def label_of(schema: Schema, concept: Sequence[int]) -> str:
    """A concept under a picture: :meth:`~mmvae_bench.concepts.Schema.label`; numbers that several attributes can have
    say which one they are of, and those of what is not there (0) are left out.

    >>> from mmvae_bench.concepts import Attribute
    >>> counts = Schema(tuple(Attribute(name, ("0", "1", "2")) for name in ("ones", "twos", "threes")))
    >>> label_of(counts, [0, 2, 1]), label_of(counts, [0, 0, 0])
    ('twos=2, threes=1', '(none)')
    """
    numbered = Counter(each.values for each in schema.attributes if all(value.isdecimal() for value in each.values))
    shared = [numbered[each.values] > 1 for each in schema.attributes]
    named = [
        f"{each.name}={each.values[index]}"
        for each, index, is_shared in zip(schema.attributes, concept, shared, strict=True)
        if is_shared and index >= 0 and each.values[index] != "0"
    ]
    others = [UNSPECIFIED if is_shared else index for index, is_shared in zip(concept, shared, strict=True)]
    return ", ".join([*named, *filter(None, [schema.label(others)])]) or "(none)"


def _captions(data: ConceptDataModule, batch: Batch) -> list[str] | None:
    """A caption for each image; None if the dataset has none."""
    try:
        captions = data.spec.captions()
    except BenchmarkError:
        return None
    tokens = captions.render(batch.concept, index=batch.index, seed=CAPTION_SEED)
    return [captions.text(row) for row in tokens]


def _tinted(images: Tensor, masks: Tensor) -> Tensor:
    """The images in grey, with the masks laid over them in colours."""
    tinted = images.mean(1, keepdim=True).expand(-1, 3, -1, -1).clone() * 0.5
    for number, mask in enumerate(masks.unbind(1)):
        colour = torch.tensor(MASK_COLOURS[number % len(MASK_COLOURS)])[:, None, None]
        tinted = torch.where(mask[:, None], 0.4 * tinted + 0.6 * colour, tinted)
    return tinted


def _wrap(text: str, font: Any, width: int) -> str:
    """``text`` in lines of at most ``width`` pixels, its own or shorter ones, broken between words; within a word where
    it is wider than a line, after a sign such as ``_`` if there is one."""
    lines: list[str] = []
    for own in text.splitlines():
        first = True
        for word in own.split():
            longer = word if first else f"{lines[-1]} {word}"
            if first or font.getlength(longer) > width:
                lines += _pieces(word, font, width)
            else:
                lines[-1] = longer
            first = False
    return "\n".join(lines)


def _pieces(word: str, font: Any, width: int) -> list[str]:
    """A word in pieces that are no wider than a line, unless a letter is."""
    pieces = []
    while font.getlength(word) > width and len(word) > 1:
        fits = next((end for end in range(len(word) - 1, 1, -1) if font.getlength(word[:end]) <= width), 1)
        signs = [end for end in range(fits // 2, fits + 1) if end and not word[end - 1].isalnum()]
        cut = signs[-1] if signs else fits
        pieces.append(word[:cut])
        word = word[cut:]
    return [*pieces, word]


def _height(text: str, font: Any) -> int:
    box = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), text, font=font)
    return int(box[3]) + 4
