"""What a model is asked to imagine, in any of the ways in which it can be said.

Shapes: A attribute, V value of any attribute, T word of a caption.
"""

from __future__ import annotations

from torch import Tensor

from ..base.errors import ConfigError
from ..concepts import UNSPECIFIED, Schema
from ..concepts.captions import Captions
from .strengths import check_weights, is_weights


def query_of(concept: Tensor | str, schema: Schema, captions: Captions | None, *, scores: bool) -> Tensor:
    """What y is then: a concept, Long[..., A], or weights of values, Float[..., V]; or a caption, Long[T].

    Args:
        concept: Either of the first two, or a text.
        schema: The attributes.
        captions: Those of the text view; None: y is a concept.
        scores: Whether y may be scores, as weights of values.

    Raises:
        ConfigError: if it is none of these, has values that the schema does not have, or no caption can say it.
    """
    if not isinstance(concept, Tensor | str):
        example = f"{schema.names[0]}={schema.attributes[0].values[-1]}"
        raise ConfigError(
            f"imagine takes a concept as a text such as {example!r}, as a dict of values by attribute "
            f"({', '.join(schema.names)}), or as an integer tensor [..., {len(schema)}] with {UNSPECIFIED} where it "
            f"says nothing; got {type(concept).__name__}"
        )
    if scores:
        check_weights(concept, schema.sizes)
        if is_weights(concept, schema.sizes):
            return concept
    if captions is None:
        wanted = schema.parse(concept) if isinstance(concept, str) else concept
        schema.check(wanted)
        return wanted
    if not isinstance(concept, str):
        schema.check(concept)
        captions.require_sayable(concept.reshape(-1, len(schema)))
        return concept
    tokens = captions.tokens(concept)
    try:
        captions.require_sayable(captions.parse(tokens[None]))
    except ValueError as error:
        raise ConfigError(str(error), f"caption {concept!r}") from None
    return tokens
