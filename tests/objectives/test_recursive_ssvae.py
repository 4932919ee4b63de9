"""Recursive SSVAE: its loss against a row by row computation with K enumerated, and what absent components cost."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

from mmvae_bench.backbones.recurrent import ComponentDecoder
from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.data.batch import Batch
from mmvae_bench.distributions.components import Components, log_dark, log_dark_of_first, union_image
from mmvae_bench.objectives.base import CapabilityError
from mmvae_bench.objectives.recursive_ssvae import RecursiveSSVAE
from mmvae_bench.specs.components import backbones, datasets, objectives
from mmvae_bench.specs.trial import TrialSpec

from .opinions import random_values

WORLD = datasets.parse({"name": "multi_mnist", "canvas": 32})
MOST, KINDS, STYLE = 3, 4, 2


def model_of(backbone: str = "mnist_a_thin", **settings: object) -> RecursiveSSVAE:
    """On thin networks, with weights far enough from zero that every term matters."""
    sizes = {"mnist_a_thin": {"width": 2, "hidden": 8}, "mlp": {"hidden": 16}}[backbone]
    networks = backbones.parse({"name": backbone, "latent_size": STYLE, **sizes})
    built = networks.build(schema=WORLD.concept_schema(), image_shape=WORLD.image_shape())
    spec = objectives.parse({"name": "recursive_ssvae", "num_kinds": KINDS, "leak": 0.02, **settings})
    model = spec.build(built).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    assert isinstance(model, RecursiveSSVAE)
    return model.eval()


@pytest.fixture
def canvases() -> Batch:
    """Eight images, each count twice."""
    image = random_values(8, 1, 32, 32).round()
    return Batch(image, torch.arange(8)[:, None] % 4, torch.arange(8))


def hidden(batch: Batch, rows: slice = slice(None)) -> Batch:
    concept = batch.concept.clone()
    concept[rows] = -1
    return replace(batch, concept=concept)


def posteriors(model: RecursiveSSVAE, image: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of each component the logits of its kind, and mean and scale of its style; the gates of the GRU written out."""
    encoder = model.joint_encoder
    features = encoder.hidden(encoder.trunk(image))
    state, found = torch.zeros_like(features), []
    for _ in range(MOST):
        given = (features @ encoder.cell.weight_ih.T + encoder.cell.bias_ih).chunk(3, -1)
        kept = (state @ encoder.cell.weight_hh.T + encoder.cell.bias_hh).chunk(3, -1)
        reset, update = torch.sigmoid(given[0] + kept[0]), torch.sigmoid(given[1] + kept[1])
        state = (1 - update) * torch.tanh(given[2] + reset * kept[2]) + update * state
        head = encoder.style
        mean, log_scale = (state @ each.weight.T + each.bias for each in (head.mean, head.log_scale))
        found.append((state @ encoder.kind.weight.T + encoder.kind.bias, mean, log_scale.exp()))
    return found


def pictures_of(model: RecursiveSSVAE, kind: Tensor, style: Tensor) -> Tensor:
    """The probability of each pixel of a component's canvas: a picture of 16x16 where the style says, or a canvas."""
    logits = model.image_decoder.decoder.network(torch.cat([kind, style], -1))  # type: ignore[operator,union-attr]
    if model.spec.window is None:
        return torch.sigmoid(logits)
    corner = 16 * 0.5 * (1 + torch.erf(style[:, :2] / math.sqrt(2)))
    pixel = torch.arange(32, dtype=torch.float64)
    down, right = (2 * (pixel - corner[:, axis, None]) / 15 - 1 for axis in (0, 1))
    grid = torch.stack([right[:, None].expand(-1, 32, -1), down[:, :, None].expand(-1, -1, 32)], -1)
    return torch.sigmoid(torch.nn.functional.grid_sample(logits + 12, grid, align_corners=True) - 12)


