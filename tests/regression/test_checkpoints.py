"""A checkpoint holds weights by name and the optimiser's state by position. Both must stay what they were, or a run
that was interrupted under an earlier version silently ends with other weights.

python -m tests.regression.test_checkpoints     records them again
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmvae_bench.trial import build_objective

from .traces import cases, spec_of

STORED = Path(__file__).parent / "checkpoints.json"

Layout = dict[str, dict[str, object]]


def layout(objective: dict[str, object]) -> dict[str, object]:
    """Shapes of all weights and buffers by name, and the names in the order of each stage's optimiser."""
    spec = spec_of(objective)
    model = build_objective(spec)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimised = {}
    for stage in model.stages(spec.training):
        model.begin_stage(stage)
        groups = model.configure_optimizers().param_groups
        optimised[stage.name] = [names[id(parameter)] for group in groups for parameter in group["params"]]
    return {"state": {name: list(value.shape) for name, value in model.state_dict().items()}, "optimised": optimised}


def test_every_objective_is_recorded() -> None:
    assert set(json.loads(STORED.read_text())) == set(cases())


@pytest.mark.parametrize("name", cases())
def test_the_layout_of_a_checkpoint_is_what_it_was(name: str) -> None:
    assert layout(cases()[name]) == json.loads(STORED.read_text())[name]


if __name__ == "__main__":
    lines = (f" {json.dumps(name)}: {json.dumps(layout(objective))}" for name, objective in cases().items())
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
