"""What a number depends on besides its spec: the questions, the images, the judge, and where it was made. No torch."""

from __future__ import annotations

from typing import Any

from .trials import TrialRecord

PROVENANCE = (
    ("package", "version"), ("commit", "commit"), ("dirty", "uncommitted changes"), ("torch", "torch"),
    ("cuda", "CUDA"), ("cudnn", "cuDNN"), ("lightning", "lightning"), ("numpy", "numpy"), ("python", "Python"),
    ("platform", "platform"), ("device", "device"), ("device_name", "device name"), ("precision", "precision"),
    ("threads", "threads"), ("cpu_instructions", "CPU instructions"), ("deterministic", "bitwise repeatable"),
    ("deterministic_algorithms", "deterministic algorithms"), ("cudnn_deterministic", "cuDNN deterministic"),
    ("cudnn_benchmark", "cuDNN benchmark"),
)  # fmt: skip
"""Keys of a result's ``provenance`` and what they are called."""

_JUDGED = {
    "dataset": ("fingerprint", "pixel_hash", "source"),
    "classifier": ("name", "fingerprint", "weights"),
}


def questions(trial: TrialRecord) -> dict[str, Any]:
    """What was asked, of which images, and who judged: where it differs, numbers answer different questions."""
    facts = {f"evaluation.{key}": value for key, value in trial.section("evaluation").items()}
    for section, keys in _JUDGED.items():
        found = trial.section(section)
        facts |= {f"{section}.{key}": found.get(key) for key in keys}
    return facts


def origin(trial: TrialRecord) -> dict[str, Any]:
    """The code and the machine behind the weights, and those behind the evaluation where they are others."""
    trained, asked = trial.section("provenance"), trial.section("evaluated_on")
    facts = {label: trained.get(key) for key, label in PROVENANCE}
    elsewhere = {f"evaluated: {label}": asked[key] for key, label in PROVENANCE if key != "precision" and key in asked}
    return facts | elsewhere
