"""SSVAE of intrinsic images: its loss against another computation, and what it knows of lights."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import CapabilityError
from mmvae_bench.objectives.intrinsic import IntrinsicSSVAE
from mmvae_bench.specs.components import backbones, datasets, objectives
from mmvae_bench.specs.trial import TrialSpec

from .opinions import assert_agree, gaussian, kl, log_normal, log_px, prior_of, redraw

WORLD = datasets.parse({"name": "lit_faces", "canvas": 16, "num_people": 4})
AZIMUTHS, ELEVATIONS = (-100, -45, 0, 45, 100), (-25, 10, 55)


THIN = {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3}


def model_of(networks: dict[str, object] = THIN, **settings: object) -> IntrinsicSSVAE:  # type: ignore[assignment]
    backbone = backbones.parse(networks)
    built = backbone.build(schema=WORLD.concept_schema(), image_shape=WORLD.image_shape())
    model = objectives.parse({"name": "ssvae", "structure": "intrinsic", **settings}).build(built).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    assert isinstance(model, IntrinsicSSVAE)
    return model.eval()


def to_light(azimuth: float, elevation: float) -> list[float]:
    a, e = math.radians(azimuth), math.radians(elevation)
    return [math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)]


@pytest.fixture
def faces() -> Batch:
    """Ten images, every identity, all bins known, with a light beside them that is not the middle of its bins."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(10, 1, 16, 16, generator=generator, dtype=torch.float64).round()
    concept = torch.stack([torch.arange(10) % 4, torch.arange(10) % 5, torch.arange(10) % 3], 1)
    factors = F.normalize(torch.randn(10, 3, generator=generator), dim=1)
    return Batch(image, concept, torch.arange(10), factors=factors)


def opinion(model: IntrinsicSSVAE, batch: Batch, latents: dict[str, Tensor]) -> Tensor:
    """Row by row and identity by identity, with every density written out."""
    spec, rows = model.spec, []
    features = model.describer.hidden(model.describer.trunk(batch.image))  # type: ignore[operator,union-attr]
    (head,) = model.describer.heads  # type: ignore[union-attr,misc]
    log_q_i = torch.log_softmax(features @ head.weight.T + head.bias, -1)
    free, all_r = gaussian(model.light_encoder.encoder(batch.image)), gaussian(model.reflectance_encoder(batch.image))  # type: ignore[operator]
    all_l = (free[0], (free[1] ** 2 + 0.01).sqrt())
    is_open = bool((batch.concept[:, 0] < 0).any())
    for n in range(len(batch)):
        q_l, q_r = (tuple(part[n : n + 1] for part in q) for q in (all_l, all_r))
        identity, azimuth, elevation = batch.concept[n].tolist()
        bound = torch.zeros(1, dtype=torch.float64)
        r = redraw(q_r, latents["reflectance"][n : n + 1])  # type: ignore[arg-type]
        if azimuth >= 0 and elevation >= 0:
            known = to_light(AZIMUTHS[azimuth], ELEVATIONS[elevation])
            light = batch.factors[n : n + 1].double() if batch.factors is not None else torch.tensor([known]).double()
            bound = bound + log_normal(light, prior_of(q_l)) + spec.alpha * log_normal(light, q_l)  # type: ignore[arg-type]
        else:
            light = redraw(q_l, latents["light"][n : n + 1])  # type: ignore[arg-type]
            bound = bound - kl(q_l, prior_of(q_l))  # type: ignore[arg-type]
        if identity >= 0:
            bound = bound - math.log(4) + spec.alpha * log_q_i[n, identity]
        else:
            bound = bound - (log_q_i[n].exp() * (log_q_i[n] + math.log(4))).sum()
        bound = bound - kl(q_r, prior_of(q_r))  # type: ignore[arg-type]
        for i in range(4):
            weight = log_q_i[n, i].exp() if identity < 0 else torch.tensor(float(i == identity)).double()
            name = f"shading/{i}" if is_open else "shading"
            both = torch.cat([torch.eye(4, dtype=torch.float64)[i : i + 1], light], 1)
            shading = model.shading_encoder
            mean = both @ shading.mean.weight.T + shading.mean.bias
            scale = torch.log1p((both @ shading.scale.weight.T + shading.scale.bias).exp())
            s = redraw((mean, scale), latents[name][n : n + 1])
            seen = log_px(model.image_decoder, torch.cat([s, r], 1), batch.image[n : n + 1])
            bound = bound + weight * (spec.image_weight * seen - kl((mean, scale), prior_of((mean, scale))))
        rows.append((spec.gamma if max(identity, min(azimuth, elevation)) >= 0 else 1.0) * bound)
    return -torch.cat(rows).mean()


