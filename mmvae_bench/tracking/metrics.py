"""Names of a trial's numbers in a tracker: what a sweep file can optimise.

| when | name | what |
|---|---|---|
| during training | ``train/STAGE[/KIND]/loss``, ``train/STAGE[/KIND]/parts/PART`` | as ``log.jsonl``: nats per image |
| during training | ``validation/STAGE/elbo``, ``validation/STAGE/parts/PART`` | nats per image, on fixed images |
| during training | ``curve/METRIC/level_LEVEL[/ATTRIBUTE]`` | if ``evaluation.curve_points`` is set |
| at the end | ``PARTITION[/PROTOCOL]/METRIC[/level_LEVEL][/ATTRIBUTE]`` | a row of ``results.parquet`` |

Name parts whose column is empty are left out. An objective with a single stage calls it ``fit``. KIND is that of the
step where there are two: ``labelled`` and ``unlabelled``, or ``with_image`` and ``without_image``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SCORE_COLUMNS = (
    "metric", "partition", "protocol", "attribute", "level",
    "value", "ci_low", "ci_high", "ceiling", "floor", "num_queries", "num_samples",
)  # fmt: skip
"""The columns of the final table: those of ``results.parquet`` that differ within a trial."""


def score_name(score: Mapping[str, Any]) -> str:
    """The name of a score, from the columns that identify it within its trial.

    >>> score_name({"partition": "test", "protocol": "official", "metric": "correctness", "level": 4})
    'test/official/correctness/level_4'
    >>> score_name({"partition": "val", "metric": "classifier_accuracy", "attribute": "digit"})
    'val/classifier_accuracy/digit'
    """
    level = score.get("level")
    named = (
        score.get("partition"), score.get("protocol"), score["metric"],
        None if level is None else f"level_{level}", score.get("attribute"),
    )  # fmt: skip
    return "/".join(str(part) for part in named if part is not None)


def score_values(scores: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The scores of a ``result.json`` by name, without those that have no value."""
    return {score_name(score): float(score["value"]) for score in scores if score.get("value") is not None}


def record_values(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers in a line of ``log.jsonl`` by name.

    >>> record_values({"event": "train", "stage": "fit", "step": 9, "loss": 2.0, "parts": {"joint/kl": 1.0}})
    {'train/fit/loss': 2.0, 'train/fit/parts/joint/kl': 1.0}
    """
    if record["event"] == "scores":
        return {f"curve/{name}": value for name, value in score_values(record["scores"]).items()}
    kind = [record["kind"].replace(" ", "_")] if "kind" in record else []
    prefix = "/".join([record["event"], record["stage"], *kind])
    values = {f"{prefix}/{name}": record[name] for name in ("loss", "elbo") if name in record}
    return values | {f"{prefix}/parts/{name}": value for name, value in record["parts"].items()}


def score_table(scores: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    """The scores of a ``result.json`` as rows with ``SCORE_COLUMNS``."""
    return [[score.get(column) for column in SCORE_COLUMNS] for score in scores]
