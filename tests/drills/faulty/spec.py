"""Spec of an objective that fails at a given step."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mmvae_bench.specs.components import ObjectiveSpec, Posterior


class FaultySpec(ObjectiveSpec):
    """JVAE, until its fault; once it is repaired, JVAE to the end."""

    implementation: ClassVar[str] = "tests.drills.faulty.objective:Faulty"
    summary: ClassVar[str] = "JVAE with a fault"
    reference: ClassVar[str] = "none"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint"})

    name: Literal["faulty"] = "faulty"
    """The objective's name."""
    fault: Literal["raise", "nan", "memory", "tensor_memory"] = "raise"
    """What happens: an exception; a part that is not a number; no memory for Python, or for a tensor."""
    at: Annotated[int, Field(gt=0)] = 1
    """The step in which it happens, from 1."""
