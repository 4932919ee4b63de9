"""The classifier that few labels are compared with."""

from __future__ import annotations

import torch

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
