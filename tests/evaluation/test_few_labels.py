"""The classifier that few labels are compared with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from mmvae_bench.backbones.layers import Describer
from mmvae_bench.data.augmentation import AugmentedBatches
from mmvae_bench.data.batch import Batch
from mmvae_bench.data.supervision import labelled_rows
from mmvae_bench.evaluation.questions import few_labels
from mmvae_bench.evaluation.questions.few_labels import classifier_alone
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.trial import build_objective


def test_dropout_of_the_classifier_depends_on_the_trial_alone() -> None:
    """It is the same whatever was asked before, and leaves the generator of whatever is asked next as it was."""
    spec = TrialSpec.parse(
        {
            "dataset": {"name": "sprites", "level": 3, "canvas": 16, "num_images": 100},
            "backbone": {"name": "attribute2image_thin", "width": 4, "latent_size": 4, "dropout": 0.5},
            "objective": "ssvae",
            "training": {"steps": 10, "batch_size": 8, "supervision": {"fraction": 0.2}},
        }
    )
    data = spec.dataset.build()
    data.prepare_data()
    data.setup()
    assert spec.training.supervision is not None
    found, states = [], []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        network = classifier_alone(build_objective(spec), data, spec.training.supervision, steps=3)
        states.append(torch.equal(before, torch.get_rng_state()))
        found.append(torch.cat([each.detach().flatten() for each in network.parameters()]))
    assert torch.equal(*found)
    assert all(states)


def test_the_classifier_sees_its_images_as_the_trial_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Augmented where they are, and the labelled images of its own seed."""
    spec = TrialSpec.parse(
        {
            "dataset": {"name": "mnist", "canvas": 16, "num_images": 200},
            "backbone": {"name": "mlp", "hidden": 8, "latent_size": 2},
            "objective": "ssvae",
            "training": {
                "steps": 10,
                "batch_size": 64,
                "supervision": {"labels_per_class": 1, "by_seed": True},
                "augmentation": {"flip": 0, "gain": 0, "sharpening": 0, "binarise": True},
            },
            "seed": 3,
        }
    )
    data = spec.dataset.build()
    data.prepare_data()
    data.setup()
    few = spec.training.supervision
    assert few is not None
    yielded: list[Batch] = []
    shown: list[torch.Tensor] = []

    class Noted(AugmentedBatches):
        def __iter__(self) -> Iterator[Batch]:
            for batch in super().__iter__():
                yielded.append(batch)
                yield batch

    def note(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, Describer):
            shown.append(given[0])

    monkeypatch.setattr(few_labels, "AugmentedBatches", Noted)
    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        classifier_alone(build_objective(spec), data, few, steps=3)
    finally:
        hook.remove()
    assert [id(batch.image) for batch in yielded] == [id(image) for image in shown]
    rows = labelled_rows(data, few, training_seed=3)
    assert not torch.equal(rows, labelled_rows(data, few, training_seed=0))
    images = []
    for batch in yielded:
        assert sorted(batch.index.tolist()) == rows.tolist()
        images.append(batch.image[batch.index.argsort()])
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[0], data.store.batch(rows).image)
