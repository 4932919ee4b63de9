"""JNF: the joint ELBO, then a flow per modality."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from mmvae_bench.data.batch import Batch

from .opinions import (
    Make,
    assert_agree,
    assert_parts_add_up,
    bound,
    gaussian,
    log_flow,
    product,
    tame,
)


def test_value_and_gradient(make: Make, batch: Batch) -> None:
    model = tame(make("jnf", **{"lambda": 7.0}))
    terms = model.terms(batch)
    q = gaussian(model.joint_encoder(batch.image, batch.concept))  # type: ignore[operator]
    z = terms.latents["joint"].detach()
    value = -bound(model, batch, q, z, 1.0, 7.0)
    image, experts = model.image_encoder, SimpleNamespace(concept_encoder=model.concept_encoder.encoder)
    value = value - log_flow(image.flow, z, gaussian(image.encoder(batch.image)))  # type: ignore[union-attr,arg-type,operator]
    value = value - log_flow(model.concept_encoder.flow, z, product(experts, batch.concept))  # type: ignore[union-attr,arg-type]
    assert_agree(model, terms.loss, value.mean())


def test_parts_add_up(make: Make, batch: Batch) -> None:
    weights = {"joint/log_px": -1, "joint/log_py": -7, "joint/kl": 1, "image/log_q": -1, "concept/log_q": -1}
    assert_parts_add_up(tame(make("jnf", **{"lambda": 7.0})).terms(batch), weights, batch_size=len(batch))


def test_jnf_describes_at_the_flows_centre(make: Make, batch: Batch) -> None:
    model = make("jnf").eval()
    q = model.posterior(image=batch.image)
    _, py = model.likelihood(q.centre)  # type: ignore[attr-defined]
    assert torch.equal(model.describe(batch.image), py.mode)
    shifted = model.posterior(batch.image, batch.concept)
    assert torch.equal(model.centre(shifted), shifted.mean)