def opinion(model: RecursiveSSVAE, batch: Batch, z: Tensor) -> Tensor:
    """Image by image, and count by count or with the weights of a union, as the formulas stand in the docstring."""
    spec, rows, each = model.spec, [], posteriors(model, batch.image)
    describer = model.describer
    (head,) = describer.heads  # type: ignore[union-attr,misc]
    log_q = (describer.hidden(describer.trunk(batch.image)) @ head.weight.T + head.bias).log_softmax(-1)  # type: ignore[operator,union-attr]
    pictures, divergences = [], []
    for k, (logits, mean, scale) in enumerate(each):
        kind, style = z.unflatten(1, (MOST, -1))[:, k].split([KINDS, STYLE], -1)
        if spec.kind_estimator == "plug_in":
            kind = logits.softmax(-1)
        else:
            noise = (spec.temperature * kind.log() - logits).detach()
            kind = ((logits + noise) / spec.temperature).softmax(-1)
        style = mean + scale * ((style - mean) / scale).detach()
        pictures.append(pictures_of(model, kind, style))
        uniform, standard = Categorical(logits=torch.zeros_like(logits)), Normal(torch.zeros_like(mean), 1.0)
        of_style = kl_divergence(Normal(mean, scale), standard).sum(-1)
        divergences.append(kl_divergence(Categorical(logits=logits), uniform) + of_style)

    def seen(i: int, weights: list[Tensor]) -> Tensor:
        dark = torch.full_like(batch.image[i], 1 - spec.leak)
        for weight, picture in zip(weights, pictures, strict=True):
            dark = dark * (1 - weight * picture[i])
        return spec.image_weight * Bernoulli(probs=1 - dark).log_prob(batch.image[i]).sum()

    one, none = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for i, label in enumerate(batch.concept[:, 0].tolist()):
        q = log_q[i].exp() if label < 0 else torch.eye(MOST + 1, dtype=torch.float64)[label]
        if spec.estimator == "exact" or label >= 0:
            bound = sum(
                q[count] * (seen(i, [one] * count + [none] * (MOST - count)) - sum(kl[i] for kl in divergences[:count]))
                for count in range(MOST + 1)
            )
        else:
            shares = [q[k:].sum() for k in range(1, MOST + 1)]
            paid = sum(share * kl[i] for share, kl in zip(shares, divergences, strict=True))
            bound = seen(i, shares) - paid
        if label < 0:
            rows.append(bound - (q * (q.log() + math.log(MOST + 1))).sum())
        else:
            rows.append(spec.gamma * (bound - math.log(MOST + 1) + spec.alpha * log_q[i, label]))
    return -torch.stack(rows).mean()


@pytest.mark.parametrize("given", ["labelled", "unlabelled", "mixed"])
@pytest.mark.parametrize("estimator", ["plug_in", "exact"])
@pytest.mark.parametrize(("kinds", "window"), [("plug_in", 0.45), ("plug_in", None), ("concrete", 0.45)])
def test_the_loss_is_the_bound_with_every_count_enumerated(
    estimator: str, kinds: str, window: float | None, given: str, canvases: Batch
) -> None:
    weights = {"gamma": 2.0, "alpha": 3.0, "image_weight": 0.3}
    model = model_of(estimator=estimator, kind_estimator=kinds, window=window, **weights)
    batch = {"labelled": canvases, "unlabelled": hidden(canvases), "mixed": hidden(canvases, slice(0, 4))}[given]
    terms = model.terms(batch)
    value = opinion(model, batch, terms.latents["joint"])
    torch.testing.assert_close(terms.loss, value, rtol=1e-10, atol=1e-10)
    parameters = dict(model.named_parameters())
    mine, other = (torch.autograd.grad(loss, list(parameters.values())) for loss in (terms.loss, value))
    for key, first, second in zip(parameters, mine, other, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-10, msg=lambda text, key=key: f"{key}: {text}")
        assert second.abs().max() > 0, f"the gradient of {key} is zero: nothing was compared"


def test_both_estimators_agree_where_the_classifier_is_certain(canvases: Batch) -> None:
    losses = []
    for estimator in ("plug_in", "exact"):
        model = model_of(estimator=estimator)
        with torch.no_grad():
            model.describer.heads[0].bias[2] += 1e4  # type: ignore[index,union-attr]
        torch.manual_seed(0)
        losses.append(model.terms(hidden(canvases)).loss)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=1e-12)