@pytest.mark.parametrize("hidden", ["nothing", "all", "identity", "light", "factors", "some rows"])
def test_the_loss_is_the_bound_of_the_papers_model(hidden: str, faces: Batch) -> None:
    model = model_of(estimator="exact", gamma=2.0, alpha=3.0, image_weight=0.3)
    concept = faces.concept.clone()
    if hidden in ("all", "identity"):
        concept[:, 0] = -1
    if hidden in ("all", "light"):
        concept[:, 1:] = -1
    if hidden == "some rows":
        concept[::2] = -1
    known = None if hidden in ("all", "identity", "factors") else faces.factors
    batch = replace(faces, concept=concept, factors=known)
    terms = model.terms(batch)
    assert_agree(model, terms.loss, opinion(model, batch, terms.latents))


def test_plug_in_gives_the_shading_the_probabilities(faces: Batch) -> None:
    model = model_of(estimator="plug_in")
    batch = replace(faces, concept=torch.full_like(faces.concept, -1), factors=None)
    terms = model.terms(batch)
    q_i = model.describer(batch.image).log_probs[0].exp()
    both = torch.cat([q_i, terms.latents["light"]], 1)
    mean, scale = (
        both @ each.weight.T + each.bias for each in (model.shading_encoder.mean, model.shading_encoder.scale)
    )
    s, r = terms.latents["shading"], terms.latents["reflectance"]
    seen = log_px(model.image_decoder, torch.cat([s, r], 1), batch.image)
    torch.testing.assert_close(terms.parts["joint/log_px"], seen)
    q_r = gaussian(model.reflectance_encoder(batch.image))
    q_s = (mean, F.softplus(scale))
    torch.testing.assert_close(terms.parts["joint/kl"], kl(q_s, prior_of(q_s)) + kl(q_r, prior_of(q_r)))


