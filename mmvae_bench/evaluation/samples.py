"""The picture of a trained model: what it imagines at each level, and where the judge disagrees.

Shapes: Q query, S sample, C channel, H height, W width, A attribute.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2.functional import to_pil_image

from ..concepts import UNSPECIFIED
from ..data.base import ConceptDataModule
from ..files import atomic_path
from ..objectives.base import Objective
from ..specs.seeds import derive_seed
from ..specs.trial import EvaluationSpec
from .classifier import ObservationClassifier
from .queries import Queries, fixed_queries

ROWS_A_LEVEL, IMAGES_A_ROW = 2, 10
CELL, GAP, BORDER, FONT, LABEL_WIDTH = 72, 6, 3, 14, 210
PAPER, INK = (255, 255, 255), (30, 30, 30)
RIGHT, WRONG = (205, 205, 205), (214, 39, 40)


def write_samples(
    model: Objective, data: ConceptDataModule, classifier: ObservationClassifier, path: Path, *, seed: int = 0
) -> None:
    """Writes a PNG with two queries a level in rows and ten images of each, the same queries for every model.

    Shown is the mean of p(x|z); a red border says that the classifier, fed a sample of p(x|z) at the same z as in the
    evaluation, reads a specified attribute otherwise. A model without q(z|y) shows images of z ~ p(z) instead.

    Args:
        model: Trained.
        data: After ``setup()``.
        classifier: On the model's device.
        path: The file, replaced atomically.
        seed: Of the queries and the images.
    """
    title = f"{model.spec.name} on {data.spec.name}, source {data.spec.source}, split {data.spec.split}"
    if model.can_imagine:
        queries = torch.cat([each.concepts for each in _shown(model, data, seed=seed)])
        means, wrong = imagine_and_judge(model, classifier, queries, num_samples=IMAGES_A_ROW, seed=seed)
        labels = [_lines(model, concept) for concept in queries.tolist()]
        title += "\nmeans of p(x|z); red: the classifier reads a specified attribute of a sample otherwise"
    else:
        means = prior_images(model, num_rows=4, num_samples=IMAGES_A_ROW, seed=seed)
        wrong = torch.zeros(means.shape[:2], dtype=torch.bool)
        labels = ["z ~ p(z)"] * len(means)
        title += "\nno q(z|y): means of p(x|z) for z from the prior"
    sheet = draw_grid(means, wrong, labels, title=title)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def imagine_and_judge(
    model: Objective, classifier: ObservationClassifier, queries: Tensor, *, num_samples: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Mean images of queries, and where the classifier reads a sample at the same z otherwise.

    Args:
        model: With q(z|y).
        classifier: On the model's device.
        queries: Long[Q, A], -1 where unspecified.
        num_samples: S.
        seed: Of the images.

    Returns:
        (Float[Q, S, C, H, W], Bool[Q, S]), on the CPU.
    """
    chosen = derive_seed("sample grid", seed=seed)
    # The latents are drawn before the pixels, so equal generators give equal latents.
    images, means = (
        model.imagine(queries, num_samples=num_samples, mean=mean, generator=torch.Generator().manual_seed(chosen))
        for mean in (False, True)
    )
    read = classifier.predict(images.flatten(0, 1)).cpu().unflatten(0, (len(queries), num_samples))
    told = queries.cpu()[:, None]
    return means.cpu(), ((told != UNSPECIFIED) & (read != told)).any(-1)


@torch.no_grad()
def prior_images(model: Objective, *, num_rows: int, num_samples: int, seed: int) -> Tensor:
    """E[x|z] for z ~ N(0, I): Float[row, S, C, H, W], on the CPU."""
    generator = torch.Generator().manual_seed(derive_seed("sample grid", seed=seed))
    z = torch.randn(num_rows * num_samples, model.latent_size, generator=generator)
    training = model.training
    model.eval()
    px, _ = model.likelihood(z.to(model.device))
    model.train(training)
    means: Tensor = px.mean.clamp(0, 1).cpu()
    return means.reshape(num_rows, num_samples, *model.image_shape)


def draw_grid(images: Tensor, wrong: Tensor, labels: list[str], *, title: str) -> Image.Image:
    """Rows of images with a label at their left and a border each: red where ``wrong``, grey elsewhere.

    Args:
        images: Float[Q, S, C, H, W] in [0, 1], with one or three channels.
        wrong: Bool[Q, S].
        labels: One a row; line breaks are kept.
        title: Stands above.
    """
    num_rows, num_columns = images.shape[:2]
    scale = max(1, round(CELL / images.shape[-1]))
    cells = interpolate(images.flatten(0, 1).expand(-1, 3, -1, -1).float(), scale_factor=scale, mode="nearest")
    height, width = cells.shape[-2] + 2 * BORDER, cells.shape[-1] + 2 * BORDER
    font = ImageFont.load_default(FONT)
    top = GAP * 2 + (FONT + 4) * (title.count("\n") + 1)
    row_height = max(height, (FONT + 4) * max(label.count("\n") + 1 for label in labels)) + GAP
    size = (LABEL_WIDTH + num_columns * (width + GAP) + GAP, top + num_rows * row_height + GAP)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((GAP, GAP), title, INK, font)
    for row in range(num_rows):
        y = top + row * row_height
        draw.multiline_text((GAP, y), labels[row], INK, font)
        for column in range(num_columns):
            x = LABEL_WIDTH + column * (width + GAP)
            border = WRONG if wrong[row, column] else RIGHT
            draw.rectangle((x, y, x + width - 1, y + height - 1), fill=border)
            sheet.paste(to_pil_image(cells[row * num_columns + column]), (x + BORDER, y + BORDER))
    return sheet


def _shown(model: Objective, data: ConceptDataModule, *, seed: int) -> list[Queries]:
    """Two of the fixed test queries of each level that the model can answer, spread over the values."""
    shown = []
    for queries in fixed_queries(data, EvaluationSpec(seed=seed), "test"):
        if model.spec.partial_concepts or queries.level == len(model.schema):
            generator = torch.Generator().manual_seed(derive_seed("shown queries", seed=seed, level=queries.level))
            number = ROWS_A_LEVEL if data.spec.split != "comp" else 4 * ROWS_A_LEVEL
            chosen = torch.randperm(len(queries), generator=generator)[:number]
            shown.append(Queries(queries.partition, queries.level, queries.concepts[chosen]))
    return shown


def _lines(model: Objective, concept: list[int]) -> str:
    return model.schema.format(concept).replace(", ", "\n")
