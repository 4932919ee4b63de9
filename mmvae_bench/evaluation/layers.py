"""Pictures of a layered model: what it puts in front, where the background shows, and what it puts behind.

Shapes: S sample, C channel, H height, W width, D latent dimension, A attribute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..base.randomness import own_randomness
from ..base.seeds import derive_seed
from ..data.preview import COLOUR_CELL, contact_sheet
from ..data.sheets import save_picture
from ..distributions.layers import Layers
from ..objectives.base import CapabilityError, Objective, evaluating
from ..objectives.discvae import DisCVAE
from .fitting import fit_latents
from .images import Asked

NAMES = ("foreground", "gate", "background", "composed")


@torch.no_grad()
def layers(
    model: Objective, out: Path, *, concept: str | None = None, asked: Asked | None = None, num_samples: int = 4,
    seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """The layers of samples of a concept, or those found in real images with their own concepts, without a mask.

    Args:
        model: A layered one.
        out: The picture: a row for each sample or image; foreground, gate, background and the composed image.
        concept: What to draw; unspecified attributes are imputed, for each sample anew.
        asked: Real images, which come first in their rows; used where no concept is given.
        num_samples: S.
        seed: Of z, or of the starts of the optimisation.

    Returns:
        Plain JSON: the file, and for each row its concept and the share of the image that the gate hides.

    Raises:
        CapabilityError: if the model has no layers, or is not told the concepts of images.
        ConfigError: if the concept cannot be read.
    """
    if not isinstance(model, DisCVAE):
        raise CapabilityError(f"{model.spec.name} has no layers: its image is decoded as a whole")
    with evaluating(model):
        if concept is not None:
            with own_randomness(derive_seed("layers", seed=seed), model.device):
                z, given = model.draw_latents(model.schema.parse(concept)[None].to(model.device), num_samples)
            shown, names, concepts = [], [concept] * num_samples, given
        else:
            if asked is None or asked.descriptions is None or asked.concepts is None:
                raise CapabilityError(f"{model.spec.name} must be told the concepts of images to find their layers")
            given, concepts = asked.descriptions.to(model.device), asked.concepts
            z = fit_latents(model, asked.images, given, seed=seed).z
            shown, names = [asked.images], list(asked.names)
        found = model.layers(z, given)
    hidden = (1 - found.gate.mean).mean((1, 2, 3)).tolist()
    columns = [*shown, *pictures_of(found)]
    labels = [*(["image"] if shown else []), *NAMES]
    texts = [f"{name}\n{label}" if not place else label for name in names for place, label in enumerate(labels)]
    images = torch.stack(columns, 1).flatten(0, 1).cpu()
    title = f"{model.spec.name}: layers of {concept or 'real images, found without a mask'}"
    save_picture(contact_sheet(images, texts, title=title, num_columns=len(columns), cell=COLOUR_CELL), out)
    rows = [
        {"name": name, "concept": model.schema.format(each), "hidden": share}
        for name, each, share in zip(names, concepts.tolist(), hidden, strict=True)
    ]
    return {"file": str(out), "rows": rows}


def pictures_of(found: Layers) -> list[torch.Tensor]:
    """Foreground, gate (white where the background shows), background and the composed image: Float[S, C, H, W]
    each."""
    foreground = found.foreground.mean
    return [foreground, found.gate.mean.expand_as(foreground), found.background.mean, found.mean.clamp(0, 1)]
