"""``mmvae-bench traverse``: what one attribute, or one latent, does to the image of a concept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ..base.errors import ConfigError, Problem, unknown
from ..runs.folder import read_model
from .asking import AsJson, Out, Steps, TrialDir, answer, check_concept, check_png, opened


def traverse(
    trial_dir: TrialDir,
    concept: Annotated[str, typer.Argument(metavar="CONCEPT", help='Such as "digit=6, scale=small".')],
    out: Out,
    attribute: Annotated[
        str | None, typer.Option(metavar="NAME", help="Give this attribute each of its values in turn.")
    ] = None,
    latent: Annotated[
        int | None,
        typer.Option(metavar="K", min=0, help="Move this latent over the prior; default: those that change most."),
    ] = None,
    steps: Steps = 8,
    between: Annotated[
        bool, typer.Option("--between", help="With --attribute: pictures between its values too, in --steps steps.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Draw the image of a concept while one attribute, or one latent, takes its values in turn."""
    check_png(out)
    spec = read_model(trial_dir)
    check_concept(concept, spec.dataset)
    if attribute is not None and latent is not None:
        raise ConfigError([Problem("cannot be used with --latent: choose one of them", ("--attribute",))])
    schema = spec.dataset.concept_schema()
    # SCAN's z may have another size than that of its networks for images.
    size = getattr(spec.objective, "latent_size", None) or spec.backbone.latent_size
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


def _lines(document: dict[str, Any]) -> Iterator[str]:
    """What each picture shows by the model's own p(y|z); only what was changed where it cannot describe."""
    for row in document["rows"]:
        described, can_describe = row["described"], any(row["described"])
        if "latent" in row:
            yield f"z{row['latent']}: {' | '.join(described)}" if can_describe else f"z{row['latent']}"
        else:
            yield from map(": ".join, zip(row["values"], described, strict=True)) if can_describe else row["values"]
