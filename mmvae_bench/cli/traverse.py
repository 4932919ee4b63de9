"""``mmvae-bench traverse``: what one attribute, or one latent, does to the image of a concept; and what each point of
a latent space of two dimensions stands for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..base.errors import ConfigError, Problem, unknown
from ..runs.folder import read_model
from ..specs.trial import TrialSpec
from .asking import AsJson, Out, TrialDir, answer, check_concept, check_png, opened


def traverse(
    trial_dir: TrialDir,
    out: Out,
    concept: Annotated[
        str | None, typer.Argument(metavar="[CONCEPT]", help='Such as "digit=6, scale=small"; needed unless --plane.')
    ] = None,
    attribute: Annotated[
        str | None, typer.Option(metavar="NAME", help="Give this attribute each of its values in turn.")
    ] = None,
    latent: Annotated[
        int | None,
        typer.Option(metavar="K", min=0, help="Move this latent over the prior; default: those that change most."),
    ] = None,
    plane: Annotated[
        bool,
        typer.Option("--plane", help="Of a model with two latents: an image at each point, coloured by concept."),
    ] = False,
    nearest: Annotated[
        bool,
        typer.Option("--nearest", help="With --plane: colour by the nearest training image instead of by p(y|z)."),
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            metavar="K",
            min=2,
            max=50,
            help="Images from one end to the other; default: 8, or 20 along each side of a plane.",
        ),
    ] = None,
    between: Annotated[
        bool, typer.Option("--between", help="With --attribute: pictures between its values too, in --steps steps.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Draw images while one attribute or latent takes its values. With --plane: at each point of two latents."""
    check_png(out)
    spec = read_model(trial_dir)
    if nearest and not plane:
        raise ConfigError([Problem("only applies to --plane", ("--nearest",))])
    if plane:
        for name, given in (("CONCEPT", concept), ("--attribute", attribute), ("--latent", latent)):
            if given is not None:
                raise ConfigError([Problem("cannot be used with --plane, which shows all of z", (name,), str(given))])
        if between:
            raise ConfigError([Problem("only applies to an attribute: name one with --attribute", ("--between",))])
        _plane(trial_dir, spec, out, by="nearest" if nearest else None, points=steps or 20, as_json=as_json)
        return
    if concept is None:
        raise ConfigError([Problem("is needed: the concept to start from, such as digit=6", ("CONCEPT",))])
    steps = steps or 8
    check_concept(concept, spec.dataset)
    if attribute is not None and latent is not None:
        raise ConfigError([Problem("cannot be used with --latent: choose one of them", ("--attribute",))])
    schema = spec.dataset.concept_schema()
    size = _latent_size(spec)
    if latent is not None and latent >= size:
        raise ConfigError([Problem(f"the model has {size} latents, 0 to {size - 1}", ("--latent",), str(latent))])
    if attribute is not None and attribute not in schema.names:
        raise ConfigError([unknown("attribute", attribute, schema.names, ("--attribute",))])
    if between:
        if attribute is None:
            raise ConfigError([Problem("only applies to an attribute: name one with --attribute", ("--between",))])
        model = opened(trial_dir, concept)
        from ..evaluation.progression import progression

        found = progression(model, concept, attribute, out, steps=steps)
        answer(found | {"concept": concept, "attribute": attribute}, found["labels"], as_json)
        return
    texts = [concept]
    if attribute is not None:
        if spec.dataset.texts() is not None and "=" not in concept:
            message = "needs a concept such as colour=red, in which one attribute can be changed, not a caption"
            raise ConfigError([Problem(message, ("--attribute",), repr(concept))])
        place, indices = schema.names.index(attribute), list(schema.indices(concept))
        values = range(schema.sizes[place])
        texts = [schema.format([*indices[:place], value, *indices[place + 1 :]]) for value in values]

    model = opened(trial_dir, concept)
    from ..evaluation import asking

    concepts = [asking.description_of(model, text) for text in texts]
    names = [concept] if attribute is None else [f"{attribute}={value}" for value in schema.attributes[place].values]
    about = concept if attribute is None else f"{attribute} of {concept}"
    document = asking.traverse(model, concepts, out, names=names, about=about, latent=latent, steps=steps)
    answer(document | {"concept": concept, "attribute": attribute}, _lines(document), as_json)


def _latent_size(spec: TrialSpec) -> int:
    # SCAN's z may have another size than that of its networks for images.
    size: int = getattr(spec.objective, "latent_size", None) or spec.backbone.latent_size
    return size


def _plane(
    trial_dir: Path, spec: TrialSpec, out: Path, *, by: Literal["nearest"] | None, points: int, as_json: bool
) -> None:
    """Refuses at once what cannot be drawn, before torch is imported."""
    if (size := _latent_size(spec)) != 2:
        message = "--plane needs a model with two latents"
        raise ConfigError([Problem(message, ("backbone", "latent_size"), str(size), near="2")])
    model = opened(trial_dir)
    from ..evaluation.plane import draw_plane
    from ..training.examples import prepared

    document = draw_plane(model, prepared(spec), out, by=by, points=points)
    answer(document, _plane_lines(document), as_json)


def _plane_lines(document: dict[str, Any]) -> Iterator[str]:
    whose = {"text": "by p(y|z)", "nearest": "by the nearest training image"}[document["by"]]
    yield f"share of p(z), and of the picture, {whose}:"
    width = max(len(each["concept"]) for each in document["concepts"])
    for each in document["concepts"]:
        yield f"  {each['concept']:{width}}  {100 * each['prior_mass']:5.1f} %  {100 * each['grid_share']:5.1f} %"
    yield f"share of p(z) whose concept straight lines name right: {100 * document['prior_linear']:.1f} %"
    z = {"image": "q(z|x)", "joint": "q(z|x,y), which has been told y"}[document["posterior"]]
    yield f"test images whose concept is right, read off the mean of {z}:"
    names = {
        "regions_right": "by these regions", "linear": "by a linear classifier",
        "neighbours": "by five neighbours", "majority": "the most frequent concept",
    }  # fmt: skip
    for key, name in names.items():
        yield f"  {name:{max(map(len, names.values()))}}  {100 * document[key]:5.1f} %"


def _lines(document: dict[str, Any]) -> Iterator[str]:
    """What each picture shows by the model's own p(y|z); only what was changed where it cannot describe."""
    for row in document["rows"]:
        described, can_describe = row["described"], any(row["described"])
        if "latent" in row:
            yield f"z{row['latent']}: {' | '.join(described)}" if can_describe else f"z{row['latent']}"
        else:
            yield from map(": ".join, zip(row["values"], described, strict=True)) if can_describe else row["values"]
