"""MEME: its formula on networks and on a model of one latent dimension, where every integral can be computed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from mmvae_bench.data.batch import Batch
from mmvae_bench.evaluation.likelihood import Bounds
from mmvae_bench.objectives.base import Objective, Terms
from mmvae_bench.objectives.meme import PseudoInputs, supervised
from mmvae_bench.specs.components import backbones, datasets, objectives
from mmvae_bench.specs.trial import TrainingSpec

from .opinions import Gaussian, Make, gaussian, log_px, log_py, redraw
from .opinions import kl as kl_of
from .opinions import product as concept_posterior

# ---------------------------------------------------------------- the loss of networks


def pair_loss(model: Objective, batch: Batch, terms: Terms, *, num: int, scored: str, **settings: object) -> Tensor:
    """The loss of pairs, sample by sample, with weights a of x and b of y; by torch's densities."""
    a, b, alpha, num_scored = 0.7, 5.0, 3.0, num if scored == "all" else 1
    q: dict[str, Gaussian] = {
        "image": gaussian(model.image_encoder(batch.image)),  # type: ignore[operator]
        "concept": concept_posterior(model, batch.concept),
    }
    both = torch.zeros(len(batch), dtype=torch.float64)
    for s, t, of_s, of_t in (("image", "concept", a, b), ("concept", "image", b, a)):
        zs = [redraw(q[s], terms.latents[f"{s}/{k}"]) for k in range(num)]
        told = {
            "image": [log_px(model.image_decoder, z, batch.image) for z in zs],
            "concept": [log_py(model.concept_decoder, z, batch.concept) for z in zs],
        }
        total = sum((torch.exp(each - told[t][0]) for each in told[t]), torch.zeros(len(batch), dtype=torch.float64))
        log_qts = told[t][0] + torch.log(total / num)
        term = torch.zeros_like(both)
        for k in range(num_scored):
            w = torch.exp(told[t][k] - log_qts)
            w = w.detach() if settings["weights"] == "detached" else w
            ratio = Normal(*q[t]).log_prob(zs[k]).sum(1) - Normal(*q[s]).log_prob(zs[k]).sum(1)
            if settings["divergence"] == "analytic":
                ratio = -kl_of(q[s], q[t])
            term = term + w * (of_s * told[s][k] + ratio - told[t][k]) / num_scored
        both = both + term + alpha * of_t * log_qts
    return -(both / 2).mean()


@pytest.mark.parametrize("weights", ["trained", "detached"])
@pytest.mark.parametrize(("scored", "divergence"), [("all", "sampled"), ("one", "sampled"), ("one", "analytic")])
def test_pairs_by_value_and_gradient(weights: str, scored: str, divergence: str, make: Make, batch: Batch) -> None:
    settings = {"weights": weights, "scored": scored, "divergence": divergence}
    model = make("meme", num_samples=3, image_weight=0.7, alpha=3.0, **{"lambda": 5.0}, **settings).eval()
    terms = model.terms(batch)
    assert_same(model, terms.loss, pair_loss(model, batch, terms, num=3, **settings), unused={"pseudo_images"})


