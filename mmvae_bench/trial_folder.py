"""A trial's folder: the names of its files, and the spec in it. Free of torch."""

from __future__ import annotations

from pathlib import Path

from .base.errors import ConfigError
from .base.files import read_json
from .specs.trial import SPEC_VERSION, TrialSpec

SPEC_FILE, EVALUATION_FILE, RESULT_FILE = "spec.json", "evaluation.json", "result.json"
CHECKPOINT_FILE, TRAINING_LOG, SAMPLES_FILE = "last.ckpt", "log.jsonl", "samples.png"
PLANE_FILE = "latent_plane.npz"


def read_trial(directory: Path) -> TrialSpec:
    """The spec of a trial folder, with the evaluation asked of it.

    Raises:
        ConfigError: where the folder is no trial's, its files are damaged, or it was made under another version.
    """
    path = directory / SPEC_FILE
    if not path.is_file():
        raise ConfigError(f"{directory} is not a trial folder: it has no {SPEC_FILE}")
    plain = read_object(path)
    if plain.get("version") != SPEC_VERSION:
        raise ConfigError(
            f"{directory} was made under spec version {plain.get('version')!r}, this is version {SPEC_VERSION}: "
            "choose another folder, or use the version of mmvae-bench that made it"
        )
    evaluation = directory / EVALUATION_FILE
    if evaluation.is_file():
        plain["evaluation"] = read_object(evaluation)
    return TrialSpec.parse(plain)


def read_object(path: Path) -> dict[str, object]:
    """The JSON object in a file; raises ConfigError where it is damaged."""
    try:
        value = read_json(path)
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path} is damaged: expected a JSON object")
    return value
