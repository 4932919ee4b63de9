"""JMVAE: the joint ELBO, and unimodal posteriors that cover the joint one."""

from __future__ import annotations

import pytest
import torch

from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import CapabilityError

from .opinions import (
    Make,
    assert_agree,
    assert_parts_add_up,
    bound,
    gaussian,
    kl,
    product,
    seeded_terms,
)


def test_value_and_gradient(make: Make, batch: Batch) -> None:
    model = make("jmvae", **{"lambda": 7.0, "alpha": 0.3})
    terms = model.terms(batch)
    q = gaussian(model.joint_encoder(batch.image, batch.concept))  # type: ignore[operator]
    q_image = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    pulled = kl(q, product(model, batch.concept)) + kl(q, q_image)
    value = -(bound(model, batch, q, terms.latents["joint"], 1.0, 7.0) - 0.3 * pulled).mean()
    assert_agree(model, terms.loss, value)


def test_parts_add_up(make: Make, batch: Batch) -> None:
    weights = {
        "joint/log_px": -1,
        "joint/log_py": -7,
        "joint/kl": 1,
        "joint/kl_to_concept": 0.3,
        "joint/kl_to_image": 0.3,
    }
    assert_parts_add_up(make("jmvae", **{"lambda": 7.0, "alpha": 0.3}).terms(batch), weights, batch_size=len(batch))


def test_parts_and_latents_keep_their_order(make: Make, batch: Batch) -> None:
    """Logs and traces list them in this order."""
    terms = make("jmvae").terms(batch)
    kls = ["joint/kl", "joint/kl_to_concept", "joint/kl_to_image"]
    assert list(terms.parts) == ["joint/log_px", "joint/log_py", *kls]
    assert list(terms.latents) == ["joint"]


def test_jmvae_with_alpha_zero_is_jvae(make: Make, batch: Batch) -> None:
    jmvae, jvae = make("jmvae", alpha=0.0), make("jvae")
    jvae.load_state_dict({key: value for key, value in jmvae.state_dict().items() if key in jvae.state_dict()})
    torch.testing.assert_close(seeded_terms(jmvae, batch), seeded_terms(jvae, batch), rtol=0, atol=0)
    assert seeded_terms(make("jmvae", alpha=1.0), batch) > seeded_terms(make("jmvae", alpha=0.0), batch)


OF_IMAGES = {"lambda": 7.0, "alpha": 0.3, "joint_encoder": False}


def test_value_and_gradient_without_a_joint_encoder(make: Make, batch: Batch) -> None:
    """Cremer and Kushman (2018), end of Sec. 3: VLVAE's bound less alpha KL(q(z|x) || q(z|y)), all trained at once."""
    model = make("jmvae", **OF_IMAGES)
    terms = model.terms(batch)
    q = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
    value = -(bound(model, batch, q, terms.latents["image"], 1.0, 7.0) - 0.3 * kl(q, product(model, batch.concept)))
    assert_agree(model, terms.loss, value.mean())


def test_parts_add_up_without_a_joint_encoder(make: Make, batch: Batch) -> None:
    weights = {"image/log_px": -2, "image/log_py": -7, "image/kl": 1, "image/kl_to_concept": 0.3}
    assert_parts_add_up(make("jmvae", image_weight=2.0, **OF_IMAGES).terms(batch), weights, batch_size=len(batch))


def test_without_a_joint_encoder_and_with_alpha_zero_it_is_vlvae(make: Make, batch: Batch) -> None:
    jmvae, vlvae = make("jmvae", alpha=0.0, joint_encoder=False), make("vlvae")
    vlvae.load_state_dict({key: value for key, value in jmvae.state_dict().items() if key in vlvae.state_dict()})
    torch.testing.assert_close(seeded_terms(jmvae, batch), seeded_terms(vlvae, batch), rtol=0, atol=0)


def test_without_a_joint_encoder_there_is_no_joint_posterior(make: Make, batch: Batch) -> None:
    model = make("jmvae", joint_encoder=False)
    assert model.network_names == ("concept_encoder", "image_encoder", "image_decoder", "concept_decoder")
    assert not any(key.startswith("joint") for key in model.state_dict())
    with pytest.raises(CapabilityError, match=r"trains no q\(z\|x,y\)"):
        model.posterior(batch.image, batch.concept)
    assert make("jmvae").network_names[2] == "joint_encoder"
