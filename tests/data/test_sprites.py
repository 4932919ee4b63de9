"""The dataset of sprites: its levels, splits and captions, and images that are drawn where they are needed."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.base.files import cache_root
from mmvae_bench.cli import app
from mmvae_bench.concepts import compositional_split
from mmvae_bench.data import commands, sprites
from mmvae_bench.data.sprites import SpritesDataModule
from mmvae_bench.specs.components import datasets
from mmvae_bench.worlds.sprites import Geometry, render

LEVELS = (1, 2, 3, 4, 5)


def sprites_of(**settings: object) -> SpritesDataModule:
    data = datasets.parse({"name": "sprites", "num_images": 3000, **settings}).build()
    data.prepare_data()
    data.setup()
    assert isinstance(data, SpritesDataModule)
    return data


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_has_the_attributes_of_the_one_below_and_one_more(level: int) -> None:
    schema = datasets.parse({"name": "sprites", "level": level}).concept_schema()
    assert schema.names == ("shape", "size", "colour", "location", "background")[:level]
    assert len(schema.combinations()) == (3, 6, 30, 120, 240)[level - 1]
    data = sprites_of(level=level)
    assert {tuple(row) for row in data.store.concepts.tolist()} == {
        tuple(row) for row in schema.combinations().tolist()
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": 6}, r"level: not one of the choices\n  given: 6\n  choices: 1, 2, 3, 4, 5"),
        ({"level": 0}, r"level: not one of the choices\n  given: 0"),
        ({"level": True}, r"level: not one of the choices\n  given: 'true'"),
        ({"level": 1, "split": "comp"}, r"split: level 1 has 3 concepts, too few to hold some out: choose split iid"),
        ({"level": 2, "split": "comp"}, r"level 2 has 6 concepts.*or a level from 3 on"),
        ({"split": "iid_disjoint"}, r"split: not one of the choices\n  given: 'iid_disjoint'\n  choices: iid, comp"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_choices(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        datasets.parse({"name": "sprites", **settings})


@pytest.mark.parametrize("level", [3, 4, 5])
def test_the_compositional_split_divides_concepts_by_the_rule_of_the_suite(level: int) -> None:
    data = sprites_of(level=level, split="comp", split_seed=7)
    parts = compositional_split(data.schema, seed=7)
    found = {part: {tuple(row) for row in data.concepts(part).tolist()} for part in ("train", "val", "test")}
    assert found == {part: {tuple(row) for row in rows.tolist()} for part, rows in parts.items()}
    assert sum(map(len, found.values())) == len(data.schema.combinations())
    assert data.combinations() == {part: rows.tolist() for part, rows in parts.items()}
    # Every value has been seen in training, if not with these others.
    assert [set(column) for column in zip(*found["train"], strict=True)] == [set(range(n)) for n in data.schema.sizes]


def test_the_iid_split_divides_images() -> None:
    data = sprites_of()
    rows = [data.rows(part) for part in ("train", "val", "test")]
    assert torch.equal(torch.cat(rows).sort().values, torch.arange(3000))
    assert [len(part) / 3000 for part in rows] == pytest.approx([0.85, 0.05, 0.10], abs=0.02)
    assert data.combinations() is None


@pytest.mark.parametrize("level", LEVELS)
def test_captions_say_what_concepts_say(level: int) -> None:
    spec = datasets.parse({"name": "sprites", "level": level, "view": "text"})
    captions, concepts = spec.captions(), spec.concept_schema().combinations()
    tokens = captions.render(concepts, index=torch.arange(len(concepts)), seed=0)
    assert torch.equal(captions.parse(tokens), concepts)
    assert captions.text(tokens[-1]).split() == [each.values[-1] for each in spec.concept_schema().attributes]
    assert spec.levels() == (level,)


def test_the_text_view_has_the_same_images_with_their_captions() -> None:
    plain, text = sprites_of(), sprites_of(view="text")
    rows = torch.tensor([5, 17, 2999])
    assert plain.fingerprint == text.fingerprint
    assert torch.equal(plain.store.batch(rows).image, text.store.batch(rows).image)
    tokens = text.store.batch(rows).tokens
    assert tokens is not None
    assert text.captions is not None
    assert torch.equal(text.captions.parse(tokens), plain.store.concepts[rows])


def test_a_batch_has_the_images_and_masks_of_its_rows() -> None:
    data, rows = sprites_of(canvas=20), torch.tensor([2999, 0, 0, 31])
    batch = data.store.batch(rows)
    assert batch.image.shape == (4, 3, 20, 20)
    assert torch.equal((batch.image * 255).round() / 255, batch.image)
    assert batch.mask is not None
    assert batch.mask.shape == (4, 1, 20, 20)
    assert torch.equal(batch.image[1], batch.image[2])
    assert torch.equal(batch.index, rows)
    # The sprite is where the mask is: white or coloured on dark, it is the brighter part.
    dark = data.store.batch((data.store.concepts[:, 4] == 0).nonzero()[:50, 0])
    brightest = dark.image.amax(1, keepdim=True)
    for image, mask in zip(brightest, dark.mask, strict=True):  # type: ignore[arg-type]
        assert image[mask].min() > image[~mask].median()


@pytest.mark.parametrize("texture", ["none", "procedural"])
def test_a_batch_of_no_images_has_none(texture: str) -> None:
    """A sheet shows the real images of a query, of which a small set may have none."""
    batch = sprites_of(canvas=16, texture=texture).store.batch(torch.arange(0))
    assert batch.image.shape == (0, 3, 16, 16)
    assert batch.mask is not None
    assert batch.mask.shape == (0, 1, 16, 16)


def test_a_smaller_set_is_the_beginning_of_a_larger_one() -> None:
    few, many = sprites_of(num_images=200), sprites_of(num_images=400)
    rows = torch.arange(200)
    assert torch.equal(few.store.batch(rows).image, many.store.batch(rows).image)
    assert torch.equal(few.rows("test"), many.rows("test")[many.rows("test") < 200])


def test_the_fingerprint_is_that_of_the_images() -> None:
    same = [sprites_of(), sprites_of(split="comp"), sprites_of(split_seed=1), sprites_of(view="text")]
    assert len({data.fingerprint for data in same}) == 1
    other = [{"level": 4}, {"canvas": 64}, {"seed": 1}, {"num_images": 2000}]
    assert len({data.fingerprint for data in [same[0], *(sprites_of(**each) for each in other)]}) == 5


def test_nothing_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    spec = datasets.parse({"name": "sprites", "num_images": 200})
    assert commands.prepare(spec)["path"] is None
    assert commands.describe(spec)["storage_bytes"] == 0
    commands.preview(spec, out=tmp_path / "sheet.png", num_images=4, masks=True)
    assert (tmp_path / "sheet.png").is_file()
    assert not cache_root().exists()
    with pytest.raises(BenchmarkError, match="sprites cannot be imported"):
        commands.import_from(spec, folder=tmp_path)


def test_the_pixel_hash_is_that_of_an_export(tmp_path: Path) -> None:
    spec = datasets.parse({"name": "sprites", "num_images": 200, "canvas": 16})
    exported = commands.export(spec, out=tmp_path / "out")
    assert exported["pixel_hash"] == commands.describe(spec)["pixel_hash"] == commands.verify(spec)["pixel_hash"]
    assert exported["pixel_hash"] != commands.describe(spec.model_copy(update={"seed": 1}))["pixel_hash"]


def test_verifying_draws_images_alone_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = datasets.parse({"name": "sprites", "num_images": 400})
    report = commands.verify(spec)
    assert (report["ok"], report["compared"], report["different"]) == (True, 256, 0)

    def unsteady(geometry: Geometry, *, canvas: int) -> tuple[Tensor, Tensor]:
        pixels, masks = render(geometry, canvas=canvas)
        return pixels + (len(geometry) > 1), masks

    monkeypatch.setattr(sprites, "render", unsteady)
    report = commands.verify(spec)
    assert (report["ok"], report["different"]) == (False, 256)
    result = CliRunner().invoke(app, ["data", "verify", "sprites", "--set", "num_images=400"])
    assert result.exit_code == 1
    assert "no image is stored, and images drawn alone differ from the same ones drawn together" in result.output
    assert "rm -r" not in result.output


def test_every_shape_size_and_place_can_be_told_from_the_mask() -> None:
    """The means of the masks of two concepts differ: an eye would tell them apart at any canvas from 16 on."""
    data = sprites_of(canvas=16, num_images=6000)
    masks, concepts = data.store.batch(torch.arange(6000)).mask, data.store.concepts
    assert masks is not None
    means = {
        key: masks[(concepts[:, [0, 1, 3]] == torch.tensor(key)).all(1)].float().mean(0)
        for key in product(range(3), range(2), range(4))
    }
    keys = list(means)
    distances = torch.cdist(*[torch.stack(list(means.values())).flatten(1)] * 2)
    distances.fill_diagonal_(torch.inf)
    assert distances.min() > 1.0, keys[int(distances.min(1).values.argmin())]


@pytest.mark.parametrize("texture", ["none", "procedural"])
def test_the_background_is_what_the_image_shows_outside_of_the_sprite(texture: str) -> None:
    data = datasets.parse(
        {"name": "sprites", "canvas": 32, "num_images": 100, "texture": texture, "view": "text"}
    ).build()
    data.setup()
    rows = torch.tensor([5, 2, 77])
    batch, behind = data.store.batch(rows), data.backgrounds(rows)
    assert behind is not None
    assert batch.mask is not None
    grown = torch.nn.functional.max_pool2d(batch.mask.float(), 3, 1, 1).bool().expand_as(batch.image)
    assert torch.equal(batch.image[~grown], behind[~grown])
    inside = batch.mask.expand_as(batch.image)
    assert float((batch.image - behind)[inside].abs().mean()) > 0.05
    assert bool((behind.flatten(1).std(1) > 0).all()) == (texture != "none")
