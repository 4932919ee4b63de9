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

from ..base.errors import BenchmarkError
from ..base.files import atomic_path
from ..base.hashing import derive_seed
from ..concepts import Schema
from ..concepts.captions import CAPTION_SEED
from .base import ConceptDataModule
from .batch import Batch

CELL, COLOUR_CELL, GAP, FONT = 128, 224, 8, 12
INK, PAPER, FRAME = (30, 30, 30), (255, 255, 255), (200, 200, 200)
MASK_COLOURS = ((1.0, 0.1, 0.1), (0.1, 0.4, 1.0), (0.1, 0.8, 0.2), (1.0, 0.8, 0.1))
"""Of the first mask, the second, ...; again from the first where there are more."""

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""File name endings, and the format that each stands for."""


def contact_sheet(
    images: Tensor, labels: Sequence[str], *, title: str, num_columns: int = 8, cell: int = CELL
) -> Image.Image:
    """Images in rows, each enlarged without smoothing to about ``cell`` pixels, with its label under it.

    Args:
        images: Float[B, C, H, W] in [0, 1], with one or three channels.
        labels: One an image; long lines are broken.
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


def preview(
    data: ConceptDataModule, path: Path, *, num_images: int, partition: str = "train", masks: bool = False
) -> dict[str, Any]:
    """Writes a contact sheet of random images of a partition (always the same ones), labelled with their concepts.

    Args:
        data: After ``setup()``.
        path: PNG, JPEG or WebP file, by its ending; replaced atomically.
        num_images: At most the size of the partition.
        partition: train, val or test.
        masks: Show each image with its foreground masks beside it.

    Returns:
        Plain JSON: the file, the rows shown and their concepts; captions where the dataset has any.

    Raises:
        BenchmarkError: for another ending, or where masks are asked for and there are none.
    """
    check_picture_name(path)
    rows = data.rows(partition).cpu()
    generator = torch.Generator().manual_seed(derive_seed("preview", fingerprint=data.fingerprint))
    batch = data.store.batch(rows[torch.randperm(len(rows), generator=generator)[:num_images]]).to("cpu")
    concepts = [data.schema.format(concept) for concept in batch.concept.tolist()]
    labels = [short_label(data.schema, concept) for concept in batch.concept.tolist()]
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
            raise BenchmarkError(f"{data.spec.name} from source {data.spec.source} has no masks: leave --masks out")
        images, cell = torch.cat([images.expand(-1, 3, -1, -1), _tinted(images, batch.mask)], -1), 2 * cell
    sheet = contact_sheet(images, labels, title=title, cell=cell, num_columns=4 if masks else 8)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format=PICTURES[path.suffix.lower()], quality=95)
    shown = {"file": str(path), "rows": batch.index.tolist(), "concepts": concepts}
    return shown if captions is None else {**shown, "captions": captions}


def check_picture_name(path: Path) -> None:
    """Raises BenchmarkError unless the name ends as that of a picture that can be written."""
    if path.suffix.lower() not in PICTURES:
        raise BenchmarkError(f"--out {path}: a contact sheet is a picture; end its name in {', '.join(PICTURES)}")


def short_label(schema: Schema, concept: Sequence[int]) -> str:
    """A fully specified concept in few words: of an attribute with the values no and yes its name, where it is yes.

    >>> from mmvae_bench.concepts import Attribute
    >>> flags = Schema((Attribute("Bald", ("no", "yes")), Attribute("Male", ("no", "yes"))))
    >>> short_label(flags, [0, 1]), short_label(flags, [0, 0])
    ('Male', '(none)')
    """
    words = []
    for attribute, value in zip(schema.attributes, concept, strict=True):
        if attribute.values != ("no", "yes"):
            words.append(attribute.values[value])
        elif value:
            words.append(attribute.name)
    return ", ".join(words) or "(none)"


def _captions(data: ConceptDataModule, batch: Batch) -> list[str] | None:
    """A caption of each image; None where the dataset has none."""
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
    """``text`` in lines of at most ``width`` pixels, its own or shorter ones, broken between words only."""
    lines: list[str] = []
    for own in text.splitlines():
        first = True
        for word in own.split():
            longer = word if first else f"{lines[-1]} {word}"
            if first or font.getlength(longer) > width:
                lines.append(word)
            else:
                lines[-1] = longer
            first = False
    return "\n".join(lines)


def _height(text: str, font: Any) -> int:
    box = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), text, font=font)
    return int(box[3]) + 4
