"""What the numbers mean, in a paragraph each."""

from __future__ import annotations

from collections.abc import Collection

from ..metrics.catalogue import metric_info, metric_order
from ..metrics.protocols import PROTOCOL_RULES


def explain_metrics(metrics: Collection[str]) -> list[tuple[str, str]]:
    """(label, paragraph) of each of the metrics that has one."""
    known = [metric_info(name) for name in sorted(set(metrics), key=metric_order)]
    return [(metric.label, metric.explanation) for metric in known if metric.explanation]


def explain_protocols(protocols: Collection[str]) -> list[tuple[str, str]]:
    """(name, sentence) of each of the protocols that has one."""
    rules = [rule for name in PROTOCOL_RULES if name in protocols and (rule := PROTOCOL_RULES.find(name)) is not None]
    return [(rule.name, f"{rule.summary[:1].upper()}{rule.summary[1:]} ({rule.reference}).") for rule in rules]
