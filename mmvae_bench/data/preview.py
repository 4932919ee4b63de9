"""Contact sheets: a grid of images, each with its label under it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2.functional import to_pil_image

from ..files import atomic_path
from ..specs.seeds import derive_seed
from .base import ConceptDataModule

CELL, GAP, FONT = 128, 8, 12
INK, PAPER, FRAME = (30, 30, 30), (255, 255, 255), (200, 200, 200)


def contact_sheet(
    images: Tensor, labels: Sequence[str], *, title: str, num_columns: int = 8, cell: int = CELL
) -> Image.Image:
    """Images in rows, each enlarged without smoothing to about ``cell`` pixels, with its label under it.

    Args:
        images: Float[B, C, H, W] in [0, 1], with one or three channels.
        labels: One an image; long ones are broken into lines.
        title: Stands above the grid.
        num_columns: Images a row.
        cell: Width of an image on the sheet in pixels.

    Raises:
        ValueError: where there are no images, or not one label an image.
    """
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"a contact sheet needs one label an image, got {len(labels)} for {len(images)} images")
    font = ImageFont.load_default(FONT)
    num_columns = min(num_columns, len(images))
    scale = max(1, cell // images.shape[-1])
    enlarged = interpolate(images.expand(-1, 3, -1, -1).float().cpu(), scale_factor=scale, mode="nearest")
    height, width = enlarged.shape[-2:]
    wrapped = [_wrap(label, font, width) for label in labels]
    step_x, step_y = width + GAP, height + GAP + _height(max(wrapped, key=lambda text: text.count("\n")), font)
    heading = _wrap(title, font, num_columns * step_x - GAP)
    top = 2 * GAP + _height(heading, font)
    num_rows = -(-len(images) // num_columns)
    sheet = Image.new("RGB", (num_columns * step_x + GAP, top + num_rows * step_y + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((GAP, GAP), heading, INK, font)
    for index, (image, label) in enumerate(zip(enlarged, wrapped, strict=True)):
        x, y = GAP + index % num_columns * step_x, top + index // num_columns * step_y
        sheet.paste(to_pil_image(image.clamp(0, 1)), (x, y))
        draw.rectangle((x - 1, y - 1, x + width, y + height), outline=FRAME)
        draw.multiline_text((x, y + height + 2), label, INK, font)
    return sheet


def preview(data: ConceptDataModule, path: Path, *, num_images: int, partition: str = "train") -> dict[str, Any]:
    """Writes a contact sheet of random images of a partition (always the same ones), labelled with their concepts.

    Args:
        data: After ``setup()``.
        path: PNG file, replaced atomically.
        num_images: At most the size of the partition.
        partition: train, val or test.

    Returns:
        Plain JSON: the file, the rows shown and their concepts.
    """
    rows = data.rows(partition).cpu()
    generator = torch.Generator().manual_seed(derive_seed("preview", fingerprint=data.fingerprint))
    batch = data.store.batch(rows[torch.randperm(len(rows), generator=generator)[:num_images]])
    concepts = [data.schema.format(concept) for concept in batch.concept.tolist()]
    values = [", ".join(pair.split("=")[1] for pair in concept.split(", ")) for concept in concepts]
    title = (
        f"{data.spec.name}, source {data.spec.source}, {' x '.join(map(str, data.image_shape[1:]))}, "
        f"{partition} of split {data.spec.split}, fingerprint {data.fingerprint}"
    )
    sheet = contact_sheet(batch.image, values, title=title)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
    return {"file": str(path), "rows": batch.index.tolist(), "concepts": concepts}


def _wrap(text: str, font: Any, width: int) -> str:
    """``text`` in lines of at most ``width`` pixels, broken between words only."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def _height(text: str, font: Any) -> int:
    box = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), text, font=font)
    return int(box[3]) + 4
