"""What a loss returns: a scalar, and the parts it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ..base.errors import BenchmarkError


@dataclass
class Terms:
    """A loss and its parts.

    Attributes:
        loss: Scalar, to be minimised, in nats per example.
        parts: Float[B] each, one value per example, in nats, with the sign they have in the formula.
        latents: Float[B, D] each: the z that were drawn, by the name of the posterior. From these and the networks'
            distributions the loss can be recomputed.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    latents: dict[str, Tensor] = field(default_factory=dict)


class TermsError(BenchmarkError):
    """What :meth:`Objective.terms` returned is no loss with its parts."""


def checked(terms: object, num_examples: int) -> Terms:
    """What ``terms()`` returned for so many examples, if it can be trained on; see :class:`Terms`.

    Raises:
        TermsError: naming what has another type or shape.
    """
    if not isinstance(terms, Terms):
        shape = f" of shape {tuple(terms.shape)}" if isinstance(terms, Tensor) else ""
        raise TermsError(
            f"terms() returned {type(terms).__name__}{shape}, expected Terms(loss, parts): a scalar, and a dict of the "
            "loss's parts by name"
        )
    for name, given in (("parts", terms.parts), ("latents", terms.latents)):
        if not isinstance(given, Mapping):
            raise TermsError(f"terms(): {name} is a {type(given).__name__}, expected a dict of tensors")
    named = [("the loss", terms.loss), *((f"part {name!r}", part) for name, part in terms.parts.items())]
    named += ((f"latents {name!r}", z) for name, z in terms.latents.items())
    for name, value in named:
        if not isinstance(value, Tensor):
            raise TermsError(f"terms(): {name} is a {type(value).__name__}, expected a tensor")
    if terms.loss.ndim:
        shape = f"{tuple(terms.loss.shape)} for a batch of {num_examples}"
        alike = [f"{name!r}" for name, part in terms.parts.items() if part.shape == terms.loss.shape]
        like = f", like its part{'s' * (len(alike) > 1)} {', '.join(alike)}" if alike else ""
        raise TermsError(f"terms(): the loss has shape {shape}{like}: it must be a scalar, the mean over the examples")
    for name, part in terms.parts.items():
        if part.shape != (num_examples,):
            raise TermsError(
                f"terms(): part {name!r} has shape {tuple(part.shape)}: a part has one value per example, here "
                f"{(num_examples,)}"
            )
    return terms
