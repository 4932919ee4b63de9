"""The loss of every objective, step by step on a tiny split, as it was when it was last recorded.

python -m tests.regression.traces [NAME...] --changelog "why"
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mmvae_bench.specs.augmentation import AugmentationSpec
from mmvae_bench.specs.components import objectives, of_domain
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.fit import fit
from mmvae_bench.trial import build_objective

from .records import differing_places, here, read, record

STORED = Path(__file__).parent / "traces.json"
COMMAND = "tests.regression.traces"
TOLERANCE = 1e-4
"""Relative to the larger of 1 and the value, where the bits cannot be the same. Measured over all traces, with torch
held to other instructions than it was recorded with: AVX2 3.3e-7, none of AVX 1.2e-6, SSE4 in oneDNN and MKL too
9.0e-7. The deliberate sign error of the test moves its trace by more than 1e-2."""
NUM_STEPS = 12
DATASET = {"name": "mnist_a", "source": "digits", "canvas": 16, "num_sources": 100, "replicas": 2}
BACKBONE = {"name": "mnist_a_thin", "width": 2, "hidden": 16, "latent_size": 3}
WORLDS: dict[str, dict[str, object]] = {
    "discvae": {
        "dataset": {"name": "sprites", "level": 3, "canvas": 16, "num_images": 200},
        "backbone": {"name": "attribute2image_thin", "width": 4, "latent_size": 4},
    },
    "recursive_ssvae": {"dataset": {"name": "multi_mnist", "canvas": 32, "num_images": 200}},
}
"""Where an objective needs other images and networks than those: masks and networks of layers, or a count."""
VARIANTS: dict[str, dict[str, object]] = {
    "telbo two_stage": {"name": "telbo", "schedule": "two_stage", "unimodal_steps": NUM_STEPS},
    "cvae standard": {"name": "cvae", "prior": "standard"},
    "mmvae elbo per_attribute": {"name": "mmvae", "bound": "elbo", "num_samples": 2, "modalities": "per_attribute"},
    "mmvae plain": {"name": "mmvae", "estimator": "plain"},
    "mopoe per_attribute": {"name": "mopoe", "modalities": "per_attribute"},
    "mvae per_attribute": {"name": "mvae", "modalities": "per_attribute"},
    "mvtcae per_attribute": {"name": "mvtcae", "modalities": "per_attribute"},
}
AUGMENTED: dict[str, dict[str, object]] = {
    "discvae augmented": {"name": "discvae", "augmentation": {"rotation": 0.08}},
}
"""Cases whose training images are changed. A trial would refuse to mirror or turn sprites; a trace may."""

Trace = dict[str, list[float]]


def cases() -> dict[str, dict[str, object]]:
    """Every registered objective with its defaults, and the schedules and forms that the defaults leave out."""
    return {name: {"name": name} for name in of_domain(objectives, "images")} | VARIANTS


def traced() -> dict[str, dict[str, object]]:
    """The cases, and those with augmentation."""
    return cases() | AUGMENTED


def spec_of(objective: dict[str, object], **training: object) -> TrialSpec:
    """A trial of a case, on images and networks that it can use."""
    world = {"dataset": DATASET, "backbone": BACKBONE} | WORLDS.get(str(objective["name"]), {})
    return TrialSpec.parse({**world, "objective": objective, "training": {"steps": NUM_STEPS, **training}})


def trace(objective: dict[str, object]) -> Trace:
    """The validation record after each of the first steps: the ELBO and every part, in nats per image."""
    objective = dict(objective)
    augmentation = objective.pop("augmentation", None)
    spec = spec_of(objective, batch_size=16, learning_rate=3e-3, validations=NUM_STEPS)
    data = spec.dataset.build()
    data.prepare_data()
    data.setup()
    torch.set_num_threads(1)
    changed = None if augmentation is None else AugmentationSpec.parse(augmentation)
    training = spec.training.model_copy(update={"augmentation": changed})
    fitted = fit(build_objective(spec), data, training, key=spec.key, seed=spec.seed)
    columns: Trace = {}
    for one in fitted.history:
        for name, value in {"elbo": one["elbo"], **one["parts"]}.items():
            columns.setdefault(name, []).append(value)
    return columns


def comparison(name: str) -> str:
    """How the trace of a case is compared here: ``bitwise``, or to what tolerance and why."""
    apart = differing_places(read(STORED)[name]["recorded_on"], here())
    return f"to {TOLERANCE:g}, recorded elsewhere ({'; '.join(apart)})" if apart else "bitwise"


def check_trace(name: str) -> None:
    """Fails, and names the objective, where its loss is no longer what was recorded."""
    stored: Trace = read(STORED)[name]["trace"]
    now = trace(traced()[name])
    assert stored.keys() == now.keys(), f"the parts of {name} have changed: {sorted(stored.keys() ^ now.keys())}"
    pairs = [
        (part, step, a, b) for part in stored for step, (a, b) in enumerate(zip(stored[part], now[part], strict=True))
    ]
    part, step, a, b = max(pairs, key=lambda pair: abs(pair[2] - pair[3]) / max(1.0, abs(pair[2])))
    how = comparison(name)
    tolerance = 0.0 if how == "bitwise" else TOLERANCE
    found = abs(a - b) / max(1.0, abs(a))
    # Negated, so that not-a-number fails too.
    assert not any(not abs(a - b) <= tolerance * max(1.0, abs(a)) for _, _, a, b in pairs), (
        f"the loss of {name} has moved, most of all {part} after step {step}: recorded {a!r}, now {b!r} "
        f"({found:.2g} relative; compared {how}). Where that is meant: python -m {COMMAND} {name!r} --changelog 'why'"
    )


def _record(name: str) -> dict[str, Any]:
    return {"trace": trace(traced()[name])}


if __name__ == "__main__":
    record(None, command=COMMAND, what="loss traces", path=STORED, names=traced(), make=_record)
