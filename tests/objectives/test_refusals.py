"""What an objective cannot do is refused with what to do about it, and leaves nothing behind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import mmvae_bench as mb
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.cli import main
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import CapabilityError, Stage
from mmvae_bench.specs.components import objectives, of_domain
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.checkpoint import CheckpointError
from mmvae_bench.trial import TrialResult

from .opinions import Make

SPEC: dict[str, Any] = {
    "dataset": {"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3},
    "backbone": {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3},
    "training": {"steps": 2, "batch_size": 32, "validations": 1},
    "evaluation": {
        "num_samples": 10,
        "query_repeats": 1,
        "num_resamples": 50,
        "protocols": ["paper"],
        "levels": [4],
        "classifier": {"name": "conv_thin", "steps": 5},
    },
}
STEPS = [
    (name, key)
    for name in of_domain(objectives, "images")
    for key in objectives.get(name).model_fields
    if key.endswith("_steps") and key != "kl_warmup_steps"
]
"""Every parameter that is the length of a stage. A warm-up of no steps is none, and no stage."""


def trained(folder: Path, objective: object) -> TrialResult:
    return mb.run_trial(TrialSpec.parse({**SPEC, "objective": objective}), out=folder)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> TrialResult:
    return trained(tmp_path_factory.mktemp("scan"), {"name": "scan", "dae": False})


def test_scan_is_told_what_is_unspecified(
    scan: TrialResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "six.png"
    arguments = ["imagine", str(scan.directory), "digit=6, scale=small", "-n", "2", "--out", str(picture)]
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: scan takes fully specified concepts only, ")
    assert printed.endswith(": also give orientation, location\n")
    assert not list(tmp_path.iterdir())
    arguments[2] += ", orientation=upright, location=top-left"
    assert main(arguments) == 0
    assert picture.exists()


def test_a_cvae_cannot_describe() -> None:
    from mmvae_bench.trial import build_objective

    spec = TrialSpec.parse({**SPEC, "objective": "cvae"})
    data = spec.dataset.build()
    data.prepare_data()
    data.setup()
    images = data.store.batch(data.rows("val")[:2]).image
    with pytest.raises(CapabilityError, match=r"cvae trains no q\(z\|x\).*so it cannot describe"):
        build_objective(spec).describe(images)


@pytest.mark.parametrize(("name", "key"), STEPS)
def test_a_stage_without_steps_is_refused_before_anything_starts(name: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: .*greater than 0\n  given: 0"):
        objectives.parse({"name": name, key: 0})


def test_training_without_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training\.steps: .*greater than 0\n  given: 0"):
        TrialSpec.parse({**SPEC, "objective": "jvae", "training": {"steps": 0}})


@pytest.mark.parametrize(("steps", "trains"), [(0, ("image_encoder",)), (5, ())])
def test_an_objective_cannot_have_a_stage_that_does_nothing(steps: int, trains: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"stage 'extra' needs at least one step and one network .*: leave it out"):
        Stage("extra", steps, trains)


def test_a_checkpoint_of_another_objective_is_refused(scan: TrialResult, tmp_path: Path) -> None:
    """Neither loaded nor trained on, and left where it is."""
    spec = TrialSpec.parse({**SPEC, "objective": "vae"})
    folder = tmp_path / "trials" / spec.key
    folder.mkdir(parents=True)
    for name in ("spec.json", "evaluation.json", "last.ckpt"):
        shutil.copy(scan.directory / name, folder / name)
    from mmvae_bench.base.files import write_json

    write_json(folder / "spec.json", spec.canonical())
    before = (folder / "last.ckpt").read_bytes()
    wanted = f"belongs to trial '{scan.directory.name}', not to '{spec.key}': move it away"
    with pytest.raises(CheckpointError, match=wanted):
        mb.load(folder)
    with pytest.raises(CheckpointError, match=wanted):
        mb.run_trial(spec, out=tmp_path)
    assert (folder / "last.ckpt").read_bytes() == before
    assert not (folder / "result.json").exists()
    assert not (folder / "samples.png").exists()


@pytest.mark.parametrize("name", ["jvae", "jnf", "cvae"])
def test_a_joint_posterior_refuses_what_is_unspecified(name: str, make: Make, batch: Batch) -> None:
    """As an index, -1 is the last value: the answer would be that of another concept."""
    model, concept = make(name).eval(), batch.concept.clone()
    concept[3, 1] = -1
    with pytest.raises(CapabilityError, match=f"{name} .*fully specified concepts only"):
        model.reconstruct(batch.image, concept)
    with pytest.raises(CapabilityError, match=f"{name} .*fully specified concepts only"):
        model.posterior(batch.image, concept)
