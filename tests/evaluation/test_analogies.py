"""Analogies: z comes from an image and its own label, and the label alone is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmvae_bench.data.strengths import value_weights
from mmvae_bench.evaluation.analogies import analogies, changed
from mmvae_bench.evaluation.fitting import fit_latents
from mmvae_bench.evaluation.images import Asked
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.specs.components import datasets, objectives, of_domain

from ..conformance.worlds import small, world_of

LIT_FACES = datasets.parse({"name": "lit_faces", "canvas": 16, "num_people": 4})
INTRINSIC = {"name": "ssvae", "structure": "intrinsic"}
WITH_ENCODER: list[dict[str, Any]] = [
    *({"name": "ssvae", "estimator": each} for each in ("plug_in", "exact", "concrete")),
    {"name": "cvae"},
    {"name": "cvae", "prior": "standard"},
    *({"name": "recursive_ssvae", "estimator": each} for each in ("plug_in", "exact")),
    {"name": "recursive_ssvae", "kind_estimator": "concrete", "window": None},
    INTRINSIC,
    INTRINSIC | {"estimator": "exact"},
]


def built(plain: dict[str, Any], networks: str = "mnist_a_thin") -> tuple[Objective, Asked]:
    """A model whose weights are far from the first ones, which hardly use y, and images with labels of many kinds."""
    spec = objectives.parse(plain)
    is_lit = plain.get("structure") == "intrinsic"
    data = world_of(spec, networks)
    schema, shape = data.schema, data.image_shape
    if is_lit:
        schema, shape = LIT_FACES.concept_schema(), LIT_FACES.image_shape()
    model = spec.build(small(networks).build(schema=schema, image_shape=shape), seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    image = torch.rand(6, *shape, generator=generator).round() if is_lit else data.store.batch(torch.arange(6)).image
    concept = torch.stack([torch.arange(6) % size for size in schema.sizes], 1)
    return model, Asked(image, tuple("abcdef"), concept, concept)


def grid(model: Objective, asked: Asked, attribute: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The document, the images of the picture, row by row, and their labels."""
    sheets: list[Any] = []
    monkeypatch.setattr(
        "mmvae_bench.evaluation.analogies.contact_sheet",
        lambda images, labels, **options: sheets.append((images, labels, options)),
    )
    monkeypatch.setattr("mmvae_bench.evaluation.analogies.save_picture", lambda *_: None)
    document = analogies(model, asked, attribute, out)
    ((images, labels, options),) = sheets
    columns = options["num_columns"]
    assert columns == 1 + model.schema.sizes[model.schema.names.index(attribute)]
    assert len(images) == len(labels) == columns * len(asked)
    texts = [labels[start : start + columns] for start in range(0, len(labels), columns)]
    return document, images.unflatten(0, (-1, columns)), texts


