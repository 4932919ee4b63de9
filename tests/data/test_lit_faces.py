"""Faces under one light: photographs in the layout of Yale B, made up here, and the splits of the drawn ones."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.conformance import data as conformance
from mmvae_bench.data import commands
from mmvae_bench.data.lit_faces import LitFacesDataModule
from mmvae_bench.data.sources import MissingSourceError
from mmvae_bench.data.sources.yale_faces import FOLDERS, parse_pgm
from mmvae_bench.data.splits import random_partition
from mmvae_bench.data.supervision import without_labels
from mmvae_bench.specs.built_in.few_labels import PEOPLE
from mmvae_bench.specs.components import datasets
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.worlds.lit_faces import LIGHTS as ALL_LIGHTS

LIGHTS = ((0, 0), (35, 40), (-35, -20), (110, 15), (-130, 20))
PATTERN = np.add.outer(np.arange(192), np.arange(168) // 2).astype(np.uint8)


def name_of(person: str, azimuth: int, elevation: int) -> str:
    return f"yaleB{person}_P00A{azimuth:+04d}E{elevation:+03d}.pgm"


def pgm(greys: np.ndarray) -> bytes:
    """As Pillow writes one."""
    out = io.BytesIO()
    Image.fromarray(greys).save(out, "PPM")
    return out.getvalue()


def made_up(
    root: Path,
    people: tuple[str, ...] = ("01", "02", "03"),
    folder: str = "CroppedYale",
    lights: tuple[tuple[int, int], ...] = LIGHTS,
) -> Path:
    """Photographs of some people, with what else lies in their folders."""
    for number, person in enumerate(people):
        place = root / folder / f"yaleB{person}"
        place.mkdir(parents=True)
        for shift, light in enumerate(lights):
            (place / name_of(person, *light)).write_bytes(pgm(PATTERN + np.uint8(40 * number + shift)))
        (place / f"yaleB{person}_P00_Ambient.pgm").write_bytes(pgm(np.zeros((480, 640), np.uint8)))
        (place / f"yaleB{person}_P00A+000E+45.pgm.bad").write_bytes(b"")
        (place / f"yaleB{person}_P00.info").write_text("yaleB\n", encoding="utf-8")
    return root


def ready(root: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> LitFacesDataModule:
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(root))
    data = datasets.parse({"name": "lit_faces", "source": "yale", "num_people": 3, **settings}).build()
    data.prepare_data()
    data.setup()
    assert isinstance(data, LitFacesDataModule)
    return data


@pytest.mark.parametrize("folder", ["CroppedYale", "yale/CroppedYale", "yale"])
def test_photographs_are_read_with_their_person_and_light(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ready(made_up(tmp_path, folder=folder), monkeypatch, canvas=168)
    assert len(data.store) == 15
    batch = data.store.batch(torch.arange(15))
    seen: set[tuple[int, int, int]] = set()
    for row in range(15):
        person, azimuth, elevation = (
            int(batch.concept[row, 0]),
            *(int(data.columns[k][row]) for k in ("azimuth", "elevation")),
        )
        seen.add((person, azimuth, elevation))
        shift = LIGHTS.index((azimuth, elevation))
        expected = (PATTERN + np.uint8(40 * person + shift))[12:180]
        assert np.array_equal((batch.image[row, 0].numpy() * 255).round().astype(np.uint8), expected)
        a, e = np.radians(azimuth), np.radians(elevation)
        light = np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
        assert batch.factors is not None
        assert np.abs(batch.factors[row].numpy() - light).max() < 1e-6
    assert seen == {(person, *light) for person in range(3) for light in LIGHTS}
    said = [" ".join(data.schema.words(concept, brief=True)) for concept in batch.concept[:5].tolist()]
    assert sorted(said) == ["01 -100 10", "01 -45 -25", "01 0 10", "01 100 10", "01 45 55"]
    assert data.describe()["photographs"] == 15
    assert data.spec.masks == 0
    assert batch.mask is None


def test_a_photograph_is_scaled_by_the_mean_of_what_a_pixel_covers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ready(made_up(tmp_path), monkeypatch, canvas=28)
    expected = PATTERN[12:180].reshape(28, 6, 28, 6).mean((1, 3))
    row = int(((data.store.concepts == torch.tensor([0, 2, 1])).all(1)).nonzero()[0])
    image = data.store.batch(torch.tensor([row])).image[0, 0].numpy() * 255
    assert np.abs(image - expected).max() <= 1


def test_changed_photographs_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made_up(tmp_path)
    before = ready(root, monkeypatch)
    path = root / "CroppedYale" / "yaleB02" / name_of("02", 0, 0)
    path.write_bytes(pgm(255 - PATTERN))
    os.utime(path, ns=(10**18, 2 * 10**18))
    after = ready(root, monkeypatch)
    assert before.fingerprint == after.fingerprint
    assert before.describe()["pixel_hash"] != after.describe()["pixel_hash"]
    path.unlink()
    assert ready(root, monkeypatch).fingerprint != before.fingerprint


def test_a_photograph_keeps_its_partition_without_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = datasets.parse({"name": "lit_faces", "canvas": 16, "num_people": 3}).build()
    drawn.prepare_data()
    drawn.setup()
    of_light = {
        (int(person), int(azimuth), int(elevation)): part
        for part in ("train", "val", "test")
        for person, azimuth, elevation in zip(
            drawn.concepts(part)[:, 0], drawn.columns["azimuth"][drawn.rows(part)],
            drawn.columns["elevation"][drawn.rows(part)], strict=True,
        )
    }  # fmt: skip
    data = ready(made_up(tmp_path, lights=ALL_LIGHTS[::2]), monkeypatch)
    for part in ("train", "val", "test"):
        for row in data.rows(part).tolist():
            light = tuple(int(data.columns[name][row]) for name in ("azimuth", "elevation"))
            assert of_light[int(data.store.concepts[row, 0]), *light] == part


def test_missing_photographs_are_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingSourceError) as caught:
        ready(tmp_path, monkeypatch)
    message = str(caught.value)
    assert {f"  {(tmp_path / name).resolve()}" for name in FOLDERS} < {*message.splitlines()}
    assert "yaleB01/yaleB01_P00A+000E+00.pgm" in message
    assert "MMVAE_BENCH_DATA" in message
    assert "source=drawn" in message
    made_up(tmp_path, ("01", "03"))
    with pytest.raises(
        MissingSourceError, match=r"no photographs of 1 of 3 people, the first: yaleB02\n.* ask for the firs"
    ):
        ready(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a PGM file (0 bytes)"),
        (pgm(PATTERN)[:-100], "168x192, but 32,156 greys"),
        (pgm(PATTERN) + b"x", "168x192, but 32,257 greys"),
        (pgm(PATTERN[:100]), "168x100, expected 168x192"),
        (b"P5 168 192 65535\n" + bytes(2 * 168 * 192), "its greys are from 0 to 65535, expected 255"),
        (b"P5 999999 999999 255\n" + bytes(10), "999999x999999, but 10 greys"),
        (b"P2 168 192 255\n1 2 3", "not a PGM file"),
        (b"P5" + b" " * 100_000 + b"1 1 255 x", "not a PGM file"),
        (bytes(2**20 + 1), "1,048,577 bytes, at most 1,048,576 expected"),
    ],
)
def test_a_damaged_photograph_is_named(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made_up(tmp_path) / "CroppedYale" / "yaleB02" / name_of("02", 35, 40)
    path.write_bytes(content)
    with pytest.raises(BenchmarkError) as caught:
        ready(tmp_path, monkeypatch)
    assert f"1 of 15 photographs of Yale B cannot be used\n  {path}: {message}" in str(caught.value)
    assert "copy them again, or delete them" in str(caught.value)


def test_a_pipe_in_place_of_a_photograph_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made_up(tmp_path) / "CroppedYale" / "yaleB01" / name_of("01", 0, 0)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BenchmarkError, match="not a regular file"):
        ready(tmp_path, monkeypatch)


def test_any_bytes_are_a_picture_or_an_error() -> None:
    chance = random.Random(0)
    for _ in range(300):
        content = bytearray(pgm(PATTERN[:3, :4]))
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        try:
            assert parse_pgm(bytes(content)).ndim == 2
        except OSError:
            continue


def test_a_pgm_file_may_have_comments() -> None:
    content = b"P5\n# CREATOR: XV\n168 192\n# more\n255\n" + PATTERN.tobytes()
    assert np.array_equal(parse_pgm(content), PATTERN)


def of_drawings(**settings: object) -> LitFacesDataModule:
    data = datasets.parse({"name": "lit_faces", "canvas": 16, "num_people": 10, **settings}).build()
    data.prepare_data()
    data.setup()
    assert isinstance(data, LitFacesDataModule)
    return data


def test_the_split_iid_is_by_person_and_light() -> None:
    data = of_drawings()
    concepts = data.store.concepts
    azimuth, elevation = (torch.from_numpy(data.columns[name].astype(np.int64)) for name in ("azimuth", "elevation"))
    expected = random_partition(concepts[:, 0], azimuth, elevation, seed=42)
    for k, part in enumerate(("train", "val", "test")):
        assert torch.equal(data.rows(part), (expected == k).nonzero()[:, 0])
    assert data.combinations() is None


def test_the_split_comp_holds_people_out_under_lights() -> None:
    data = of_drawings(split="comp")
    found = {part: {tuple(row) for row in data.concepts(part).tolist()} for part in ("train", "val", "test")}
    assert not found["train"] & found["test"]
    assert not found["val"] & (found["train"] | found["test"])
    assert data.combinations() == {part: sorted(map(list, concepts)) for part, concepts in found.items()}
    for position, attribute in enumerate(data.schema.attributes):
        assert {row[position] for row in found["train"]} == set(range(len(attribute)))


def test_hidden_labels_hide_the_light() -> None:
    batch = of_drawings().store.batch(torch.arange(4))
    assert batch.factors is not None
    assert without_labels(batch, (0,)).factors is None
    assert batch.to("cpu").factors is not None


def test_it_conforms(tmp_path: Path) -> None:
    spec = datasets.parse({"name": "lit_faces", "canvas": 16, "num_people": 4})
    for check in conformance.CHECKS:
        check(spec)
    exported = commands.export(spec, out=tmp_path / "out")
    report = commands.verify(spec)
    assert (report["ok"], report["pixel_hash"]) == (True, exported["pixel_hash"])


def test_the_people_are_those_of_yale_b() -> None:
    assert len(PEOPLE) == 38
    assert "14" not in PEOPLE
    with pytest.raises(ConfigError, match="num_people"):
        datasets.parse({"name": "lit_faces", "num_people": 39})


@pytest.mark.parametrize("backbone", ["mnist_a_thin", "mlp", {"name": "patches", "likelihood": "bernoulli"}])
def test_black_and_white_networks_refuse_shades(backbone: object) -> None:
    """Before, ``mlp`` took them, and a trial failed after its training."""
    with pytest.raises(ConfigError, match="takes images of black and white alone, as its p\\(x\\|z\\) is Bernoulli"):
        TrialSpec.parse({"dataset": "lit_faces", "backbone": backbone, "objective": "cvae"})


def test_what_cannot_be_read_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made_up(tmp_path) / "CroppedYale" / "yaleB03" / name_of("03", 0, 0)
    path.write_bytes(pgm(PATTERN)[:-1])
    with pytest.raises(BenchmarkError):
        ready(tmp_path, monkeypatch)
    path.write_bytes(pgm(PATTERN))
    assert len(ready(tmp_path, monkeypatch).store) == 15