def test_what_is_not_there_is_not_paid_for_and_learns_nothing(canvases: Batch) -> None:
    """Of a label K: only the first K components, whatever the others are."""
    model, batch = model_of(), canvases
    every = model.joint_encoder.every
    q = every(batch.image)
    logits, mean, scale = (part.detach().requires_grad_() for part in (
        q.kind.logits, q.style.base_dist.loc, q.style.base_dist.scale
    ))  # fmt: skip
    model.joint_encoder.every = lambda image: Components(logits, mean, scale)  # type: ignore[method-assign]
    terms = model.terms(batch)
    of_each = q.divergences(model.own_prior()).detach()
    paid = torch.stack([of_each[i, :count].sum() for i, count in enumerate(batch.concept[:, 0].tolist())])
    torch.testing.assert_close(terms.parts["joint/kl"], paid)
    terms.loss.backward()  # type: ignore[no-untyped-call]
    for part in (logits, mean, scale):
        assert part.grad is not None
        moved = part.grad.abs().sum(-1) > 0
        assert torch.equal(moved, torch.arange(MOST) < batch.concept)
    nothing, lit = batch.concept[:, 0] == 0, batch.image.flatten(1).sum(1)
    leaked = lit * math.log(0.02) + (32 * 32 - lit) * math.log(0.98)
    torch.testing.assert_close(terms.parts["joint/log_px"][nothing], leaked[nothing])


@pytest.mark.parametrize("estimator", ["plug_in", "exact"])
@pytest.mark.parametrize("true", [0, 1, 2, 3])
def test_an_image_without_a_label_teaches_how_many_there_are(estimator: str, true: int, canvases: Batch) -> None:
    """Component k lights the k-th quarter of a canvas, and the image shows the first of them: the bound alone trains
    q(K|x) to the true count, by gradients that reach no other network."""
    model = model_of("mlp", estimator=estimator)
    canvases = Batch(*(part[:2] for part in (canvases.image, canvases.concept, canvases.index)))
    logits = torch.full((2, MOST, 1, 32, 32), -6.0, dtype=torch.float64)
    image = torch.zeros(2, 1, 32, 32, dtype=torch.float64)
    for k in range(MOST):
        logits[:, k, :, 8 * k : 8 * (k + 1)] = 6.0
        image[:, :, 8 * k : 8 * (k + 1)] = float(k < true)
    model.image_decoder.canvases = lambda z: logits  # type: ignore[method-assign]
    head = model.describer.heads[0]  # type: ignore[index,union-attr]
    with torch.no_grad():
        for parameter in head.parameters():  # type: ignore[union-attr]
            parameter.zero_()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)  # type: ignore[union-attr]
    for _ in range(15):
        optimizer.zero_grad()
        model.terms(hidden(replace(canvases, image=image))).loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert model.describe(image)[:, 0].tolist() == [true] * 2


def test_a_union_is_at_least_the_mean_over_independent_components() -> None:
    """Jensen: the probability that a pixel is lit is the mean of those of every set of components."""
    logits, weight = 3 * random_values(2, MOST, 1, 4, 4, seed=1) - 1, random_values(2, MOST, seed=2)
    image = random_values(2, 1, 4, 4, seed=3).round()
    union = union_image(log_dark(logits, (1 - weight).log(), leak=0.1))
    lit, mean = torch.zeros_like(image), torch.zeros(2, dtype=torch.float64)
    for chosen in itertools.product((False, True), repeat=MOST):
        there = torch.tensor(chosen)
        probability = torch.where(there, weight, 1 - weight).prod(1)
        dark = (torch.where(there[:, None, None, None], 1 - logits.sigmoid(), 1.0)).prod(1) * 0.9
        lit = lit + probability[:, None, None, None] * (1 - dark)
        mean = mean + probability * Bernoulli(probs=1 - dark).log_prob(image).sum((1, 2, 3))
    torch.testing.assert_close(union.mean, lit, rtol=1e-12, atol=1e-12)
    assert bool((union.log_prob(image) > mean).all())


