"""The shapes and types that the public functions declare are those they take and give."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch

import mmvae_bench.metrics.functional as functional

NAMES = {name: getattr(jaxtyping, name) for name in ("Bool", "Float", "Float64", "Int")}

CALLS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "correctness": lambda case: {"predictions": case.predictions, "concepts": case.concepts},
    "correctness_chance": lambda case: {"concepts": case.concepts, "num_values": case.num_values},
    "coverage": lambda case: {
        "predictions": case.predictions,
        "concepts": case.concepts,
        "reference": case.reference,
    },
    "joint_divergence": lambda case: {
        "predictions": case.predictions,
        "concepts": case.concepts,
        "reference": case.reference,
    },
    "compositionality": lambda case: {
        "predictions": case.predictions,
        "concepts": case.concepts,
        "training_concepts": torch.zeros(1, 4, dtype=torch.long),
    },
    "satisfied": lambda case: {"concepts": case.concepts, "training_concepts": torch.zeros(1, 4, dtype=torch.long)},
    "description_accuracy": lambda case: {"predictions": case.concepts, "concepts": case.concepts},
    "js_divergence": lambda case: {"p": case.reference[0].expand(3, 4), "q": case.reference[0]},
}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_shapes_are_as_declared(name: str, random_queries: Callable[..., Any]) -> None:
    function = getattr(functional, name)
    arguments = CALLS[name](random_queries(0))
    hints = typing.get_type_hints(function, localns=NAMES)
    checked = 0
    with jaxtyping.jaxtyped("context"):
        for argument, value in {**arguments, "return": function(**arguments)}.items():
            if isinstance(value, torch.Tensor):
                assert isinstance(value, hints[argument]), argument
                checked += 1
    assert checked >= 2
