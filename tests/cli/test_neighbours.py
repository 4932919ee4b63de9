"""Samples above the training images that are nearest to them: what is answered is what is drawn."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from mmvae_bench.base.randomness import own_randomness
from mmvae_bench.base.seeds import derive_seed
from mmvae_bench.evaluation.sampling import real_batches

from .test_asking import HEART, Desk, document


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(tmp_path, monkeypatch)
    monkeypatch.setattr("mmvae_bench.evaluation.neighbours.contact_sheet", desk.sheet)
    return desk


def test_each_sample_stands_above_its_nearest_training_image(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.run("neighbours", HEART, "-n", "3", "--json") == 0
    found = document(capsys)
    ((images, labels, title),) = desk.sheets
    samples, nearest = images.split(3)
    data = desk.spec.dataset.build()
    data.setup()
    training = data.store.batch(data.rows("train"))
    distinct = training.image.flatten(1).unique(dim=0)
    assert found["training_images"] == len(distinct)
    assert f"nearest of {len(distinct):,} training images" in title
    test = data.store.batch(data.rows("test")).image
    real = torch.tensor([_two(each, distinct)[0] for each in test])
    for place, entry in enumerate(found["samples"]):
        first, second = _two(samples[place], distinct)
        assert entry["distance"] == pytest.approx(first, abs=1e-5)
        assert entry["ratio"] == pytest.approx(first / second, abs=1e-5)
        assert entry["closer_than_real"] == pytest.approx(float((real > first + 1e-6).double().mean()))
        row = data.store.batch(torch.tensor([entry["nearest"]]))
        assert torch.equal(row.image[0], nearest[place])
        assert math.dist(row.image.flatten().tolist(), samples[place].flatten().tolist()) == pytest.approx(
            first, abs=1e-5
        )
        assert entry["concept"] == desk.model.schema.format(row.concept[0].tolist())
        assert int(entry["nearest"]) in data.rows("train").tolist()
        assert labels[3 + place].startswith(f"training image {entry['nearest']}\ndistance {first:.2f}")
    assert found["held_out"]["distance"] == pytest.approx(float(real.sort().values[(len(real) - 1) // 2]), abs=1e-5)


def _two(image: torch.Tensor, pool: torch.Tensor) -> tuple[float, float]:
    apart = sorted((image.flatten().double() - each.double()).square().sum().sqrt().item() for each in pool)
    return apart[0], apart[1]


@pytest.mark.parametrize("objective", ["telbo", "cvae", "ssvae"])
def test_open_attributes_are_filled_in_where_the_decoder_needs_them(
    objective: str, desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partial concept is asked as ``imagine`` asks it."""
    model, given = desk.becomes(objective), list[torch.Tensor]()
    if objective == "cvae":
        monkeypatch.setattr(model.memory, "complete", lambda y, num_samples: y.clamp(min=1).expand(1, num_samples, -1))
    decode = model.image_likelihood

    def spy(z: torch.Tensor, concept: torch.Tensor) -> object:
        given.append(concept)
        return decode(z, concept)

    monkeypatch.setattr(model, "image_likelihood", spy)
    assert desk.run("neighbours", "shape=heart", "-n", "3", "--json") == 0
    assert len(document(capsys)["samples"]) == 3
    asked = model.schema.parse("shape=heart")
    (concepts,) = given
    assert concepts.shape == (3, len(asked))
    if objective == "telbo":
        assert torch.equal(concepts, asked.expand(3, -1))
    else:
        assert bool((concepts >= 0).all())
    if objective == "ssvae":
        assert bool((concepts[:, asked >= 0] == asked[asked >= 0]).all())