@torch.no_grad()
def opinion(model: Any, plain: dict[str, Any], image: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """The image under another label, by the networks themselves."""
    sizes = model.schema.sizes
    if plain["name"] == "recursive_ssvae":
        kind, style = model.joint_encoder.every(image).kind.probs.clone(), model.joint_encoder.every(image).style.mean
        style = style.clone()
        for row, number in enumerate(own[:, 0].tolist()):  # Nothing is seen of components that are not there.
            kind[row, number:], style[row, number:] = 1 / kind.shape[-1], 0.0
        lit = model.image_decoder.canvases(torch.cat([kind, style], -1).flatten(1)).sigmoid()
        dark = torch.full_like(image, 1 - model.spec.leak)
        for row, number in enumerate(other[:, 0].tolist()):
            for k in range(number):
                dark[row] *= 1 - lit[row, k]
        return 1 - dark
    if plain.get("structure") == "intrinsic":
        person = F.one_hot(other[:, 0], sizes[0]).float()
        light = torch.stack([model.centres[a, e] for a, e in other[:, 1:].tolist()])
        shading = model.shading_encoder.mean(torch.cat([person, light], 1))
        return model.image_decoder(torch.cat([shading, model.reflectance_encoder(image).mean], 1)).mean  # type: ignore[no-any-return]
    z = model.joint_encoder(image, own).mean
    hot = [F.one_hot(other[:, k], size).float() for k, size in enumerate(sizes)]
    return model.image_decoder.decoder(torch.cat([z, *hot], 1)).mean  # type: ignore[no-any-return]


@pytest.mark.parametrize("plain", WITH_ENCODER, ids=lambda plain: "-".join(map(str, plain.values())))
def test_z_is_of_the_image_and_its_own_label_whatever_value_is_drawn(
    plain: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = built(plain)
    assert asked.concepts is not None
    own, schema = asked.concepts, model.schema
    again = model.reconstruct(asked.images, own)
    for place, attribute in enumerate(schema.names):
        document, rows, labels = grid(model, asked, attribute, tmp_path / "x.png", monkeypatch)
        assert torch.equal(rows[:, 0], asked.images)
        assert document["values"] == list(schema.attributes[place].values)
        for value, name in enumerate(document["values"]):
            other = own.clone()
            other[:, place] = value
            found = rows[:, 1 + value]
            is_own = own[:, place] == value
            assert torch.equal(found[is_own], again[is_own]), "its own value is its reconstruction"
            torch.testing.assert_close(
                found, opinion(model, plain, asked.images, own, other).clamp(0, 1), rtol=1e-4, atol=1e-5
            )
            if plain.get("structure") != "intrinsic":
                naive = model.reconstruct(asked.images, other)
                apart = (found - naive).abs().flatten(1).amax(1) > 1e-4
                # The first of several things are the same ones, however many more of them a label says there are.
                tells = other[:, 0] > own[:, 0] if plain["name"] == "recursive_ssvae" else ~is_own
                assert torch.equal(apart, tells), "z is not that of the other label"
            assert [row[1 + value] for row in labels] == [
                f"{attribute}={name}\nits own" if each else f"{attribute}={name}" for each in is_own.tolist()
            ]
        assert bool(((rows[:, 1:-1] - rows[:, 2:]).abs().flatten(2).amax(2) > 1e-5).all()), "the label is seen"


def test_the_numbers_are_those_of_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = built({"name": "ssvae"})
    place = 1
    attribute = model.schema.names[place]
    document, rows, labels = grid(model, asked, attribute, tmp_path / "x.png", monkeypatch)
    assert asked.concepts is not None
    for k, entry in enumerate(document["images"]):
        value = int(asked.concepts[k, place])
        mine = rows[k, 1 + value]
        assert entry["image"] == asked.names[k]
        assert entry["concept"] == model.schema.format(asked.concepts[k].tolist())
        assert (entry["own"], entry["described"]) == (document["values"][value], False)
        assert entry["error"] == pytest.approx(float((mine - rows[k, 0]).square().mean()), rel=1e-5)
        assert entry["changes"] == pytest.approx((rows[k, 1:] - mine).square().mean((1, 2, 3)).tolist(), rel=1e-5)
        assert entry["changes"][value] == 0
        assert labels[k][0].startswith(f"{asked.names[k]}\n")
    assert document["z_from"] == "q(z|x,y)"


@pytest.mark.parametrize("plain", [{"name": "ssvae"}, {"name": "recursive_ssvae"}, INTRINSIC], ids=str)
def test_what_nobody_has_labelled_is_described_first(
    plain: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = built(plain)
    described = model.describe(asked.images)
    attribute = model.schema.names[0]
    told, shown, _ = grid(
        model, Asked(asked.images, asked.names, described, described), attribute, tmp_path / "x.png", monkeypatch
    )
    found, rows, labels = grid(model, Asked(asked.images, asked.names), attribute, tmp_path / "x.png", monkeypatch)
    assert torch.equal(rows, shown)
    for k, entry in enumerate(found["images"]):
        assert entry == told["images"][k] | {"described": True}
        own = 1 + int(described[k, 0])
        assert labels[k][own].endswith("\nas described")
        assert sum("described" in label for label in labels[k][1:]) == 1


def test_a_model_that_cannot_describe_must_know_the_label(tmp_path: Path) -> None:
    model, asked = built({"name": "cvae"})
    with pytest.raises(CapabilityError, match=r"^cvae cannot describe an image, so the label of a picture of your own"):
        analogies(model, Asked(asked.images, asked.names), model.schema.names[0], tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_layers_have_no_encoder_of_a_whole_image_and_z_is_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the other commands infer the z of disCVAE."""
    monkeypatch.setattr("mmvae_bench.evaluation.fitting.MAX_STEPS", 3)
    model, asked = built({"name": "discvae"}, "attribute2image_thin")
    assert asked.concepts is not None
    document, rows, _ = grid(model, asked, model.schema.names[0], tmp_path / "x.png", monkeypatch)
    z = fit_latents(model, asked.images, asked.concepts).z
    for value in range(model.schema.sizes[0]):
        other = asked.concepts.clone()
        other[:, 0] = value
        with torch.no_grad():
            layers = model.layers(z, other)  # type: ignore[operator]
        torch.testing.assert_close(rows[:, 1 + value], layers.mean.clamp(0, 1))
    assert document["z_from"] == "optimisation, y told"


def test_scores_of_all_other_attributes_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the view of strengths a value is its score of -1 or 1, and the image's own one stays as it is."""
    sizes = (2, 2, 2)
    scores = torch.tensor([[0.3, -1.7, 0.9], [-0.2, 0.4, 2.0]])
    own, value = value_weights(scores), 1
    other = changed(own, 1, value, sizes)
    expected = scores.clone()
    expected[:, 1] = 1.0
    assert torch.equal(other, value_weights(expected))

    model, asked = built({"name": "cvae"})
    schema = model.schema
    concept = torch.zeros(6, len(schema), dtype=torch.long)
    weights = torch.rand(6, sum(schema.sizes), generator=torch.Generator().manual_seed(0))
    given = Asked(asked.images, asked.names, concept, weights)
    _, rows, _ = grid(model, given, schema.names[0], tmp_path / "x.png", monkeypatch)
    assert torch.equal(rows[:, 1], model.reconstruct(asked.images, weights))
    with torch.no_grad():
        z = model.posterior(asked.images, weights).mean
        assert schema.sizes[0] == 2
        there = torch.cat([torch.tensor([[0.0, 1.0]]).expand(6, -1), weights[:, 2:]], 1)
        torch.testing.assert_close(rows[:, 2], model.image_decoder(z, there).mean.clamp(0, 1))


ALONE = ["telbo", "jmvae", "jvae", "vae", "beta_vae", "bivcca", "mvae", "mmvae", "mopoe", "mvtcae", "vlvae", "q_agg",
         "q_true", "jnf", "meme", "scan"]  # fmt: skip


@pytest.mark.parametrize("name", ALONE)
def test_where_z_holds_the_label_there_is_no_analogy(name: str, tmp_path: Path) -> None:
    model, asked = built({"name": name})
    with pytest.raises(CapabilityError) as refused:
        analogies(model, asked, model.schema.names[0], tmp_path / "x.png")
    said = str(refused.value)
    assert said.startswith(f"{name} has p(x|z): ")
    assert "\n" not in said
    assert ("traverse" in said and "interpolate" in said) == model.can_imagine, "what is named can be done"
    assert not list(tmp_path.iterdir())


def test_every_objective_of_images_is_in_one_of_the_lists() -> None:
    named = {plain["name"] for plain in WITH_ENCODER} | {"discvae", *ALONE}
    assert set(of_domain(objectives, "images")) <= named


def test_one_attribute_is_changed_of_a_concept() -> None:
    schema = LIT_FACES.concept_schema()
    own = torch.tensor([[1, 2, 0], [3, 0, 1]])
    assert changed(own, 2, 2, schema.sizes).tolist() == [[1, 2, 2], [3, 0, 2]]
    assert own.tolist() == [[1, 2, 0], [3, 0, 1]]


def test_a_decoder_of_captions_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No objective here has one; a word is not the value of an attribute."""
    model, asked = built(WITH_ENCODER[0])
    monkeypatch.setattr(model, "captions", object())
    with pytest.raises(CapabilityError, match="takes captions, in which"):
        analogies(model, asked, model.schema.names[0], tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()
