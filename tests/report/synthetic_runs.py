"""Run folders made without training: small, and with every number known."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mmvae_bench.base.canonical import canonical_json
from mmvae_bench.base.files import write_json, write_text
from mmvae_bench.base.statistics import mean_interval
from mmvae_bench.report.comparison import Comparison, Section, compare
from mmvae_bench.report.gather import read_run
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.trial import TrialSpec

SKILL = {"telbo": 0.70, "jmvae": 0.66, "bivcca": 0.60}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63600000000200016f"
    "e2a3b50000000049454e44ae426082"
)


def spec_of(objective: Any = "telbo", *, split: str = "iid", seed: int = 0, **changes: Any) -> TrialSpec:
    """A trial on the stand-in digits, unless ``changes`` says otherwise."""
    dataset = {"name": "mnist_a", "source": "digits", "canvas": 32, "split": split} | changes.pop("dataset", {})
    training = {"steps": 6000, "learning_rate": 1e-3} | changes.pop("training", {})
    backbone = changes.pop("backbone", "mnist_a_thin")
    assert not changes
    return TrialSpec.parse(
        {"dataset": dataset, "backbone": backbone, "objective": objective, "training": training, "seed": seed}
    )


def scores_of(spec: TrialSpec, *, num_queries: int = 48, partition: str = "test") -> list[Score]:
    """Random scores, the same for the same trial; the same queries are hard for all."""
    own = np.random.default_rng([spec.seed, sum(map(ord, spec.objective.name)), len(spec.dataset.split)])
    scores = []
    for protocol in ("paper", "official"):
        for level in (4, 3, 2, 1) if spec.dataset.split == "iid" else (4,):
            hard = np.random.default_rng(level).normal(0, 0.1, num_queries)
            for metric in ("correctness", "coverage"):
                if metric == "coverage" and level == 4:
                    continue
                base = SKILL[spec.objective.name] + (0.2 if metric == "coverage" else 0.0)
                values = np.clip(base + hard + own.normal(0, 0.05, num_queries), 0, 1).round(6).tolist()
                low, high = mean_interval(values, fraction=True)
                score = Score(
                    metric=metric,
                    partition=partition,
                    protocol=protocol,
                    level=level,
                    value=float(np.mean(values)),
                    ci_low=low,
                    ci_high=high,
                    ceiling=0.93,
                    floor=0.2,
                    num_queries=num_queries,
                    num_samples=100 if protocol == "paper" else 10,
                    per_query=values,
                )
                scores.append(score)
    right = own.uniform(0.5, 0.9, 20).round(6).tolist()
    mean = float(np.mean(right))
    described = {"metric": "description_accuracy", "value": mean, "per_query": right, "num_queries": len(right)}
    scores.append(Score(partition=partition, **described))
    scores.append(Score(metric="elbo", partition=partition, value=-112.25))
    return scores


VALUES = {
    "digit": tuple("0123456789"),
    "scale": ("small", "big"),
    "orientation": ("clockwise", "upright", "counter-clockwise"),
    "location": ("top-left", "top-right", "bottom-left", "bottom-right"),
}


def confusion_of(spec: TrialSpec) -> dict[str, Any]:
    """Random tables of confusion, mostly right, at two levels; that of real images is right but for one image."""
    own = np.random.default_rng([spec.seed, sum(map(ord, spec.objective.name))])
    asked: list[dict[str, Any]] = []
    for level in (4, 1):
        for name, values in VALUES.items():
            counts = own.integers(0, 9, (len(values), len(values))) + 60 * np.eye(len(values), dtype=int)
            head = {"partition": "test", "level": level, "images": "sample", "attribute": name}
            asked.append(head | {"values": [*values], "counts": counts.tolist()})
    real = []
    for name, values in VALUES.items():
        counts = 99 * np.eye(len(values), dtype=int)
        counts[0, 1] = 1
        real.append({"attribute": name, "values": [*values], "counts": counts.tolist()})
    return {"asked": asked, "real": real}


def result_of(spec: TrialSpec, scores: Iterable[Score], *, accuracy: float = 0.9) -> dict[str, Any]:
    """What a trial writes when it is done."""
    return {
        "version": 1,
        "key": spec.key,
        "spec": spec.canonical(),
        "evaluation": spec.evaluation.canonical(),
        "dataset": {"fingerprint": "d" * 12, "pixel_hash": "e" * 12, "source": spec.dataset.source},
        "classifier": {
            "name": "conv_thin",
            "fingerprint": "c" * 12,
            "accuracy": {"digit": accuracy, "scale": accuracy, "orientation": accuracy, "location": 1.0},
            "mean_accuracy": accuracy,
        },
        "training": {
            "steps": spec.training.steps,
            "wall_seconds": 120.5,
            "processor_seconds": 245.0,
            "steps_per_second": 50.25,
            "num_parameters": 1234,
            "parameters_by_network": {"image_encoder": 1000, "image_decoder": 234},
            "convergence": {
                "slope_per_1000_steps": 0.75, "standard_error": 0.25, "ci_low": 0.25, "ci_high": 1.25,
                "last_elbo": -110.5, "verdict": "rising",
            },
        },
        "provenance": {
            "package": "0.1.0", "commit": "abc1234", "dirty": False, "torch": "2.9", "lightning": "2.6.4",
            "python": "3.11.2", "device": "cpu", "precision": "float32", "threads": 1,
            "created": "2025-01-01T00:00:00Z",
        },
        "confusion": confusion_of(spec),
        "scores": [score.to_json() for score in scores],
    }  # fmt: skip


def write_trial(
    run_dir: Path,
    spec: TrialSpec,
    state: str = "done",
    *,
    scores: list[Score] | None = None,
    accuracy: float = 0.9,
    **status: Any,
) -> Path:
    """Lays out one trial folder in the given state; returns it."""
    folder = run_dir / "trials" / spec.key
    folder.mkdir(parents=True)
    write_text(folder / "spec.json", canonical_json(spec.canonical()))
    write_text(folder / "evaluation.json", canonical_json(spec.evaluation.canonical()))
    if state != "pending":
        write_json(folder / "status.json", {"state": state, "step": 0, "steps": spec.training.steps} | status)
    if state == "done":
        given = scores_of(spec) if scores is None else scores
        write_json(folder / "result.json", result_of(spec, given, accuracy=accuracy))
        (folder / "samples.png").write_bytes(PNG)
        steps = np.arange(1, 21) * spec.training.steps // 20
        events = [
            {"event": "validation", "stage": "fit", "step": int(step), "elbo": -100 - 500 * float(np.exp(-step / 800))}
            for step in steps
        ]
        write_text(folder / "log.jsonl", "".join(json.dumps(event) + "\n" for event in events))
    return folder


def score(per_query: list[float], **changes: Any) -> Score:
    """Correctness of the highest level, unless ``changes`` says otherwise."""
    given = {"metric": "correctness", "partition": "test", "protocol": "paper", "level": 4}
    return Score(value=float(np.nanmean(per_query)), per_query=per_query, **(given | changes))


def comparison(run_dir: Path) -> Comparison:
    return compare(read_run(run_dir))


def section(run_dir: Path, split: str = "iid") -> Section:
    (found,) = [each for each in comparison(run_dir).sections if each.setting.split == split]
    return found
