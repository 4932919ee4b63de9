"""What a trained model answers a person, as numbers and as a picture: reconstruction, completion, description, the way
between two concepts, and what one attribute or one latent does.

Shapes: B image, C channel, H height, W width, A attribute, T word, D latent dimension, S sample, K step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import repeat
from torch import Tensor

from ..base.randomness import own_randomness
from ..base.seeds import derive_seed
from ..concepts import UNSPECIFIED
from ..concepts.captions import CAPTION_SEED
from ..concepts.concepts import MOST_WORDS
from ..data.preview import COLOUR_CELL, contact_sheet, label_of
from ..data.sheets import save_picture
from ..data.strengths import is_complete
from ..distributions.latents import FactorisedCategorical
from ..objectives.base import POSTERIOR_NAMES, CapabilityError, Objective, evaluating
from .checks import argument_checks
from .fitting import Evidence, LacksConcept, fit_latents, scale_of
from .images import Asked
from .questions.reconstruction import squared_error
from .regions import Box, Region

NUM_DESCRIBED = 200
"""z ~ q(z|x) over which p(y|z) is averaged."""
REACH = 3.0
"""Standard deviations of the prior that a latent is moved to either side."""
MOST_LATENTS = 10
"""Latents shown where none is named: those that change the image most."""
Document = dict[str, Any]


def reconstruct(model: Objective, asked: Asked, out: Path, *, seed: int = 0) -> Document:
    """Each image beside its reconstructions: by the encoder, and by optimisation of z.

    Where there is no q(z|x), the encoder is that of q(z|x,y), and y that of the image. A decoder that takes y gets it.

    Returns:
        Plain JSON: the file, and for each image its name and concept; of both the mean squared error of a value,
        ``log p(x, z)``, and the text of the same z, None where there is no p(y|z).

    Raises:
        CapabilityError: if the model can do neither.
    """
    whole = torch.ones(len(asked), *model.image_shape[1:], dtype=torch.bool)
    return _completed(model, asked, whole, whole, None, out, "reconstruction", seed=seed)


def complete(
    model: Objective, asked: Asked, region: Region, told: Tensor | None, out: Path, *, seed: int = 0
) -> Document:
    """Each image with a part hidden, and that part as the model completes it.

    Args:
        model: Trained.
        asked: Images.
        region: What is hidden.
        told: Long[A] or Long[T], what the model is told about them; None: nothing.
        out: The picture.
        seed: Of the starts of the optimisation, and of a region at random places.

    Returns:
        As :func:`reconstruct`, with errors over what was hidden; and where that is, ``hidden``, if it is at a place of
        its own in each image.

    Raises:
        LacksConcept: if it needs the whole of y, and is not told it.
        CapabilityError: if the model can do neither.
    """
    hidden = torch.zeros(len(asked), *model.image_shape[1:], dtype=torch.bool)
    boxes = [region.at(number, seed=seed) for number in asked.numbers]
    for each, box in zip(hidden, boxes, strict=True):
        each[box.top : box.bottom, box.left : box.right] = True
    given = None if told is None else told.expand(len(asked), -1)
    document = _completed(model, asked, ~hidden, hidden, given, out, "completion", seed=seed)
    if not isinstance(region, Box):
        for entry, box in zip(document["images"], boxes, strict=True):
            entry["hidden"] = list(box)
    return document


def _completed(
    model: Objective,
    asked: Asked,
    observed: Tensor,
    counted: Tensor,
    told: Tensor | None,
    out: Path,
    what: str,
    *,
    seed: int,
) -> Document:
    is_whole, images = bool(observed.all()), asked.images
    own = asked.descriptions if is_whole else None
    answers, left_out = _answers(model, images, observed, told, own, seed=seed)
    columns, labels = [images], [[*asked.names]]
    if asked.concepts is not None:
        shown = [label_of(model.schema, concept) for concept in asked.concepts.tolist()]
        labels = [[f"{name}\n{text}" for name, text in zip(asked.names, shown, strict=True)]]
    if not is_whole:
        columns.append(images.masked_fill(~observed[:, None], 0))
        labels.append(["given"] * len(asked))
    entries: list[Document] = [{"image": name} | _concept_of(model, asked, k) for k, name in enumerate(asked.names)]
    for name, answer in answers.items():
        with evaluating(model), torch.no_grad():
            mean = model.image_likelihood(answer.z, answer.given).mean.clamp(0, 1).to(images.device)
            read = _read(model, answer.z)
        errors = squared_error(mean, images, counted).tolist()
        columns.append(torch.where((observed & ~counted)[:, None], images, mean))
        labels.append([f"{answer.source}\nerror {error:.4f}\n{text}" for error, text in zip(errors, read, strict=True)])
        for entry, error, text, log_joint in zip(entries, errors, read, answer.log_joint.tolist(), strict=True):
            entry[name] = {
                "z_from": answer.source,
                "error": error,
                "described": text or None,
                "log_joint": log_joint if math.isfinite(log_joint) else None,
            }
    scope = "a value in [0, 1]" if is_whole else "a hidden value in [0, 1]"
    _draw(columns, labels, f"{model.spec.name}: {what}; squared error of {scope}", out)
    return {"file": str(out), "images": entries, "left_out": left_out, "notes": list(asked.notes)}


@dataclass(frozen=True)
class Answer:
    """z inferred from images.

    Attributes:
        source: How.
        z: Float[B, D].
        log_joint: Float64[B], log p(x_O, z), or p(x_O, y, z) where y was told.
        given: What the image decoder gets with z.
    """

    source: str
    z: Tensor
    log_joint: Tensor
    given: Tensor | None


def _answers(
    model: Objective, image: Tensor, observed: Tensor, told: Tensor | None, own: Tensor | None, *, seed: int
) -> tuple[dict[str, Answer], dict[str, str]]:
    """The answers of the encoder and of the optimisation, and why there is none of one of them.

    Args:
        model: Trained.
        image: Float[B, C, H, W].
        observed: Bool[B, H, W].
        told: What the model is told, Long[B, A] or Long[B, T].
        own: What the images show, for a model that cannot do without.
        seed: Of the optimisation's starts.

    Raises:
        LacksConcept: if there is no p(x|z), and the whole of y is not told.
        CapabilityError: if there is neither answer.
    """
    observed = observed.to(model.device)
    image = image.to(model.device).masked_fill(~observed[:, None], 0)
    told, own = (None if each is None else each.to(model.device) for each in (told, own))
    left_out: dict[str, str] = {}
    with evaluating(model), torch.no_grad(), argument_checks(False):
        try:
            evidence = Evidence(model, image, observed, told)
        except LacksConcept as error:
            if told is None and own is None:
                raise LacksConcept(f"{error}, a full one, and none was given") from None
            if own is None:
                raise
            evidence = Evidence(model, image, observed, own)
        given, answers = evidence.told if evidence.conditional else None, {}
        try:
            source, z = _encoder(model, image, told, own)
            log_joint = evidence.log_joint(z, torch.arange(len(z), device=z.device))
            answers["encoder"] = Answer(source, z, log_joint, given)
        except CapabilityError as error:
            left_out["encoder"] = str(error)
    try:
        fitted = fit_latents(model, image, evidence.told, observed, seed=seed)
    except CapabilityError as error:
        if not answers:
            raise
        return answers, left_out | {"fitted": str(error)}
    source = "optimisation" if evidence.told is None else "optimisation, y told"
    return answers | {"fitted": Answer(source, fitted.z, fitted.log_joint, given)}, left_out


def _encoder(model: Objective, image: Tensor, told: Tensor | None, own: Tensor | None) -> tuple[str, Tensor]:
    """z of q(z|x,y) if the whole of y is told, else of q(z|x), else of q(z|x,y) of what the images show."""
    available = model.spec.posteriors
    if "joint" in available and told is not None and is_complete(told):
        return POSTERIOR_NAMES["joint"], model.encode(image, told)
    if "image" not in available and "joint" in available and own is not None:
        return POSTERIOR_NAMES["joint"], model.encode(image, own)
    return POSTERIOR_NAMES["image"], model.encode(image)


@torch.no_grad()
def describe(model: Objective, asked: Asked, out: Path | None = None, *, seed: int = 0) -> Document:
    """q(y|x), or the mean of p(y|z) over z ~ q(z|x): for each attribute the probability of every value.

    In the text view a caption is written at each z and read back, and a value's probability is the share of captions
    that say it; None is the value of an attribute of which most say nothing.

    Returns:
        Plain JSON: for each image its name, its concept, and by attribute ``value``, ``probability`` and
        ``probabilities``; the file if there is one.

    Raises:
        CapabilityError: if there is neither q(y|x) nor both q(z|x) and p(y|z).
    """
    with evaluating(model):
        # Image by image, so that an image is described as it is among others.
        each = [_shares_of(model, image[None].to(model.device), seed) for image in asked.images]
        shares = [torch.stack(rows) for rows in zip(*each, strict=True)]
    entries: list[Document] = []
    for k, name in enumerate(asked.names):
        attributes = {}
        for attribute, share in zip(model.schema.attributes, shares, strict=True):
            values = dict(zip((*attribute.values, None), share[k].tolist(), strict=True))
            best = max(values, key=lambda value: values[value])
            named = {value: each for value, each in values.items() if value is not None}
            unsaid = {} if model.captions is None else {"unsaid": values[None]}
            attributes[attribute.name] = {"value": best, "probability": values[best], "probabilities": named} | unsaid
        entries.append({"image": name} | _concept_of(model, asked, k) | {"attributes": attributes})
    if out is not None:
        labels = ["\n".join([name, *_described(entry)]) for name, entry in zip(asked.names, entries, strict=True)]
        sheet = contact_sheet(asked.images, labels, title=f"{model.spec.name}: q(y|x)", num_columns=4, cell=COLOUR_CELL)
        save_picture(sheet, out)
    return {"file": None if out is None else str(out), "images": entries, "notes": list(asked.notes)}


def _described(entry: Document) -> list[str]:
    """A line for each attribute; where there are many, for the first of those that are there."""
    said = entry["attributes"]
    if len(said) > MOST_WORDS:
        said = {name: each for name, each in said.items() if each["value"] != "no"}
    lines = [f"{name}={each['value'] or '?'} {each['probability']:.0%}" for name, each in said.items()]
    return [*lines[:MOST_WORDS], *([f"and {len(lines) - MOST_WORDS} more"] if len(lines) > MOST_WORDS else [])]


def _shares_of(model: Objective, image: Tensor, seed: int) -> list[Tensor]:
    """For each attribute the mean probability of its values, and of nothing being said: Float[V + 1] each.

    Args:
        model: With q(y|x) of every attribute, or q(z|x) and p(y|z).
        image: Float[1, C, H, W].
        seed: Of z.
    """
    if isinstance(network := getattr(model, "describer", None), torch.nn.Module):
        q_y = network(image)
        if len(q_y.log_probs) == len(model.schema):
            return [torch.nn.functional.pad(log_probs.exp()[0], (0, 1)) for log_probs in q_y.log_probs]
    with own_randomness(derive_seed("description", seed=seed), model.device):
        z = model.posterior(image=image).sample(torch.Size([NUM_DESCRIBED]))[:, 0]
        py = model.concept_likelihood(z)
        if model.captions is None and isinstance(py, FactorisedCategorical):
            return [torch.nn.functional.pad(log_probs.exp().mean(0), (0, 1)) for log_probs in py.log_probs]
        said = model.describe_latents(z, sample=True)
    return [
        torch.stack([(said[:, k] == value).float().mean() for value in (*range(size), UNSPECIFIED)])
        for k, size in enumerate(model.schema.sizes)
    ]


@torch.no_grad()
def interpolate(
    model: Objective, first: Tensor, second: Tensor, out: Path, *, names: tuple[str, str], steps: int
) -> Document:
    """The images on the straight line between the centres of q(z|y) of two concepts.

    Args:
        model: With q(z|y) and p(x|z).
        first: Long[A], or Long[T] in the text view.
        second: The same.
        out: The picture.
        names: What the two are called.
        steps: K, both ends included.

    Returns:
        Plain JSON: the file, and for each step its place in [0, 1] and, where there is a p(y|z), the concept described.

    Raises:
        CapabilityError: if the model lacks one of the distributions.
    """
    with evaluating(model):
        try:
            model.image_likelihood(torch.zeros(1, model.latent_size, device=model.device))
        except CapabilityError as error:
            raise CapabilityError(f"{error}, and between two concepts there is none: it cannot interpolate") from None
        ends = model.centre(model.posterior(concept=torch.stack([first, second]).to(model.device)))
        places = torch.linspace(0, 1, steps, device=ends.device)
        z = ends[0] + places[:, None] * (ends[1] - ends[0])
        images = model.image_likelihood(z).mean.clamp(0, 1).cpu()
        read = _read(model, z)
    labels = [f"{place:.2f}\n{text}" for place, text in zip(places.tolist(), read, strict=True)]
    title = f"{model.spec.name}: from {names[0]} to {names[1]}"
    _draw([image[None] for image in images], [[label] for label in labels], title, out)
    entries = [{"place": round(place, 6), "described": text} for place, text in zip(places.tolist(), read, strict=True)]
    return {"file": str(out), "from": names[0], "to": names[1], "steps": entries}


@torch.no_grad()
def traverse(
    model: Objective,
    concepts: Sequence[Tensor],
    out: Path,
    *,
    names: Sequence[str],
    about: str,
    latent: int | None = None,
    steps: int = 8,
) -> Document:
    """What one attribute does to the image of a concept, or what one latent does.

    Args:
        model: With q(z|y).
        concepts: Long[A], or Long[T]: several, which differ in one attribute; or one, whose latents are moved.
        out: The picture.
        names: A label for each concept.
        about: What the title says that they are.
        latent: Which; None: those that change the image most, at most :data:`MOST_LATENTS`.
        steps: K, values of a latent over :data:`REACH` standard deviations of the prior to either side.

    Returns:
        Plain JSON: the file, and for each row of the picture its values and what is described there.

    Raises:
        CapabilityError: if the model lacks q(z|y), or takes no such concept.
    """
    with evaluating(model):
        y = torch.stack(list(concepts)).to(model.device)
        z = model.centre(model.posterior(concept=y))
        if len(concepts) > 1:
            images, read = _shown(model, z, y)
            rows: list[Document] = [{"values": list(names), "described": read}]
            labels = [[f"{name}\n{text}"] for name, text in zip(names, read, strict=True)]
            _draw([image[None] for image in images], labels, f"{model.spec.name}: {about}", out)
            return {"file": str(out), "rows": rows}
        moved = range(z.shape[1]) if latent is None else [latent]
        prior, line_of = model.own_prior(), torch.linspace(-REACH, REACH, steps, device=z.device, dtype=z.dtype)
        values = line_of[:, None].expand(-1, z.shape[1])
        if prior is not None:
            values = prior.mean + values * scale_of(model, prior)
        found = []
        for dimension in moved:
            line = repeat(z[0], "d -> k d", k=steps).clone()
            line[:, dimension] = values[:, dimension]
            images, read = _shown(model, line, y.expand(steps, -1))
            found.append((float(images.var(0).mean()), dimension, images, read))
    found = sorted(found, key=lambda row: (-row[0], row[1]))[:MOST_LATENTS]
    columns = [torch.stack([row[2][k] for row in found]) for k in range(steps)]
    labels = [[f"z{row[1]} = {values[k, row[1]]:.1f}\n{row[3][k]}" for row in found] for k in range(steps)]
    _draw(columns, labels, f"{model.spec.name}: latents of {about}, most change first", out)
    rounded = [[round(value, 6) for value in each] for each in values.T.tolist()]
    rows = [{"latent": row[1], "change": row[0], "values": rounded[row[1]], "described": row[3]} for row in found]
    return {"file": str(out), "rows": rows}


def description_of(model: Objective, text: str) -> Tensor:
    """What q(z|y) reads for a text: a concept, Long[A]; in the text view a caption, or that of a concept, Long[T].

    Raises:
        ConfigError: if it cannot be read, or no caption can express it.
    """
    if model.captions is None:
        return model.schema.parse(text)
    if "=" not in text:
        return model.captions.tokens(text)
    concept = model.schema.parse(text)[None]
    model.captions.require_sayable(concept)
    return model.captions.render(concept, index=torch.zeros(1, dtype=torch.long), seed=CAPTION_SEED)[0]


def _shown(model: Objective, z: Tensor, y: Tensor) -> tuple[Tensor, list[str]]:
    return model.image_likelihood(z, y).mean.clamp(0, 1).cpu(), _read(model, z)


def _read(model: Objective, z: Tensor) -> list[str]:
    """What p(y|z) says at each z; nothing where there is no p(y|z)."""
    if "concept" not in model.spec.likelihoods:
        return [""] * len(z)
    return [label_of(model.schema, concept) for concept in model.describe_latents(z).tolist()]


def _concept_of(model: Objective, asked: Asked, place: int) -> Document:
    return {"concept": None if asked.concepts is None else model.schema.format(asked.concepts[place].tolist())}


def _draw(columns: Sequence[Tensor], labels: Sequence[Sequence[str]], title: str, out: Path) -> None:
    """Writes images in columns, Float[B, C, H, W] each, with a label under each image."""
    images = torch.stack(list(columns), 1).flatten(0, 1).cpu()
    texts = [column[row] for row in range(len(columns[0])) for column in labels]
    save_picture(contact_sheet(images, texts, title=title, num_columns=len(columns)), out)
