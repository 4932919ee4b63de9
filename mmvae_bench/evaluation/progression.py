"""One attribute changing gradually, everything else as it is: Fig. 4 of Yan et al. (2016).

Shapes: S sample, K step, C channel, H height, W width, A attribute, V value of any attribute, D latent dimension.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..backbones.layers import mixture
from ..base.randomness import own_randomness
from ..base.seeds import derive_seed
from ..data.preview import COLOUR_CELL, contact_sheet
from ..data.sheets import save_picture
from ..objectives.base import CapabilityError, Objective, evaluating
from ..objectives.cvae import CVAE


@torch.no_grad()
def progression(
    model: Objective, concept: str, attribute: str, out: Path, *, steps: int, num_samples: int = 4, seed: int = 0
) -> dict[str, Any]:
    """Samples of a concept, in each of which an attribute passes through all of its values in their order.

    A decoder that takes y also takes a mixture of values, so there are pictures between two values. In a row z and the
    other attributes are the same; those that the concept leaves open are imputed, row by row.

    Args:
        model: One with p(x|y,z).
        concept: What to draw.
        attribute: Its name.
        out: The picture: a row for each sample, a column for each step.
        steps: K, from the first value to the last one.
        num_samples: S.
        seed: Of z and of what is imputed.

    Returns:
        Plain JSON: the file, and for each step its place between the values, 0 for the first one.

    Raises:
        CapabilityError: if the decoder does not take y.
        ConfigError: if the concept cannot be read.
    """
    if not isinstance(model, CVAE):
        raise CapabilityError(f"{model.spec.name} has p(x|z): its decoder takes no y, of which values could be mixed")
    schema = model.schema
    place = schema.names.index(attribute)
    with evaluating(model):
        with own_randomness(derive_seed("progression", seed=seed), model.device):
            z, given = model.draw_latents(schema.parse(concept)[None].to(model.device), num_samples)
        places = torch.linspace(0, schema.sizes[place] - 1, steps)
        columns = [
            model.image_likelihood(z, between(given, at, place, schema.sizes)).mean.clamp(0, 1)
            for at in places.tolist()
        ]
    values = schema.attributes[place].values
    labels = [_label(attribute, values, at) for at in places.tolist()]
    images = torch.stack(columns, 1).flatten(0, 1).cpu()
    title = f"{model.spec.name}: {attribute} of {concept}, z and all other attributes as they are"
    save_picture(contact_sheet(images, labels * num_samples, title=title, num_columns=steps, cell=COLOUR_CELL), out)
    return {"file": str(out), "places": [round(at, 6) for at in places.tolist()], "labels": labels}


def between(concept: Tensor, at: float, place: int, sizes: tuple[int, ...]) -> Tensor:
    """Concepts in which one attribute lies between two neighbouring values: Float[S, V], weights of all values.

    Args:
        concept: Fully specified, Long[S, A].
        at: From 0, the attribute's first value, to the number of its values less one.
        place: The attribute's.
        sizes: The number of values of each attribute.

    >>> between(torch.tensor([[0, 1]]), 1.25, 0, (3, 2)).tolist()
    [[0.0, 0.75, 0.25, 0.0, 1.0]]
    """
    lower = min(int(at), sizes[place] - 1)
    share, ends = at - lower, []
    for value in (lower, min(lower + 1, sizes[place] - 1)):
        end = concept.clone()
        end[:, place] = value
        ends.append(mixture(end, sizes, dtype=torch.float32))
    return (1 - share) * ends[0] + share * ends[1]


def _label(attribute: str, values: tuple[str, ...], at: float) -> str:
    lower, share = int(at), at - int(at)
    return f"{attribute}={values[lower]}" if not share else f"{share:.0%} to {values[lower + 1]}"