def test_samples_of_the_prior_need_no_concept(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.becomes("vae")
    assert desk.run("neighbours", "-n", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("sample 1: training image ")
    assert lines[2].startswith("held-out images: median distance")
    assert lines[-1] == str(desk.out)
    assert desk.sheets[0][1][0] == "prior\nsample 1"
    assert desk.run("neighbours", "-n", "2", "--seed", "1") == 0
    assert not torch.equal(desk.sheets[0][0][:2], desk.sheets[1][0][:2])
    desk.out.unlink()
    assert desk.run("neighbours", HEART) == 2
    assert "vae trains no q(z|y)" in capsys.readouterr().err
    assert not desk.out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [((HEART, "--out", "x.jpg"), "must be a PNG file"), (("shape=star", "--out", "x.png"), "shape=star")],
)
def test_what_it_refuses(
    words: tuple[str, ...],
    message: str,
    desk: Desk,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(desk.folder)
    assert desk.run("neighbours", *words, out=False) == 2
    assert message in capsys.readouterr().err
    assert not list(desk.folder.glob("x.*"))


def test_samples_of_the_attributes_of_real_images_stand_beside_the_nearest_in_attributes(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest by an enumeration, the first in the order of the evaluation; what is asked is the image's concept."""
    monkeypatch.setattr("mmvae_bench.evaluation.conditioned.contact_sheet", desk.sheet)
    data = desk.spec.dataset.build()
    data.setup()
    training, test = data.rows("train"), data.rows("test")
    # So that some of the attributes that are asked are in no training image.
    data.store.concepts[test[0]] = desk.model.schema.parse(HEART)
    kept = training[~(data.store.concepts[training] == desk.model.schema.parse(HEART)).all(1)]
    monkeypatch.setattr(type(data), "rows", lambda self, partition: test if partition == "test" else kept)
    monkeypatch.setattr("mmvae_bench.specs.components.DatasetSpec.build", lambda spec: data)
    monkeypatch.setattr(data, "setup", lambda: None)
    assert desk.run("neighbours", "--index", "5", "--index", "0", "-n", "3", "--json") == 0
    found = document(capsys)
    ((images, labels, _),) = desk.sheets
    rows = images.unflatten(0, (2, 5))
    order = torch.cat([each.index for each in real_batches(data, "train", seed=0, device=torch.device("cpu"))])
    for place, (entry, row) in enumerate(zip(found["images"], test[[5, 0]].tolist(), strict=True)):
        concept = data.store.concepts[row]
        assert entry["concept"] == desk.model.schema.format(concept.tolist())
        # A binary attribute is +1 or -1; of V values each is 1, or -1 / (V - 1).
        apart = [
            sum(
                4.0 if size == 2 else 2 * (size / (size - 1)) ** 2
                for size, one, two in zip(data.schema.sizes, concept, data.store.concepts[other], strict=True)
                if one != two
            )
            for other in order
        ]
        nearest = int(order[apart.index(min(apart))])
        assert entry["nearest"] == nearest
        assert entry["distance"] == pytest.approx(math.sqrt(min(apart)), abs=1e-9)
        differ = data.store.concepts[nearest] != concept
        assert entry["differing"] == [name for name, does in zip(data.schema.names, differ, strict=True) if does]
        real, beside, *samples = rows[place]
        assert torch.equal(real, data.store.batch(torch.tensor([row])).image[0])
        assert torch.equal(beside, data.store.batch(torch.tensor([nearest])).image[0])
        assert labels[5 * place + 1].startswith(f"training image {nearest}\n{int(differ.sum())} of 3 attributes differ")
        with own_randomness(derive_seed("asked attributes", seed=0, image=row), torch.device("cpu")), torch.no_grad():
            z, _ = desk.model.draw_latents(concept[None], 3)
            expected = desk.model.image_likelihood(z).mean.clamp(0, 1)
        torch.testing.assert_close(torch.stack(samples), expected)
    assert found["images"][1]["differing"], "no training image has these attributes"
    assert desk.run("neighbours", "--index", "0", "-n", "1") == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"test 0: training image {entry['nearest']} has the nearest attributes, distance")
    assert first.endswith(f"other values of {', '.join(entry['differing'])}")
    known = [(data.store.concepts[training] == data.store.concepts[row]).all(1).any().item() for row in test.tolist()]
    monkeypatch.setattr(type(data), "rows", lambda self, partition: test if partition == "test" else training)
    assert desk.run("neighbours", "--index", str(known.index(True)), "-n", "1") == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("the same values of all")
    assert desk.run("neighbours", HEART, "--index", "0") == 2
    assert "--index: cannot be used with a concept" in capsys.readouterr().err
    # As many numbers as one likes after the option, as the other commands take them.
    capsys.readouterr()
    assert desk.run("neighbours", "--index", "5", "0", "3", "-n", "1", "--json") == 0
    assert [each["image"] for each in document(capsys)["images"]] == ["test 5", "test 0", "test 3"]
    assert desk.run("neighbours", HEART, "3") == 2
    assert "--index: one number or concept too many" in capsys.readouterr().err
    assert desk.run("neighbours", "--index", "9999") == 2
    assert "the test partition has" in capsys.readouterr().err
