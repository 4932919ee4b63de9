"""What y is, and whether the parts of a trial go together on it."""

from __future__ import annotations

from collections.abc import Iterator

from ..base.errors import Problem
from .components import BackboneSpec, DatasetSpec, ObjectiveSpec, backbones

COMPOSITIONAL = "comp"


def view_problems(dataset: DatasetSpec, backbone: BackboneSpec, objective: ObjectiveSpec) -> Iterator[Problem]:
    """What stands against learning from a dataset in its view: the networks, the loss, or the split."""
    captions = dataset.texts()
    if captions is None:
        return
    if "text" not in backbone.views:
        able = tuple(name for name in backbones.names() if "text" in backbones.get(name).views)
        message = f"backbone {backbone.name} has no networks of texts, which view text of {dataset.name} needs"
        yield Problem(message, ("backbone", "name"), repr(backbone.name), able)
    if objective.text_obstacle is not None:
        message = f"{objective.name} cannot take y as a text: {objective.text_obstacle}"
        yield Problem(message, ("dataset", "view"), "text", ("attributes",), "attributes")
    if dataset.split == COMPOSITIONAL and len(captions.schema) not in captions.levels:
        message = f"split comp asks for full concepts, and captions of {dataset.name} do not say what is absent"
        yield Problem(f"{message}: choose another split, or view attributes", ("dataset", "split"), repr(dataset.split))
