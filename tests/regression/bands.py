"""What every objective scores after a short training on a tiny split, with a band from several seeds.

    python -m tests.regression.bands [NAME...] --changelog "why"

A trace tells that a loss has moved; a band tells that training, queries, classifier or metrics lead elsewhere.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from mmvae_bench.evaluation.evaluate import evaluate
from mmvae_bench.specs.components import objectives, of_domain
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.fit import fit
from mmvae_bench.trial import build_objective

from .records import read, record

STORED = Path(__file__).parent / "bands.json"
COMMAND = "tests.regression.bands"
SEEDS = (0, 1, 2, 3, 4)
CONFIDENCE = 0.99
"""Of a band: where a new seed would fall so often. The check trains the first recorded seed again. With the bits of the
machine of the record it lies inside for certain (no member of n is further than (n - 1) / sqrt(n) standard deviations
from their mean: 1.8 of 5, and the band's arm is 5.0); elsewhere it may be as far off as another seed."""
LEAST_ARM = 1e-3
"""Of the mean: the arm of a band in nats is no shorter, however alike the seeds are; a fraction's is one answer."""
SETTINGS: dict[str, Any] = {
    "dataset": {"name": "mnist_a", "source": "digits", "canvas": 16, "num_sources": 200, "replicas": 5},
    "backbone": {"name": "mnist_a_thin", "width": 4, "hidden": 32, "latent_size": 6},
    "training": {"steps": 150, "batch_size": 32, "learning_rate": 5e-3, "validations": 1},
    "evaluation": {
        "protocols": ["paper"], "levels": [2, 4], "num_samples": 20, "num_queries": 40, "query_repeats": 1,
        "num_resamples": 10, "classifier": {"name": "conv_thin", "steps": 300},
    },
}  # fmt: skip
WORLDS: dict[str, dict[str, Any]] = {
    "discvae": {
        "dataset": {"name": "sprites", "level": 4, "canvas": 16, "num_images": 1000},
        "backbone": {"name": "attribute2image_thin", "width": 4, "latent_size": 6},
    },
    "recursive_ssvae": {
        "dataset": {"name": "multi_mnist", "canvas": 32, "num_images": 1000},
        "evaluation": {**SETTINGS["evaluation"], "levels": [1]},
    },
}
"""Where an objective needs other images and networks than those: masks and networks of layers, or a count."""

Numbers = dict[str, float]


def names() -> list[str]:
    """Every registered objective."""
    return of_domain(objectives, "images")


def numbers(name: str, *, seed: int) -> tuple[Numbers, dict[str, int]]:
    """The scores of an objective with its defaults after a short training, and the answers behind each of them.

    What an objective cannot be asked is not there: a JVAE has only its ELBO.
    """
    spec = TrialSpec.parse({**SETTINGS, **WORLDS.get(name, {}), "objective": {"name": name}, "seed": seed})
    torch.set_num_threads(1)
    data = spec.dataset.build()
    data.prepare_data()
    data.setup()
    objective = build_objective(spec)
    fit(objective, data, spec.training, key=spec.key, seed=spec.seed)
    kept = [
        score
        for score in evaluate(objective.eval(), data, spec.evaluation).scores
        if score.attribute is None and score.metric != "classifier_accuracy"
    ]
    found = {_label(score.metric, score.level): score for score in kept}
    return {key: score.value for key, score in found.items()}, {
        key: score.num_queries or 1 for key, score in found.items()
    }


def _label(metric: str, level: int | None) -> str:
    return metric if level is None else f"{metric} level {level}"


def band(values: Sequence[float], *, least_arm: float) -> tuple[float, float]:
    """Where one more seed is expected, from those recorded.

    The prediction interval of a normal sample of n, mean ± t(n - 1) s sqrt(1 + 1/n), no shorter than ``least_arm``
    to each side.

    >>> low, high = band([1.0, 2.0, 3.0, 4.0, 5.0], least_arm=0.0)
    >>> round(low, 2), round(high, 2)
    (-4.97, 10.97)
    """
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    arm = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * spread * math.sqrt(1 + 1 / len(values))
    arm = max(arm, least_arm)
    return mean - arm, mean + arm


def bands_of(stored: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The band of each number of a record."""
    bands = {}
    for metric, values in stored["values"].items():
        nats = metric.startswith("elbo")
        least = LEAST_ARM * abs(statistics.fmean(values)) if nats else 1 / stored["num_queries"][metric]
        bands[metric] = band(values, least_arm=least)
    return bands


def check_bands(name: str) -> None:
    """Fails, and names the objective and every number of it outside its band."""
    expected = bands_of(read(STORED)[name])
    now, _ = numbers(name, seed=SEEDS[0])
    assert expected.keys() == now.keys(), f"{name} is scored on other numbers: {sorted(expected.keys() ^ now.keys())}"
    outside = [
        f"{metric} {now[metric]:.4g}, expected {low:.4g} to {high:.4g}"
        for metric, (low, high) in expected.items()
        if not low <= now[metric] <= high
    ]
    assert not outside, (
        f"{name} lies outside its bands: {'; '.join(outside)}. Where that is meant: "
        f"python -m {COMMAND} {name} --changelog 'why'"
    )


def _record(name: str) -> dict[str, Any]:
    each = [numbers(name, seed=seed) for seed in SEEDS]
    metrics = each[0][0]
    values = {metric: [round(found[metric], 6) for found, _ in each] for metric in metrics}
    return {"seeds": list(SEEDS), "values": values, "num_queries": each[0][1]}


if __name__ == "__main__":
    record(None, command=COMMAND, what="metric bands", path=STORED, names=names(), make=_record)