def assert_same(model: Objective, loss: Tensor, expected: Tensor, *, unused: set[str]) -> None:
    """Equal by value and by the gradient of every parameter, which is zero in the networks named and in no other."""
    torch.testing.assert_close(loss, expected, rtol=1e-7, atol=1e-7)
    parameters = dict(model.named_parameters())
    found, wanted = (
        torch.autograd.grad(
            value, list(parameters.values()), allow_unused=True, materialize_grads=True, retain_graph=True
        )
        for value in (loss, expected)
    )
    for key, mine, other in zip(parameters, found, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")
        assert bool(other.any()) == (key.split(".")[0] not in unused), key


def mixture_of(normals: Gaussian) -> MixtureSameFamily:
    means, scales = normals
    return MixtureSameFamily(Categorical(torch.ones(len(means)).double()), Independent(Normal(means, scales), 1))


def bound_alone(model: Objective, batch: Batch, terms: Terms, *, of: str, prior: MixtureSameFamily) -> Tensor:
    if of == "image":
        q = gaussian(model.image_encoder(batch.image))  # type: ignore[operator]
        z = redraw(q, terms.latents["image/0"])
        told = 0.7 * log_px(model.image_decoder, z, batch.image)
    else:
        q = concept_posterior(model, batch.concept)
        z = redraw(q, terms.latents["concept/0"])
        told = 5.0 * log_py(model.concept_decoder, z, batch.concept)
    return told + prior.log_prob(z) - Normal(*q).log_prob(z).sum(1)


def primed(make: Make, batch: Batch, **settings: object) -> Objective:
    """A model that has seen a batch, while images were missing from its training."""
    model = make("meme", num_samples=2, num_pseudo_inputs=5, image_weight=0.7, **{"lambda": 5.0}, **settings)
    training = TrainingSpec.parse({"steps": 9, "missing_images": {"fraction": 0.5}})
    model.begin_stage(model.stages(training)[0])
    model.train()
    model.terms(batch)
    return model.eval()


def test_an_image_without_labels_by_value_and_gradient(make: Make, batch: Batch) -> None:
    """p(z) is the mean of q(z|y) over the first concepts that were seen, and q(z|y) learns from it."""
    model = primed(make, batch)
    unlabelled = replace(batch, concept=torch.full_like(batch.concept, -1))
    terms = model.terms(unlabelled)
    prior = mixture_of(concept_posterior(model, batch.concept[:5]))
    expected = -bound_alone(model, unlabelled, terms, of="image", prior=prior).mean()
    assert_same(model, terms.loss, expected, unused={"concept_decoder", "pseudo_images"})
    gradients = torch.autograd.grad(expected, list(model.concept_encoder.parameters()))
    assert any(bool(each.any()) for each in gradients)
    z = torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(model.own_prior().log_prob(z), prior.log_prob(z))


def test_a_concept_without_an_image_by_value_and_gradient(make: Make, batch: Batch) -> None:
    """p(z) is the mean of q(z|x) over pseudo-images, which start as the first images seen, and learn."""
    model = primed(make, batch)
    assert torch.equal(model.pseudo_images(), batch.image[:5])  # type: ignore[operator]
    imageless = replace(batch, image=torch.zeros_like(batch.image), imageless=True)
    terms = model.terms(imageless)
    prior = mixture_of(gaussian(model.image_encoder(model.pseudo_images.values)))  # type: ignore[operator,union-attr]
    expected = -bound_alone(model, imageless, terms, of="concept", prior=prior).mean()
    assert_same(model, terms.loss, expected, unused={"image_decoder"})
    (gradient,) = torch.autograd.grad(expected, [model.pseudo_images.values])  # type: ignore[list-item]
    assert bool((gradient.flatten(1).abs().sum(1) > 0).all())


def test_pairs_and_images_without_labels_in_one_batch(make: Make, batch: Batch) -> None:
    """Each row has the bound of what it has; an attribute that is not known has no part in any."""
    model = primed(make, batch)
    concept = batch.concept.clone()
    concept[:3] = -1
    concept[3:6, 1:] = -1
    mixed = replace(batch, concept=concept)
    rows = {name: Batch(batch.image[part], concept[part], batch.index[part])
            for name, part in (("none", slice(3)), ("some", slice(3, 12)))}  # fmt: skip
    losses = {}
    for name, one in {"mixed": mixed, **rows}.items():
        draw = _FixedNoise(12 if name == "mixed" else len(one), start=3 if name == "some" else 0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.distributions.normal, "_standard_normal", draw)
            losses[name] = float(model.terms(one).loss.detach())
    assert losses["mixed"] == pytest.approx((3 * losses["none"] + 9 * losses["some"]) / 12, rel=1e-9)
    assert losses["none"] != pytest.approx(losses["some"], rel=1e-3)


class _FixedNoise:
    """The same noise for a row, whatever batch it is in."""

    def __init__(self, number: int, *, start: int) -> None:
        self.rows = torch.arange(start, start + number)

    def __call__(self, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
        rows = self.rows.to(dtype)[:, None] + torch.arange(shape[-1])
        return torch.sin(3.7 * rows).expand(shape)


# ---------------------------------------------------------------- what the bound is of: one dimension


GRID = torch.linspace(-9, 9, 4001, dtype=torch.float64)
STEP = float(GRID[1] - GRID[0])
T, S = 1, 0.8
"""An observed pair: t is one of three values, s a number."""


def log_q(z: Tensor) -> Tensor:
    """q(z|s)."""
    return Normal(0.4, 0.9).log_prob(z)


def log_prior(z: Tensor) -> Tensor:
    """p(z|t)."""
    return Normal(-0.3, 1.2).log_prob(z)


def log_ps(z: Tensor) -> Tensor:
    """p(s|z)."""
    return Normal(torch.sin(z) + 0.5 * z, 0.6).log_prob(torch.tensor(S, dtype=torch.float64))


def log_qt(z: Tensor) -> Tensor:
    """q(t|z), of t's three values."""
    logits = torch.stack([0.3 * z, 1.5 - z.square() / 2, -z], -1)
    return logits.log_softmax(-1)[..., T]


def integral(values: Tensor) -> float:
    return float(values.sum() * STEP)


def log_evidence() -> float:
    """log p(s|t)."""
    return float(torch.log(torch.tensor(integral((log_ps(GRID) + log_prior(GRID)).exp()))))


def at(z: Tensor, classifier: Tensor, *, scored: int | None = None) -> Tensor:
    """The bound at K samples, Float[K, B]."""
    n = len(z) if scored is None else scored
    bound, _ = supervised(log_ps=log_ps(z[:n]), log_ratio=(log_prior(z) - log_q(z))[:n], log_qt=classifier)
    return bound


def equally_probable() -> Tensor:
    """The middles of equally probable intervals of q(z|s), Float[K, 1]: K so large that means are expectations."""
    return Normal(0.4, 0.9).icdf((torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000)[:, None]


def test_the_bound_is_log_p_minus_the_divergence_of_the_posterior_that_q_makes() -> None:
    """With exact q(t|s): log p(s|t) - L = KL(q(z|s,t) || p(z|s,t)), q(z|s,t) being w q(z|s)."""
    z = equally_probable()
    found = float(at(z, log_qt(z)))
    log_posterior = log_q(GRID) + log_qt(GRID)
    log_posterior = log_posterior - torch.log(torch.tensor(integral(log_posterior.exp())))
    log_true = log_ps(GRID) + log_prior(GRID) - log_evidence()
    divergence = integral(log_posterior.exp() * (log_posterior - log_true))
    assert divergence > 0.05
    assert found == pytest.approx(log_evidence() - divergence, abs=2e-5)


def test_with_the_best_classifier_the_bound_is_the_evidence() -> None:
    """q(t|z) proportional to p(s|z) p(z|t) / q(z|s), at any number of samples the importance-weighted bound."""
    z = torch.randn(5, 2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.9 + 0.4
    best = log_ps(z) + log_prior(z) - log_q(z)
    torch.testing.assert_close(at(z, best - 7.0), torch.logsumexp(best, 0) - torch.log(torch.tensor(5.0)).double())


def test_with_few_samples_it_is_a_bound_in_expectation() -> None:
    """Below the importance-weighted bound of as many samples, whose log is below the evidence; one scored sample has
    the expectation of all, and another variance."""
    coarse = GRID[::20]
    z = torch.cartesian_prod(coarse, coarse).T
    probability = log_q(z).sum(0).exp() * (20 * STEP) ** 2
    assert float(probability.sum()) == pytest.approx(1, abs=1e-6)
    log_weights = log_ps(z) + log_prior(z) - log_q(z)
    iwae = float((probability * (log_weights.logsumexp(0) - torch.log(torch.tensor(2.0)))).sum())
    every, one = at(z, log_qt(z)), at(z, log_qt(z), scored=1)
    mean, mean_of_one = float((probability * every).sum()), float((probability * one).sum())
    assert mean < iwae < log_evidence()
    assert mean_of_one == pytest.approx(mean, abs=1e-9)
    variance, variance_of_one = (float((probability * (each - mean).square()).sum()) for each in (every, one))
    assert variance_of_one > 1.2 * variance


def test_the_analytic_divergence_is_no_bound() -> None:
    """w times KL(q(z|s) || p(z|t)) has the mean KL, not that of w log(q / p): it can pass the evidence."""
    z = equally_probable()
    best = log_ps(z) + log_prior(z) - log_q(z)
    kl = kl_divergence(Normal(0.4, 0.9), Normal(-0.3, 1.2))
    values = {}
    for name, ratio in (("sampled", log_prior(z) - log_q(z)), ("analytic", -kl.double().expand(1, 1))):
        for sign in (1, -1):
            values[name, sign], _ = supervised(log_ps=log_ps(z), log_ratio=ratio, log_qt=sign * best)
    assert all(float(values["sampled", sign]) < log_evidence() + 1e-6 for sign in (1, -1))
    assert max(float(values["analytic", sign]) for sign in (1, -1)) > log_evidence() + 0.05


# ---------------------------------------------------------------- numbers and gradients


def test_detached_weights_leave_nothing_to_train_the_classifier() -> None:
    """Its two terms are opposite; with weight alpha of the second there is (alpha - 1) of its gradient."""
    generator = torch.Generator().manual_seed(0)
    log_ps, log_ratio = torch.randn(2, 4, 6, generator=generator, dtype=torch.float64)
    log_qt = torch.randn(4, 6, generator=generator, dtype=torch.float64, requires_grad=True)

    def gradient(**settings: object) -> Tensor:
        bound, _ = supervised(log_ps=log_ps, log_ratio=log_ratio, log_qt=log_qt, **settings)  # type: ignore[arg-type]
        return torch.autograd.grad(bound.sum(), log_qt)[0]

    assert float(gradient(detach_weights=True).abs().max()) < 1e-12
    torch.testing.assert_close(gradient(detach_weights=True, alpha=10.0), 9 * log_qt.detach().softmax(0))
    share = log_qt.detach().softmax(0)
    value = log_ps + log_ratio - log_qt.detach()
    torch.testing.assert_close(gradient(), share * (value - (share * value).sum(0)))


def test_likelihoods_thousands_of_nats_apart_stay_finite_in_single_precision() -> None:
    """Then z is the sample that explains t best, and the bound is that of the best sample."""
    log_qt = torch.tensor([[-9000.0], [-4000.0], [-20000.0]], requires_grad=True)
    log_ps, log_ratio = torch.tensor([[-3.0], [-5.0], [-2.0]]), torch.tensor([[-30.0], [-10.0], [-400.0]])
    bound, parts = supervised(log_ps=log_ps, log_ratio=log_ratio, log_qt=log_qt)
    assert float(bound.detach()) == pytest.approx(-5 - 10 - float(torch.log(torch.tensor(3.0))), rel=1e-4)
    (gradient,) = torch.autograd.grad(bound.sum(), log_qt)
    assert bool(gradient.isfinite().all())
    assert float(parts["log_ps"].detach()) == -5.0


# ---------------------------------------------------------------- pseudo-inputs


def test_pseudo_inputs_are_the_first_that_are_seen_and_are_restored() -> None:
    inputs, other = PseudoInputs(torch.zeros(5, 2, dtype=torch.long)), PseudoInputs(torch.zeros(5, 2, dtype=torch.long))
    assert len(inputs()) == 0
    seen = torch.arange(20).reshape(10, 2)
    for part in (seen[:3], seen[3:6], seen[6:]):
        inputs.remember(part)
        other.load_state_dict(inputs.state_dict())
        assert torch.equal(other(), inputs())
    assert torch.equal(inputs(), seen[:5])
    other.load_state_dict(PseudoInputs(torch.zeros(5, 2, dtype=torch.long)).state_dict())
    assert len(other()) == 0, "it still takes itself for full"


def test_several_processes_remember_what_the_first_one_sees(
    make: Make, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its own part of the data; their pseudo-inputs, of which images are parameters, must be the same.

    The second process is run after the first, and is told what that one has sent. The first batch has labels for the
    first process alone, so the second must not wait for what never comes, or be left out of what does.
    """
    sent: list[Tensor] = []
    rank = 0

    def broadcast(tensor: Tensor, src: int) -> None:
        assert src == 0
        if rank == 0:
            sent.append(tensor.clone())
        else:
            tensor.copy_(sent.pop(0))

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(torch.distributed, "broadcast", broadcast)
    first, second = (make("meme", num_pseudo_inputs=6).train() for _ in range(2))
    half = len(batch) // 2
    parts = [replace(batch, image=batch.image[rows], concept=batch.concept[rows], index=batch.index[rows])
             for rows in (slice(half), slice(half, None))]  # fmt: skip
    other = replace(parts[1], concept=parts[1].concept.clone())
    other.concept[0, 0] = -1
    for model, batches in ((first, [parts[0], parts[1]]), (second, [other, parts[0]])):
        for each in batches:
            model.terms(each)
        rank += 1
    assert not sent
    assert torch.equal(first.memory.values[:half], parts[0].concept[:6])  # type: ignore[index,union-attr]
    for name in ("memory", "pseudo_images"):
        one, two = getattr(first, name), getattr(second, name)
        assert torch.equal(one.values, two.values)
        assert torch.equal(one.num_seen, two.num_seen)


def test_images_are_remembered_and_trained_only_where_some_are_missing(make: Make, batch: Batch) -> None:
    for missing in (None, {"fraction": 0.5}):
        model = make("meme", num_samples=2, num_pseudo_inputs=5)
        (stage,) = model.stages(TrainingSpec.parse({"steps": 9, "missing_images": missing}))
        assert ("pseudo_images" in stage.trains) == (missing is not None)
        model.begin_stage(stage)
        model.train()
        model.terms(batch)
        assert torch.equal(model.pseudo_images.values, batch.image[:5]) == (missing is not None)  # type: ignore[arg-type,union-attr]
        assert torch.equal(model.memory(), batch.concept[:5])  # type: ignore[operator]
        model.eval()
        model.terms(replace(batch, concept=batch.concept.flip(0)))
        assert torch.equal(model.memory(), batch.concept[:5])  # type: ignore[operator]


def test_pseudo_images_leave_the_statistics_of_batch_norms_to_the_data() -> None:
    """A step without images encodes pseudo-images alone: the encoder's running means are those of images seen."""
    dataset = datasets.parse({"name": "sprites", "level": 1, "canvas": 16})
    backbone = backbones.parse({"name": "rgb_thin", "width": 2, "latent_size": 3})
    built = backbone.build(schema=dataset.concept_schema(), image_shape=dataset.image_shape())
    model = objectives.parse({"name": "meme", "num_samples": 2, "num_pseudo_inputs": 4}).build(built)
    model.train()
    seen = Batch(torch.rand(8, *dataset.image_shape()), torch.zeros(8, 1, dtype=torch.long), torch.arange(8))
    model.terms(seen)
    before = {name: buffer.clone() for name, buffer in model.image_encoder.named_buffers()}
    assert any(name.endswith("running_mean") for name in before)
    terms = model.terms(replace(seen, image=torch.zeros_like(seen.image), imageless=True))
    assert "concept/log_ratio" in terms.parts
    for name, buffer in model.image_encoder.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_before_anything_is_seen_the_prior_is_standard(make: Make) -> None:
    model = make("meme")
    z = torch.randn(4, 3)
    torch.testing.assert_close(model.own_prior().log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(1))


def test_few_z_are_compared_with_many_pseudo_inputs_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise 10,000 pseudo-inputs would need ten gigabytes for the z of a likelihood."""
    model, whole, sizes = make("meme", num_pseudo_inputs=400), MixtureSameFamily.log_prob, list[int]()
    model.memory.remember(torch.randint(2, (400, len(model.schema))))  # type: ignore[operator,union-attr]
    z = torch.randn(2, 1000, 3, dtype=torch.float64)
    prior = model.own_prior()
    expected = whole(prior, z)  # type: ignore[arg-type]
    monkeypatch.setattr(
        MixtureSameFamily, "log_prob", lambda self, value: (sizes.append(len(value)), whole(self, value))[1]
    )
    torch.testing.assert_close(prior.log_prob(z), expected)  # type: ignore[union-attr]
    assert sum(sizes) == 2000
    assert max(sizes) * 400 <= 2**19


def test_z_of_the_prior_are_of_its_components_and_of_the_generator(make: Make, batch: Batch) -> None:
    model = primed(make, batch)
    z = model.sample_prior(30_000, generator=torch.Generator().manual_seed(0))
    means, scales = concept_posterior(model, batch.concept[:5])
    torch.testing.assert_close(z.mean(0), means.mean(0), rtol=0, atol=0.03)
    torch.testing.assert_close(z.var(0), (scales**2).mean(0) + means.var(0, correction=0), rtol=0.03, atol=0)
    again = model.sample_prior(4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again, model.sample_prior(4, generator=torch.Generator().manual_seed(1)))
    assert not torch.equal(again, model.sample_prior(4, generator=torch.Generator().manual_seed(2)))


def test_bounds_are_of_its_own_prior(make: Make, batch: Batch) -> None:
    """log p(x) of held-out images, by importance weights: against N(0, I) it would be of another model."""
    model = primed(make, batch)
    bounds = Bounds(model, batch, num_samples=3, seed=0)
    found = bounds.log_px().values
    drawn = bounds._first_of("image")
    prior = mixture_of(concept_posterior(model, batch.concept[:5]))
    rows = [
        log_px(model.image_decoder, z, batch.image) + prior.log_prob(z) - log_q_z
        for z, log_q_z in zip(drawn.z, drawn.log_q, strict=True)
    ]
    expected = torch.logsumexp(torch.stack(rows), 0) - torch.log(torch.tensor(3.0)).double()
    torch.testing.assert_close(found, expected.detach())


def test_a_report_warns_of_the_gradient_of_one_sample() -> None:
    cautions = {
        (scored, weights): objectives.parse({"name": "meme", "scored": scored, "weights": weights}).caution
        for scored in ("all", "one")
        for weights in ("trained", "detached")
    }
    assert {key for key, caution in cautions.items() if caution is not None} == {("one", "trained")}
    alone = {"name": "meme", "scored": "one", "num_samples": 1}
    assert objectives.parse(alone).caution is None, "with one sample w is 1"