def test_a_label_teaches_the_light_and_the_identity(faces: Batch) -> None:
    """Steps of the supervised loss alone: q(l|x) comes to the true direction, and not to the middle of its bins."""
    model = model_of({"name": "mlp", "hidden": 32, "layers": 1, "latent_size": 3}, alpha=50.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    before = float((model.light(faces.image) * faces.factors).sum(1).mean())  # type: ignore[operator]
    for _ in range(120):
        optimizer.zero_grad()
        model.terms(faces).loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    after = float((model.light(faces.image) * faces.factors).sum(1).mean())  # type: ignore[operator]
    assert before < 0.7 < 0.97 < after
    assert torch.equal(model.describe(faces.image)[:, 0], faces.concept[:, 0])


def test_a_light_is_described_by_its_bins(faces: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    angles = [(-130, 20), (-70, -8), (22, 32), (23, 33), (85, 90), (0, 0), (73, 10)]
    lights = torch.tensor([to_light(*pair) for pair in angles])
    model = model_of()
    monkeypatch.setattr(model, "light", lambda image: lights.double())
    named = [[int(WORLD.concept_schema().attributes[k].values[v]) for k, v in ((1, row[1]), (2, row[2]))]
             for row in model.describe(faces.image[:7]).tolist()]  # fmt: skip
    assert named == [[-100, 10], [-45, -25], [0, 10], [45, 55], [100, 55], [0, 10], [100, 10]]


def test_it_imagines_from_shading_told_and_reflectance_unknown(faces: Batch) -> None:
    model = model_of()
    concept = torch.tensor([[2, 4, 1]])
    q = model.posterior(concept=concept)
    both = torch.tensor([[0, 0, 1, 0, *to_light(100, 10)]]).double()
    shading = model.shading_encoder
    torch.testing.assert_close(q.mean[:, :3], both @ shading.mean.weight.T + shading.mean.bias)
    torch.testing.assert_close(q.mean[:, 3:], torch.zeros(1, 3, dtype=torch.float64))
    torch.testing.assert_close(q.stddev[:, 3:], torch.ones(1, 3, dtype=torch.float64))
    seen = model.posterior(faces.image, faces.concept)
    torch.testing.assert_close(seen.mean[:, 3:], model.reflectance_encoder(faces.image).mean)
    assert model.latent_size == 6
    assert model.imagine("identity=03", num_samples=5).shape == (5, 1, 16, 16)
    z, told = model.draw_latents(torch.tensor([[1, -1, -1]]), 3000)
    assert bool((told[:, 0] == 1).all())
    assert told[:, 1].bincount(minlength=5).min() > 450
    torch.testing.assert_close(z[:, 3:].std(0), torch.ones(3, dtype=torch.float64), atol=0.06, rtol=0)


def test_a_reconstruction_keeps_the_light_that_is_seen(faces: Batch) -> None:
    """Without a concept it is that of q(l|x), which no bin need be the middle of."""
    model = model_of()
    told = model.reconstruct(faces.image, model.describe(faces.image))
    free = model.reconstruct(faces.image)
    assert not torch.allclose(told, free, atol=1e-4)
    i = F.one_hot(model.describe(faces.image)[:, 0], 4).double()
    s = model.shading_encoder(i, model.light_encoder(faces.image).mean).mean
    z = torch.cat([s, model.reflectance_encoder(faces.image).mean], 1)
    torch.testing.assert_close(free, model.image_decoder(z).mean)


def test_it_says_what_it_cannot(faces: Batch) -> None:
    model = model_of()
    with pytest.raises(CapabilityError, match=r"ssvae trains no q\(z\|x\)"):
        model.posterior(image=faces.image)
    with pytest.raises(CapabilityError, match="ssvae takes fully specified concepts only; imagine draws the others"):
        model.posterior(concept=torch.tensor([[0, -1, 0]]))


TRIAL = {"dataset": "lit_faces", "backbone": {"name": "patches", "latent_size": 4}}


@pytest.mark.parametrize(
    ("settings", "objective", "message"),
    [
        (
            {"dataset": "mnist"},
            {},
            "objective.structure: for faces under a light, and mnist has no direction of the light",
        ),
        ({}, {"supervised": "printed"}, "structure: supervised printed needs structure plain: a light has a density"),
        (
            {},
            {"structure": "intrinsc"},
            "structure: not one of the choices\n  given: 'intrinsc'\n  choices: plain, intrin",
        ),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, object], objective: dict[str, object], message: str) -> None:
    asked = {"name": "ssvae", "structure": "intrinsic", **objective}
    with pytest.raises(ConfigError, match=message):
        TrialSpec.parse({**TRIAL, **settings, "objective": asked})


def test_the_exact_sum_is_over_identities_alone() -> None:
    asked = {"name": "ssvae", "structure": "intrinsic", "estimator": "exact"}
    assert TrialSpec.parse({**TRIAL, "objective": asked}).objective.parameters()["structure"] == "intrinsic"
    with pytest.raises(ConfigError, match="a sum over the 570 concepts of lit_faces"):
        TrialSpec.parse({**TRIAL, "objective": {**asked, "structure": "plain"}})


def test_the_structure_moves_no_key_of_earlier_trials() -> None:
    plain = objectives.parse("ssvae")
    assert "structure" not in plain.canonical()
    assert plain.implementation.endswith("ssvae:SSVAE")
    assert objectives.parse({"name": "ssvae", "structure": "intrinsic"}).implementation.endswith(":IntrinsicSSVAE")
