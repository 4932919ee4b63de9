"""Visual analogies: images whose style is kept while one attribute takes each of its values.

Kingma et al. (2014), Fig. 3; Siddharth et al. (2017), Fig. 4.

Shapes: B image, C channel, H height, W width, A attribute, V value of any attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.preview import contact_sheet, label_of
from ..data.sheets import save_picture
from ..objectives.base import POSTERIOR_NAMES, CapabilityError, Objective, evaluating
from ..objectives.intrinsic import IntrinsicSSVAE
from .fitting import fit_latents
from .images import Asked


@torch.no_grad()
def analogies(model: Objective, asked: Asked, attribute: str, out: Path) -> dict[str, Any]:
    """Each image beside what the model makes of it under every value of an attribute, all else as it is.

    Args:
        model: One with p(x|y,z).
        asked: Images. Those of the dataset have their own labels; any other is described by the model first.
        attribute: Its name.
        out: The picture: a row for each image, the image itself and then a column for each value.

    Returns:
        Plain JSON: the file, the attribute, its values, how z was inferred; and for each image its name, its concept,
        whether the model described it, its own value, the mean squared error of the picture of that value, and for
        each value the mean squared difference from that picture.

    Raises:
        CapabilityError: if the model has no p(x|y,z) or takes captions, or the images have no label and it cannot
            describe them.
    """
    _require_decoder_of_labels(model, attribute)
    is_described = asked.concepts is None
    if asked.concepts is not None:
        concepts, own = asked.concepts, asked.descriptions if asked.descriptions is not None else asked.concepts
    elif model.can_describe:
        concepts = own = model.describe(asked.images).cpu()
    else:
        raise CapabilityError(
            f"{model.spec.name} cannot describe an image, so the label of a picture of your own, which z is inferred "
            "with, is not known: take images of the dataset"
        )
    place = model.schema.names.index(attribute)
    values = model.schema.attributes[place].values
    is_own = [concepts[:, place] == value for value in range(len(values))]
    # What y is of the image may be a score of its value: the picture of that value is of y as it is.
    labels = [
        torch.where(mine[:, None], own, changed(own, place, value, model.schema.sizes))
        for value, mine in enumerate(is_own)
    ]
    source, pictures = analogous(model, asked.images, own, labels)

    shown = torch.stack(pictures, 1).cpu()
    mine = shown[torch.arange(len(asked)), concepts[:, place]]
    errors = _mean_square(mine - asked.images)
    changes = _mean_square(shown - mine[:, None])
    images = torch.cat([asked.images[:, None], shown], 1)
    said = "as described" if is_described else "its own"
    texts, entries = [], []
    for k, (name, concept) in enumerate(zip(asked.names, concepts.tolist(), strict=True)):
        texts.append(f"{name}\n{label_of(model.schema, concept)}")
        texts += [
            f"{attribute}={value}\n{said}" if number == concept[place] else f"{attribute}={value}"
            for number, value in enumerate(values)
        ]
        entries.append(
            {
                "image": name,
                "concept": model.schema.format(concept),
                "described": is_described,
                "own": values[concept[place]],
                "error": float(errors[k]),
                "changes": changes[k].tolist(),
            }
        )
    title = f"{model.spec.name}: {attribute} of real images changed, all else as it is; z from {source}"
    save_picture(contact_sheet(images.flatten(0, 1), texts, title=title, num_columns=images.shape[1]), out)
    about = {"attribute": attribute, "values": list(values), "z_from": source}
    return {"file": str(out), **about, "images": entries, "notes": list(asked.notes)}


@torch.no_grad()
def analogous(model: Objective, image: Tensor, own: Tensor, labels: Sequence[Tensor]) -> tuple[str, list[Tensor]]:
    """E[x|y',z] for each y', with one z for all: that of the image and its own y.

    Where there is no q(z|x,y), as of disCVAE, z is found by optimisation. Of intrinsic images the reflectance is kept:
    their y reaches x by way of the shading alone, which is part of z. Where y counts components, those that the image
    does not show are at the centre of the prior.

    Args:
        model: One with p(x|y,z).
        image: Float[B, C, H, W].
        own: What each shows, Long[B, A], or weights of values, Float[B, V].
        labels: Each y', like ``own``.

    Returns:
        (how z was inferred, Float[B, C, H, W] in [0, 1] for each y').
    """
    image, own = image.to(model.device), own.to(model.device)
    labels = [each.to(model.device) for each in labels]
    if isinstance(model, IntrinsicSSVAE):
        return "q(r|x)", [model.reconstruct(image, each) for each in labels]
    with evaluating(model):
        if "joint" in model.spec.posteriors:
            source, z = POSTERIOR_NAMES["joint"], model.encode(image, own)
        else:
            source, z = "optimisation, y told", fit_latents(model, image, own).z
        return source, [model.image_likelihood(z, each).mean.clamp(0, 1) for each in labels]


def changed(own: Tensor, place: int, value: int, sizes: Sequence[int]) -> Tensor:
    """Labels in which one attribute has another value: Long[B, A], or weights of all values, Float[B, V].

    Args:
        own: Labels of the same kind.
        place: The attribute's.
        value: The value's number.
        sizes: The number of values of each attribute.

    >>> changed(torch.tensor([[0, 2]]), 0, 1, (2, 3)).tolist()
    [[1, 2]]
    >>> changed(torch.tensor([[0.25, 0.75, 1.0, 0.0, 0.0]]), 0, 1, (2, 3)).tolist()
    [[0.0, 1.0, 1.0, 0.0, 0.0]]
    """
    other = own.clone()
    if not own.is_floating_point():
        other[:, place] = value
        return other
    start = sum(sizes[:place])
    other[:, start : start + sizes[place]] = F.one_hot(torch.tensor(value), sizes[place]).to(other)
    return other


def _require_decoder_of_labels(model: Objective, attribute: str) -> None:
    """Raises CapabilityError if z alone is decoded, or z and captions."""
    if isinstance(model, IntrinsicSSVAE):
        return
    try:
        with evaluating(model):
            model.image_likelihood(next(model.parameters()).new_zeros(1, model.latent_size))
    except CapabilityError:
        if model.captions is None:
            return
        raise CapabilityError(
            f"{model.spec.name} takes captions, in which {attribute} is not one value to be changed"
        ) from None
    hint = f": traverse changes {attribute} of a concept, interpolate passes from one to another"
    raise CapabilityError(
        f"{model.spec.name} has p(x|z): its z holds {attribute} too, which cannot be changed beside it"
        + (hint if model.can_imagine else "")
    )


def _mean_square(difference: Tensor) -> Tensor:
    """Float64[...] of Float[..., C, H, W]."""
    return difference.double().square().mean((-3, -2, -1))
