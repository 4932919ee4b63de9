"""Samples of the attributes of real images, beside the training image with the nearest attributes.

Yan et al. (2016, "Attribute2Image", Fig. 3): a model that only remembers shows the nearest training image; one that has
learnt shows others which fit the attributes as well.

Shapes: B image, M training image, S sample, C channel, H height, W width, A attribute, K number that codes attributes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..base.heartbeat import beat
from ..base.randomness import own_randomness
from ..base.seeds import derive_seed
from ..data.base import ConceptDataModule
from ..data.preview import contact_sheet, label_of
from ..data.sheets import save_picture
from ..objectives.base import Objective, evaluating
from .images import Asked
from .neighbours import MAX_TRAINING
from .questions.similarity import attribute_codes, nearest_coded
from .sampling import real_batches


@torch.no_grad()
def show_conditioned(
    model: Objective, data: ConceptDataModule, asked: Asked, out: Path, *, number: int, mean: bool = True, seed: int = 0
) -> dict[str, Any]:
    """A row for each real image: itself, the training image with the nearest attributes, and samples of its attributes.

    How near attributes are is how near their scores are, in the view of strengths, or else their values, in the code
    of protocol ``attribute2image``; of training images that are equally near it is the first that this protocol finds.

    Args:
        model: With q(z|y) and p(x|z).
        data: Its data, after ``setup()``.
        asked: Images of the dataset.
        out: The picture.
        number: S.
        mean: Show the mean of p(x|z), not a sample.
        seed: Of the samples; those of an image do not depend on which others are asked.

    Returns:
        Plain JSON: the file, and for each image its name, its concept, the number of the nearest training image in the
        dataset, its concept, its distance and the names of the attributes of which it has another value.

    Raises:
        CapabilityError: if the model lacks one of the distributions.
    """
    assert asked.rows is not None, "a picture of your own has no known attributes"
    batch = data.store.batch(torch.tensor(asked.rows)).to(model.device)
    samples = torch.stack(
        [
            _samples(model, batch.description[k], number, mean, derive_seed("asked attributes", seed=seed, image=row))
            for k, row in enumerate(asked.rows)
        ],
        1,
    )
    index, concepts, codes = [], [], []
    for each in real_batches(data, "train", seed=0, device=model.device, limit=MAX_TRAINING):
        index.append(each.index)
        concepts.append(each.concept)
        codes.append(attribute_codes(data, each))
        beat()
    wanted, held = attribute_codes(data, batch), torch.cat(codes)
    place = nearest_coded(wanted, held)
    nearest = data.store.batch(torch.cat(index)[place]).to(model.device)
    found = torch.cat(concepts)[place]
    distance = (wanted - held[place]).norm(dim=1).tolist()
    entries, labels = [], []
    for k, name in enumerate(asked.names):
        concept, other = batch.concept[k].tolist(), found[k].tolist()
        differing = [each for each, one, two in zip(model.schema.names, concept, other, strict=True) if one != two]
        entries.append(
            {
                "image": name,
                "concept": model.schema.format(concept),
                "nearest": int(nearest.index[k]),
                "nearest_concept": model.schema.format(other),
                "distance": distance[k],
                "differing": differing,
            }
        )
        few = f"{len(differing)} of {len(model.schema)} attributes differ\ndistance {distance[k]:.2f}"
        labels += [f"{name}\n{label_of(model.schema, concept)}", f"training image {int(nearest.index[k])}\n{few}"]
        labels += [f"sample {place + 1}" for place in range(number)]
    columns = torch.cat([batch.image[None], nearest.image[None], samples])
    title = (
        f"{model.spec.name}: real images, the training images with the nearest attributes, samples of the attributes"
    )
    save_picture(
        contact_sheet(columns.transpose(0, 1).flatten(0, 1).cpu(), labels, title=title, num_columns=number + 2), out
    )
    return {"file": str(out), "training_images": len(held), "images": entries}


def _samples(model: Objective, description: Tensor, number: int, mean: bool, seed: int) -> Tensor:
    """Float[S, C, H, W] in [0, 1], of a concept, a caption or the weights of values."""
    with evaluating(model), own_randomness(seed, model.device):
        z, given = model.draw_latents(description[None], number)
        px = model.image_likelihood(z, given)
        return (px.mean if mean else px.sample()).clamp(0, 1)
