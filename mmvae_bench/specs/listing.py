"""Everything that the registries and catalogues know, as plain JSON: its settings and what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from ..base.catalogue import Catalogue
from ..base.errors import ConfigError, unknown
from ..metrics.catalogue import METRICS
from ..metrics.info import MetricInfo
from ..metrics.protocols import PROTOCOL_RULES, ProtocolRule
from .base import ComponentSpec
from .components import (
    BackboneSpec,
    DatasetSpec,
    ObjectiveSpec,
    QuestionSpec,
    backbones,
    classifiers,
    datasets,
    objectives,
    questions,
)

CATALOGUES: Mapping[str, Catalogue[Any]] = {
    "objectives": objectives,
    "datasets": datasets,
    "backbones": backbones,
    "classifiers": classifiers,
    "protocols": PROTOCOL_RULES,
    "metrics": METRICS,
    "questions": questions,
}
KINDS = tuple(CATALOGUES)


def describe_kind(kind: str) -> list[dict[str, Any]]:
    """Plain JSON about every part of a kind: sorted by name; protocols and metrics in the order of a report.

    Raises:
        ConfigError: for an unknown kind.
    """
    if kind not in CATALOGUES:
        raise ConfigError([unknown("kind of part", kind, KINDS)])
    catalogue = CATALOGUES[kind]
    return [_described(catalogue.get(name)) for name in catalogue.usable()[0]]


def unusable(kind: str) -> list[ConfigError]:
    """Why parts that other packages register cannot be listed."""
    return CATALOGUES[kind].usable()[1]


def _described(part: type[ComponentSpec] | ProtocolRule | MetricInfo) -> dict[str, Any]:
    if isinstance(part, ProtocolRule):
        return _protocol(part)
    return _metric(part) if isinstance(part, MetricInfo) else _component(part)


def _component(spec: type[ComponentSpec]) -> dict[str, Any]:
    fields = spec.model_fields
    entry: dict[str, Any] = {"name": fields["name"].default, "summary": spec.summary, "reference": spec.reference}
    if issubclass(spec, ObjectiveSpec):
        entry["posteriors"] = sorted(spec.posteriors)
        entry["stages"] = list(spec.stage_names)
        entry["partial_concepts"] = spec.partial_concepts
        entry["likelihoods"] = sorted(spec.likelihoods)
        entry["can"] = list(_abilities(spec))
        entry["views"] = list(spec.views())
    if issubclass(spec, BackboneSpec):
        entry["views"] = list(spec.views)
    if issubclass(spec, QuestionSpec):
        entry["metrics"] = list(spec.metrics)
    if issubclass(spec, DatasetSpec) and entry["name"] in datasets.self_contained():
        entry["attributes"] = spec.parse({}).concept_schema().to_dict()
    entry["parameters"] = [_parameter(key, field) for key, field in fields.items() if key != "name"]
    return entry


def _abilities(spec: type[ObjectiveSpec]) -> Iterator[str]:
    """What a model can do, in the words of ``Objective``."""
    if "concept" in spec.posteriors:
        yield "imagine concepts" if spec.partial_concepts else "imagine fully specified concepts"
    if spec.has_describer or ("image" in spec.posteriors and "concept" in spec.likelihoods):
        yield "describe images"
    if "image" in spec.likelihoods and spec.posteriors & {"image", "joint"}:
        # What has q(y|x) and is told no y takes the one that it describes.
        alone = spec.has_describer or "image" in spec.posteriors
        yield "reconstruct images" if alone else "reconstruct images with their concepts"


def _parameter(key: str, field: FieldInfo) -> dict[str, Any]:
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    entry = {"name": field.alias or key, "default": default, "meaning": " ".join((field.description or "").split())}
    if field.is_required():
        entry["required"] = True
    if get_origin(field.annotation) is Literal:
        entry["choices"] = list(get_args(field.annotation))
    return entry


def _protocol(rule: ProtocolRule) -> dict[str, Any]:
    meanings = {
        "num_samples": "How many samples per query are scored, the first ones; null: all that were drawn.",
        "target": "The distribution with which the values of an unspecified attribute are compared.",
        "base": "Base of the logarithm of the divergences.",
    }
    parameters = [{"name": key, "default": getattr(rule, key), "meaning": text} for key, text in meanings.items()]
    return {"name": rule.name, "summary": rule.summary, "reference": rule.reference, "parameters": parameters}


def _metric(metric: MetricInfo) -> dict[str, Any]:
    return {
        "name": metric.name,
        "summary": metric.summary or metric.label,
        "reference": metric.reference,
        "label": metric.label,
        "unit": metric.unit,
        "better": {1: "higher", -1: "lower", 0: "neither"}[metric.direction],
        "needs": list(metric.needs),
        "explanation": metric.explanation,
        "parameters": [],
    }
