"""Semi-supervised training: resumed to the bit, and what the trial says of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.evaluation.questions.few_labels import classifier_alone
from mmvae_bench.specs.components import datasets
from mmvae_bench.specs.trial import TrainingSpec, TrialSpec
from mmvae_bench.training.fit import fit
from mmvae_bench.training.rehearsal import MadeUp, rehearse
from mmvae_bench.trial import build_objective, load, run_trial

from ..conformance.worlds import objectives_on
from .conftest import Run, same

FEW = {"labels_per_class": 2, "attributes": ["digit"], "rate": 0.3}
FEW_FACES = {"fraction": 0.3, "rate": 0.3}
FEW_COUNTS = {"labels_per_class": 4, "rate": 0.3}
WORLDS = {"faces": {"name": "lit_faces", "canvas": 16, "num_people": 2},
          "counts": {"name": "multi_mnist", "canvas": 32, "num_images": 200}}  # fmt: skip
RESUMED: dict[str, tuple[str, dict[str, Any], str | None, dict[str, Any]]] = {
    "meme": ("meme", {}, None, FEW),
    "telbo": ("telbo", {}, None, FEW),
    "ssvae": ("ssvae", {}, None, FEW),
    "ssvae, concrete": ("ssvae", {"estimator": "concrete"}, None, FEW),
    "ssvae, intrinsic": ("ssvae", {"structure": "intrinsic"}, "faces", FEW_FACES),
    "recursive_ssvae": ("recursive_ssvae", {}, "counts", FEW_COUNTS),
    "recursive_ssvae, concrete": ("recursive_ssvae", {"kind_estimator": "concrete"}, "counts", FEW_COUNTS),
}
"""Objective, settings, dataset where it is not the digits, and supervision."""


@cache
def world(name: str) -> ConceptDataModule:
    data = datasets.parse(WORLDS[name]).build()
    assert isinstance(data, ConceptDataModule)
    data.prepare_data()
    data.setup()
    return data


@pytest.mark.parametrize("case", RESUMED)
@pytest.mark.parametrize("stop_after", [3, 8])
def test_stopped_and_resumed_is_bitwise_uninterrupted(case: str, stop_after: int, run: Run) -> None:
    """With the last supervised step before the stop, and in the middle of the unsupervised ones."""
    name, settings, where, few = RESUMED[case]
    if where is not None:
        settings = {**settings, "data": world(where)}
    whole, fitted = run(name, folder="whole", steps=12, supervision=few, **settings)
    assert fitted is not None
    run(name, folder="parts", steps=12, stop_after=stop_after, supervision=few, **settings)
    resumed, again = run(name, folder="parts", steps=12, supervision=few, **settings)
    assert again is not None
    assert same(resumed.state_dict(), whole.state_dict())
    assert again.history == fitted.history
    plain, _ = run(name, folder="plain", steps=12, **settings)
    assert not same(plain.state_dict(), whole.state_dict())


def test_an_objective_that_needs_labels_trains_on_labelled_images_alone(run: Run, monkeypatch: object) -> None:
    """Whatever the rate: the same bits."""
    often, _ = run("jvae", steps=6, supervision={**FEW, "rate": 0.9})
    seldom, _ = run("jvae", steps=6, supervision={**FEW, "rate": 0.2})
    other, _ = run("jvae", steps=6, supervision={**FEW, "seed": 1})
    assert same(often.state_dict(), seldom.state_dict())
    assert not same(often.state_dict(), other.state_dict())


def test_a_vae_reads_no_labels_so_their_number_changes_nothing(run: Run) -> None:
    plain, _ = run("vae", steps=6)
    few, _ = run("vae", steps=6, supervision=FEW)
    assert same(plain.state_dict(), few.state_dict())


def trial(name: str, **few: object) -> TrialSpec:
    return TrialSpec.parse(
        {
            "dataset": {"name": "mnist", "source": "digits", "canvas": 16},
            "backbone": {"name": "mlp", "hidden": 16, "latent_size": 3},
            "objective": name,
            "training": {
                "steps": 20,
                "batch_size": 32,
                "validations": 1,
                "supervision": {"labels_per_class": 3, **few},
            },
            "evaluation": {
                "protocols": ["paper"],
                "num_samples": 2,
                "query_repeats": 1,
                "classifier": {"name": "conv_thin", "width": 2, "hidden": 4, "steps": 2},
            },
        }
    )


@pytest.mark.parametrize("name", objectives_on("mlp"))
def test_both_kinds_of_step_are_rehearsed(name: str) -> None:
    assert rehearse(trial(name)) is None


def test_a_trial_says_what_it_had_labels_of_and_scores_what_they_are_worth(tmp_path: Path) -> None:
    learns, needs = (run_trial(trial(name), out=tmp_path, device="cpu") for name in ("ssvae", "jmvae"))
    assert learns.result["training"]["supervision"] == {"labelled_images": 30, "supervised_steps": 2}
    assert learns.result["training"]["samples_seen"] == 18 * 32 + 2 * 30
    assert "images without labels" not in learns.result["left_out"]
    assert needs.result["training"]["supervision"] == {"labelled_images": 30, "supervised_steps": 20}
    assert "needs the label" in needs.result["left_out"]["images without labels"]
    errors = {
        (result.result["spec"]["objective"]["name"], score["metric"]): score
        for result in (learns, needs)
        for score in result.scores
        if score["metric"].startswith("label_error")
    }
    assert len(errors) == 4
    alone = [errors[name, "label_error_alone"]["value"] for name in ("ssvae", "jmvae")]
    assert alone[0] == alone[1], "the classifier is the same beside every objective"
    assert alone[0] < 0.6 < errors["ssvae", "label_error"]["floor"]
    described = {score["metric"]: score["value"] for score in learns.scores if score.get("attribute") is None}
    assert errors["ssvae", "label_error"]["value"] == pytest.approx(1 - described["description_accuracy"])
    assert load(learns.directory).training_spec.supervision is not None


def test_a_plain_lightning_trainer_is_told_that_it_cannot(digits: ConceptDataModule) -> None:
    spec = TrialSpec.parse({**trial("ssvae").canonical(), "dataset": {"name": "mnist", "canvas": 16}})
    objective = build_objective(spec)
    assert objective.training_spec == TrainingSpec.parse(spec.training.canonical())
    trainer = pl.Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    with pytest.raises(BenchmarkError, match=r"training\.supervision chooses the batches of each step"):
        trainer.fit(objective, datamodule=digits)


@pytest.mark.parametrize(
    ("part", "where", "has"),
    [
        ({"supervision": {"fraction": 0.5, "rate": 1}}, "training.supervision.fraction", "has labels"),
        ({"missing_images": {"fraction": 0.75}}, "training.missing_images.fraction", "has an image"),
    ],
)
def test_too_few_for_a_batch_norm_are_said_and_not_left_to_torch(part: dict[str, object], where: str, has: str) -> None:
    """One labelled image, and networks that need two: torch's error was `Expected more than 1 value per channel`."""
    spec = TrialSpec.parse(
        {
            "dataset": {"name": "two_object_clevr", "canvas": 64},
            "backbone": {"name": "two_object_resnet", "width": 4, "latent_size": 4},
            "objective": "jvae",
            "training": {"steps": 2, "batch_size": 2, "validations": 1, **part},
        }
    )
    model, data = build_objective(spec), MadeUp(spec)
    message = f"only 1 of the training examples {has}, but backbone two_object_resnet normalises over the batch"
    with pytest.raises(ConfigError) as caught:
        fit(model, data, spec.training, key="k", seed=0)
    assert message in str(caught.value)
    assert where in str(caught.value)
    if spec.training.supervision is not None:
        with pytest.raises(ConfigError, match=message):
            classifier_alone(model, data, spec.training.supervision, steps=1)