def test_unions_stay_finite_in_single_precision_and_have_gradients_at_both_ends() -> None:
    logits = torch.tensor([-200.0, -3.0, 0.0, 3.0, 200.0]).reshape(5, 1, 1, 1, 1).repeat(1, 3, 1, 1, 1).requires_grad_()
    image = torch.tensor([1.0, 0, 1, 0, 1]).reshape(5, 1, 1, 1)
    score = torch.tensor([60.0, 0.0, 0.0, 0.0]).expand(5, -1).clone().requires_grad_()
    for log_q in (score.log_softmax(1), (-score).log_softmax(1)):
        logits.grad = score.grad = None
        absent = log_q.logcumsumexp(1)[:, :-1]
        values = union_image(log_dark(logits, absent, leak=1e-3)).log_prob(image)
        each = union_image(log_dark_of_first(logits, leak=1e-3)).log_prob(image[:, None])
        (values.sum() + each.sum()).backward()  # type: ignore[no-untyped-call]
        assert bool(values.isfinite().all())
        assert bool(each.isfinite().all())
        assert bool(logits.grad.isfinite().all())  # type: ignore[attr-defined]
        assert bool(score.grad.isfinite().all())  # type: ignore[attr-defined]
    known = torch.tensor([0.0, -torch.inf, -torch.inf]).expand(5, -1)
    wide = logits.detach().double().requires_grad_()
    found = log_dark(wide, known.double(), leak=1e-3)
    direct = torch.log1p(torch.tensor(-1e-3).double()) + torch.nn.functional.logsigmoid(-wide[:, 1:]).sum(1)
    torch.testing.assert_close(found, direct)
    assert torch.equal(torch.autograd.grad(found.sum(), wide)[0][:, 0], torch.zeros(5, 1, 1, 1).double())
    assert bool((union_image(log_dark(wide, known.double(), leak=1e-3)).mean >= 1e-3 - 1e-12).all())


@pytest.mark.parametrize(("dtype", "leak"), [(torch.bfloat16, 1e-3), (torch.float32, 1e-8)])
def test_a_component_whose_absence_is_rounded_above_certain_leaves_pixels_finite(
    dtype: torch.dtype, leak: float
) -> None:
    """Where the first two counts are nearly certain, log q(K < 2|x) is rounded above 0, by more than the leak."""
    score = torch.tensor([[0.0, step / 200, -20.0, -20.0] for step in range(200)]).to(dtype)
    absent = score.log_softmax(1).logcumsumexp(1)[:, :-1].requires_grad_()
    assert absent.max() > 0, "nothing is rounded up"
    logits = torch.linspace(-3, 6, 64, dtype=dtype).reshape(8, 8).repeat(200, MOST, 1, 1, 1)
    logits[:, 0] = -30  # The only component that may be there lights nothing.
    values = union_image(log_dark(logits, absent, leak=leak)).log_prob(torch.zeros(200, 1, 8, 8))
    assert bool(values.isfinite().all())
    assert bool((values <= 0).all())
    (slope,) = torch.autograd.grad(values.sum(), absent)
    assert bool((slope[:, 1:] > 0).all()), "a component's absence makes a pixel dark, however certain it is"


def test_latents_are_choices_and_normals(canvases: Batch) -> None:
    model = model_of()
    q = model.posterior(canvases.image, canvases.concept)
    assert isinstance(q, Components)
    p = model.posterior(concept=canvases.concept)
    each = posteriors(model, canvases.image)
    torch.manual_seed(0)
    z = q.sample(torch.Size([5]))
    kinds, styles = z.unflatten(-1, (MOST, -1)).split([KINDS, STYLE], -1)
    assert bool(((kinds == 0) | (kinds == 1)).all())
    assert bool((kinds.sum(-1) == 1).all())
    log_q, log_p = torch.zeros(5, 8, dtype=torch.float64), torch.zeros(5, 8, dtype=torch.float64)
    for k, (logits, mean, scale) in enumerate(each):
        there = (canvases.concept[:, 0] > k).double()
        value = Categorical(logits=logits).log_prob(kinds[:, :, k].argmax(-1))
        value = value + Normal(mean, scale).log_prob(styles[:, :, k]).sum(-1)
        prior = Normal(0.0, 1.0).log_prob(styles[:, :, k]).sum(-1) - math.log(KINDS)
        log_p = log_p + prior
        log_q = log_q + there * value + (1 - there) * prior
    torch.testing.assert_close(q.log_prob(z), log_q)
    torch.testing.assert_close(p.log_prob(z), log_p)
    torch.testing.assert_close(model.own_prior().log_prob(z), log_p)
    torch.testing.assert_close(kl_divergence(q, model.own_prior()), model.terms(canvases).parts["joint/kl"])
    many = q.sample(torch.Size([4000])).mean(0)
    torch.testing.assert_close(many, q.mean, atol=0.12, rtol=0)
    assert model.latent_size == z.shape[-1] == MOST * (KINDS + STYLE)
    assert model.sample_prior(7).shape == (7, model.latent_size)


