"""The loss of every objective, step by step on a tiny split, as it was when it was last recorded.

Recorded anew by an explicit command only, with a line in CHANGELOG.md or CORRECTIONS.md that says why:

    python -m tests.regression.traces
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.specs.components import datasets, objectives
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.fit import fit
from mmvae_bench.trial import build_objective

STORED = Path(__file__).parent / "traces.json"
NUM_STEPS = 12
DATASET = {"name": "mnist_a", "source": "digits", "canvas": 16, "num_sources": 100, "replicas": 2}
VARIANTS: dict[str, dict[str, object]] = {
    "telbo two_stage": {"name": "telbo", "schedule": "two_stage", "unimodal_steps": NUM_STEPS},
    "cvae standard": {"name": "cvae", "prior": "standard"},
    "mmvae elbo per_attribute": {"name": "mmvae", "bound": "elbo", "num_samples": 2, "modalities": "per_attribute"},
    "mmvae plain": {"name": "mmvae", "estimator": "plain"},
    "mopoe per_attribute": {"name": "mopoe", "modalities": "per_attribute"},
    "mvae per_attribute": {"name": "mvae", "modalities": "per_attribute"},
    "mvtcae per_attribute": {"name": "mvtcae", "modalities": "per_attribute"},
}


def cases() -> dict[str, dict[str, object]]:
    """Every registered objective with its defaults, and the schedules and forms that the defaults leave out."""
    return {name: {"name": name} for name in objectives.names()} | VARIANTS


def trace(objective: dict[str, object]) -> dict[str, list[float]]:
    """The validation record after each of the first steps: the ELBO and every part, in nats per image."""
    data = datasets.parse(DATASET).build()
    assert isinstance(data, ConceptDataModule)
    data.prepare_data()
    data.setup()
    spec = TrialSpec.parse(
        {
            "dataset": DATASET,
            "backbone": {"name": "mnist_a_thin", "width": 2, "hidden": 16, "latent_size": 3},
            "objective": objective,
            "training": {"steps": NUM_STEPS, "batch_size": 16, "learning_rate": 3e-3, "validations": NUM_STEPS},
        }
    )
    torch.set_num_threads(1)
    fitted = fit(build_objective(spec), data, spec.training, key=spec.key, seed=spec.seed)
    columns: dict[str, list[float]] = {}
    for record in fitted.history:
        for name, value in {"elbo": record["elbo"], **record["parts"]}.items():
            columns.setdefault(name, []).append(value)
    return columns


if __name__ == "__main__":
    STORED.write_text(json.dumps({name: trace(spec) for name, spec in cases().items()}, indent=1) + "\n")