def test_it_imagines_describes_and_reconstructs(canvases: Batch) -> None:
    model = model_of()
    assert model.can_imagine
    assert model.can_describe
    z, told = model.draw_latents(torch.tensor([[2], [-1]]), 2000)
    assert bool((told[:2000] == 2).all())
    assert told[2000:, 0].bincount(minlength=4).min() > 400
    kinds, styles = z.unflatten(-1, (MOST, -1)).split([KINDS, STYLE], -1)
    torch.testing.assert_close(kinds.mean(0), torch.full((MOST, KINDS), 1 / KINDS).double(), atol=0.05, rtol=0)
    torch.testing.assert_close(styles.std(0), torch.ones(MOST, STYLE).double(), atol=0.06, rtol=0)
    pictures = [pictures_of(model, kinds[:6, k], styles[:6, k]) for k in range(2)]
    expected = 1 - 0.98 * (1 - pictures[0]) * (1 - pictures[1])
    torch.testing.assert_close(model.image_likelihood(z[:6], told[:6]).mean, expected)
    nothing = model.imagine({"count": 0}, num_samples=3, mean=True)
    torch.testing.assert_close(nothing, torch.full_like(nothing, 0.02))
    described = model.describe(canvases.image)
    assert torch.equal(model.reconstruct(canvases.image), model.reconstruct(canvases.image, described))
    told_less = model.reconstruct(canvases.image, torch.zeros_like(described))
    torch.testing.assert_close(told_less, torch.full_like(told_less, 0.02))


def test_it_says_what_it_cannot(canvases: Batch) -> None:
    model, z = model_of(), torch.zeros(8, MOST * (KINDS + STYLE), dtype=torch.float64)
    with pytest.raises(CapabilityError, match=r"^recursive_ssvae trains no q\(z\|x\)"):
        model.posterior(canvases.image)
    with pytest.raises(CapabilityError, match=r"q\(z\|x,y\) for fully specified concepts only"):
        model.posterior(canvases.image, hidden(canvases).concept)
    with pytest.raises(CapabilityError, match="fully specified concepts only"):
        model.image_likelihood(z, hidden(canvases).concept)
    with pytest.raises(CapabilityError, match=r"p\(x\|y,z\) but no p\(x\|z\)"):
        model.image_likelihood(z)
    with pytest.raises(CapabilityError, match=r"recursive_ssvae has no p\(y\|z\)"):
        model.concept_likelihood(z)


@pytest.mark.parametrize(("canvas", "window", "side"), [(32, 0.45, 16), (64, 0.45, 28), (32, 0.01, 4)])
def test_a_component_is_a_picture_somewhere_on_the_canvas(canvas: int, window: float, side: int) -> None:
    """Every place is as probable as another; where the picture is not, next to nothing is lit; a place between pixels
    takes from both, and nothing is lost at the edges."""
    world = datasets.parse({"name": "multi_mnist", "canvas": canvas})
    networks = backbones.parse({"name": "mlp", "latent_size": STYLE, "hidden": 4})
    built = networks.build(schema=world.concept_schema(), image_shape=world.image_shape())
    model = objectives.parse({"name": "recursive_ssvae", "window": window}).build(built).double()
    decoder: ComponentDecoder = model.image_decoder  # type: ignore[assignment]
    placed = decoder.placed
    assert placed is not None
    assert decoder.decoder.network(torch.zeros(1, 10 + STYLE).double()).shape[-2:] == (side, side)  # type: ignore[operator,union-attr]
    logits, room = torch.full((1, 1, side, side), 5.0).double(), canvas - side
    for share in (0.0, 0.25, 1.0):
        place = torch.special.ndtri(torch.tensor([[share, 1 - share]]).double())
        seen = placed(logits, place)
        top, left = round(share * room), round((1 - share) * room)
        expected = torch.full((1, 1, canvas, canvas), -12.0).double()
        expected[..., top : top + side, left : left + side] = 5.0
        torch.testing.assert_close(seen, expected, rtol=0, atol=1e-4)
    between = placed(logits, torch.special.ndtri(torch.tensor([[1.5 / room, 0.0]]).double()))
    expected = torch.tensor([-12.0, -3.5, 5.0]).double()
    torch.testing.assert_close(between[0, 0, :3, 0], expected, rtol=0, atol=1e-4)


TRIAL = {"dataset": "multi_mnist", "backbone": "mlp", "objective": "recursive_ssvae"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"dataset": "mnist"},
            r"dataset\.name: recursive_ssvae takes concepts of one attribute, count, with the values 0, 1, 2 and so on"
            r": how many things an image shows; those of this mnist are digit \(0, 1, 2, \.\.\.\)\n  given: 'mnist'\n"
            "  choices: multi_mnist",
        ),
        (
            {"dataset": {"name": "multi_mnist", "labels": "digits"}},
            r"dataset\.labels: .* and 8 more\n  given: digits\n  choices: count\n  nearest: count",
        ),
        (
            {"dataset": {"name": "multi_mnist", "canvas": 64}, "backbone": "mnist_a_paper"},
            r"objective\.window: .* backbone mnist_a_paper makes images of one size: .*\n  given: 0\.45",
        ),
        (
            {"backbone": "patches"},
            r"backbone\.likelihood: recursive_ssvae unites components where pixels are dark or lit\n"
            "  given: quantised_normal\n  choices: bernoulli",
        ),
        ({"backbone": "attribute2image"}, "dark or lit, and those of backbone attribute2image are not"),
        (
            {"backbone": {"name": "mlp", "latent_size": 1}},
            r"backbone\.latent_size: a style says where a component's pic",
        ),
        ({"objective": {"name": "recursive_ssvae", "temperature": 0.5}}, "temperature: only applies to kind_estimator"),
        ({"objective": {"name": "recursive_ssvae", "leak": 0}}, "leak: .*greater than 0"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, object], message: str) -> None:
    TrialSpec.parse(TRIAL)
    with pytest.raises(ConfigError, match=message):
        TrialSpec.parse({**TRIAL, **settings})


def test_networks_of_one_size_of_image_make_whole_canvases_alone() -> None:
    world = datasets.parse({"name": "multi_mnist", "canvas": 64})
    built = backbones.parse("mnist_a_paper").build(schema=world.concept_schema(), image_shape=world.image_shape())
    model = objectives.parse("recursive_ssvae").build(built)
    with pytest.raises(BenchmarkError, match=r"of 64x64, whatever is asked, .* of 28x28: set objective.window to null"):
        model.imagine("count=2", num_samples=1)
    whole = objectives.parse({"name": "recursive_ssvae", "window": None}).build(built)
    assert whole.imagine("count=2", num_samples=1).shape == (1, 1, 64, 64)


def test_pixels_that_are_not_dark_or_lit_are_refused_when_decoded() -> None:
    """Of a backbone whose spec does not say what its pixels are."""
    networks = backbones.parse({"name": "mlp", "latent_size": STYLE, "hidden": 4, "likelihood": "quantised_normal"})
    built = networks.build(schema=WORLD.concept_schema(), image_shape=WORLD.image_shape())
    model = objectives.parse("recursive_ssvae").build(built)
    with pytest.raises(BenchmarkError, match="united where pixels are Bernoulli, not QuantisedNormal"):
        model.imagine("count=2")
