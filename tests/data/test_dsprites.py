"""dSprites as a dataset: the part of the grid that is used, the splits, and the original file."""

from __future__ import annotations

import io
import math
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.cli import main
from mmvae_bench.data import commands
from mmvae_bench.data.dsprites import DSpritesDataModule, GridStore, chosen
from mmvae_bench.data.sources import MissingSourceError, SourceError
from mmvae_bench.data.sources.dsprites_file import NAME, DSpritesFile, _Seen
from mmvae_bench.specs.built_in.datasets import NUM_DSPRITES
from mmvae_bench.specs.components import datasets
from mmvae_bench.worlds.dsprites import SIZES, factors, same_sprite, sprites

SMALL = (3, 2, 4, 3, 3)
NUM_SMALL = 216


def ready(**settings: object) -> DSpritesDataModule:
    data = datasets.parse({"name": "dsprites", **settings}).build()
    data.prepare_data()
    data.setup()
    assert isinstance(data, DSpritesDataModule)
    return data


def members(side: int = 64) -> dict[str, np.ndarray]:
    """The arrays of a small file."""
    images = np.zeros((NUM_SMALL, side, side), np.uint8)
    classes = np.stack([np.zeros(NUM_SMALL), *np.unravel_index(np.arange(NUM_SMALL), SMALL)], 1).astype(np.int64)
    for image, (_, shape, scale, turn, x, y) in zip(images, classes, strict=True):
        # A bar, longer for a larger shape and scale, with an end that turns.
        image[5 + 3 * y : 9 + 3 * y, 4 + 2 * x : 10 + 2 * x + 3 * shape + 2 * scale] = 1
        image[4 + 3 * y, 4 + 2 * x + turn] = 1
    return {"imgs": images, "latents_classes": classes}


class Trap:
    """Opened by whoever loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def write(folder: Path, **arrays: np.ndarray) -> DSpritesFile:
    """A file with a pickle beside its arrays, as the original has one; a value of None leaves a member out."""
    trap = np.array(Trap(folder / "sprung"), dtype=object)
    content = {"metadata": trap, **members(), **arrays}
    np.savez_compressed(folder / NAME, **{name: array for name, array in content.items() if array is not None})
    return DSpritesFile(root=folder, sizes=SMALL)


def refusal(file: DSpritesFile, folder: Path) -> str:
    """The one line of the error; nothing in the file was executed."""
    with pytest.raises(SourceError) as caught:
        list(file.images())
    assert not (folder / "sprung").exists()
    message = str(caught.value)
    assert "\n" not in message
    path, _, rest = message.partition(": ")
    assert path == str((folder / NAME).resolve())
    return rest


def test_the_whole_grid_is_in_its_order() -> None:
    data = ready(num_images=None)
    assert len(data.store) == 737_280
    rows = torch.tensor([0, 1, 368_643, 737_279])
    batch = data.store.batch(rows)
    assert batch.concept.tolist() == factors(rows).tolist()
    assert batch.concept.tolist() == np.stack(np.unravel_index(rows.numpy(), SIZES), 1).tolist()
    assert set(batch.image.unique().tolist()) == {0.0, 1.0}
    assert batch.mask is not None
    assert torch.equal(batch.mask.float(), batch.image)
    assert torch.equal(batch.image.sum((1, 2, 3)).long(), sprites()[rows // 1024].sum((1, 2)))
    # Every combination of factors, once.
    place = torch.tensor([math.prod(SIZES[k + 1 :]) for k in range(5)])
    assert torch.equal(data.store.concepts @ place, torch.arange(737_280))
    assert data.store.concepts.amax(0).tolist() == [size - 1 for size in SIZES]
    assert data.schema.sizes == SIZES


def test_fewer_images_are_drawn_without_replacement_and_are_part_of_more() -> None:
    few, many = chosen(1000), chosen(30_000)
    assert len(few.unique()) == 1000
    assert bool(torch.isin(few, many).all())
    assert torch.equal(few, few.sort().values)
    counts = factors(many)[:, 2].bincount(minlength=40)
    assert counts.min() > 600
    assert counts.max() < 900


def test_the_compositional_split_holds_out_sprites_wherever_they_stand() -> None:
    data = ready(split="comp")
    sprite = data.numbers // 1024
    parts = {part: set(sprite[data.rows(part)].tolist()) for part in ("train", "val", "test")}
    assert not parts["train"] & parts["test"]
    assert not parts["train"] & parts["val"]
    assert not parts["val"] & parts["test"]
    # No picture of a held-out sprite has been seen under another name.
    first = same_sprite()
    seen = {int(first[number]) for number in parts["train"]}
    assert not seen & {int(first[number]) for number in parts["val"] | parts["test"]}
    distinct = [len({int(first[number]) for number in part}) / 669 for part in parts.values()]
    assert distinct == pytest.approx([0.85, 0.05, 0.10], abs=0.01)
    for k, size in enumerate(SIZES):
        assert len(data.concepts("train")[:, k].unique()) == size
    combinations = data.combinations()
    assert combinations is not None
    assert {tuple(row) for row in combinations["test"]} == {
        (number // 240, number // 40 % 6, number % 40) for number in parts["test"]
    }
    other = ready(split="comp", split_seed=1)
    assert other.fingerprint == data.fingerprint
    assert not torch.equal(other.rows("test"), data.rows("test"))


def test_the_iid_split_divides_images() -> None:
    data = ready()
    sizes = [len(data.rows(part)) / 30_000 for part in ("train", "val", "test")]
    assert sizes == pytest.approx([0.85, 0.05, 0.10], abs=0.01)
    assert data.combinations() is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_images": 999}, "num_images"),
        ({"num_images": 737_281}, "num_images"),
        ({"split": "official"}, r"split: not one of the choices\n  given: 'official'\n  choices: iid, comp"),
        ({"source": "drawm"}, r"source: not one of the choices\n  given: 'drawm'\n  choices: drawn, dsprites"),
    ],
)
def test_what_does_not_exist_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        datasets.parse({"name": "dsprites", **settings})


def test_it_is_described_and_verified() -> None:
    spec = datasets.parse({"name": "dsprites", "num_images": 1000, "split": "comp"})
    about = commands.describe(spec)
    assert about["distinct_sprites"] == 669
    assert about["combinations_of"] == ["shape", "scale", "orientation"]
    assert about["path"] is None
    report = commands.verify(spec)
    assert (report["ok"], report["pixel_hash"]) == (True, about["pixel_hash"])


def test_the_original_file_is_read_and_its_pickle_is_not(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert np.array_equal(np.concatenate(list(file.images())), members()["imgs"])
    assert not (tmp_path / "sprung").exists()
    # The trap works: numpy would spring it if it were allowed to.
    np.load(tmp_path / NAME, allow_pickle=True)["metadata"]
    assert (tmp_path / "sprung").exists()


def test_a_dataset_of_the_original_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    spec = datasets.parse({"name": "dsprites", "source": "dsprites"})
    data = DSpritesDataModule(spec, file=write(tmp_path))  # type: ignore[arg-type]
    data.prepare_data()
    data.setup()
    batch = data.store.batch(torch.arange(NUM_SMALL))
    assert np.array_equal(batch.image[:, 0].byte().numpy(), members()["imgs"])
    assert batch.concept.tolist() == members()["latents_classes"][:, 1:].tolist()
    assert data.describe()["source"] == "dsprites"
    assert (data.verify()["ok"], data.verify()["compared"]) == (True, NUM_SMALL)
    # Another file is another dataset.
    other = members()["imgs"].copy()
    other[5, 0, 0] = 1
    again = DSpritesDataModule(spec, file=write(tmp_path, imgs=other))  # type: ignore[arg-type]
    assert again.fingerprint != data.fingerprint
    assert data.fingerprint != datasets.parse("dsprites").build().fingerprint
    assert data.cache_path is not None
    damaged = data.cache_path / "images.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    assert data.verify()["ok"] is False


def test_a_part_of_the_file_may_hold_no_image_that_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read in parts, and a small share of it skips some."""
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    spec = datasets.parse({"name": "dsprites", "source": "dsprites"})
    file = write(tmp_path)
    parts = members()["imgs"].reshape(3, -1, 64, 64)
    monkeypatch.setattr(file, "images", lambda: iter(parts))
    data = DSpritesDataModule(spec, file=file)  # type: ignore[arg-type]
    data.numbers = torch.tensor([0, 5, 150, 215])  # Of 0 to 71, none of 72 to 143, the last.
    data.prepare_data()
    data.setup()
    batch = data.store.batch(torch.arange(4))
    assert np.array_equal(batch.image[:, 0].byte().numpy(), members()["imgs"][[0, 5, 150, 215]])
    assert (data.verify()["ok"], data.verify()["compared"]) == (True, 4)


def exchanged(images: np.ndarray, factor: int) -> np.ndarray:
    """The images with two values of x (2) or y (3) exchanged."""
    return images.reshape(6, 4, 3, 3, 64, 64).take([1, 0, 2], axis=factor).reshape(images.shape)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: images * 0, "member imgs: image 0 is wholly black"),
        (lambda images: images * (np.arange(NUM_SMALL) != 71)[:, None, None], "member imgs: image 71 is wholly black"),
        (lambda images: images[::-1], "member imgs: shape 0 is not larger at scale 1 than at 0: not the images of"),
        (lambda images: np.ones_like(images), "member imgs: shape 0 is not larger at scale 1 than at 0"),
        (lambda images: exchanged(images, 2), "member imgs: the sprite does not move steadily with x"),
        (lambda images: exchanged(images, 3), "member imgs: the sprite does not move steadily with y"),
        (lambda images: np.roll(images, 1, axis=0), "member imgs: the sprite does not move steadily with x"),
    ],
    ids=["black", "one black", "another order", "white", "x exchanged", "y exchanged", "one late"],
)  # fmt: skip
def test_images_that_are_not_those_of_the_classes_are_refused(tmp_path: Path, change: object, message: str) -> None:
    """Of the right shapes and types, beside the right classes."""
    images = np.ascontiguousarray(change(members()["imgs"])).astype(np.uint8)  # type: ignore[operator]
    assert refusal(write(tmp_path, imgs=images), tmp_path).startswith(message)


def test_the_drawn_grid_would_be_taken() -> None:
    """Its order is that of the original, whose facts are checked; two of the 40 orientations are enough here."""
    every = torch.arange(NUM_DSPRITES)
    numbers = every[torch.isin(factors(every)[:, 2], torch.tensor([3, 17]))]
    store, seen = GridStore(numbers), _Seen((3, 6, 2, 32, 32))
    for rows in torch.arange(len(numbers)).split(2**12):
        assert seen.add(store.batch(rows).image[:, 0].byte().numpy()) is None
    assert seen.verdict() is None


CLASSES = members()["latents_classes"]
WRONG = {
    "another shape": ({"imgs": members()["imgs"][:-1]}, "member imgs: it is uint8 (215, 64, 64), expected uint8 (216,"),
    "another side": ({"imgs": members(32)["imgs"]}, "member imgs: it is uint8 (216, 32, 32), expected uint8 (216, 64"),
    "another type": ({"imgs": members()["imgs"].astype(np.int32)}, "member imgs: it is int32 (216, 64, 64), expected"),
    "by columns": ({"imgs": np.asfortranarray(members()["imgs"])}, "member imgs: it is uint8 (216, 64, 64) by columns"),
    "grey": ({"imgs": 2 * members()["imgs"]}, "member imgs: a pixel is 2, expected 0 or 1"),
    "missing": ({"imgs": None}, "member imgs: there is none"),
    "another order": ({"latents_classes": CLASSES[::-1].copy()}, "member latents_classes: row 0 is [0, 2, 1, 3, 2, 2]"),
    "no classes": ({"latents_classes": None}, "member latents_classes: there is none"),
}


@pytest.mark.parametrize("what", WRONG)
def test_another_file_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    arrays, message = WRONG[what]
    file = write(tmp_path, **arrays)  # type: ignore[arg-type]
    assert refusal(file, tmp_path).startswith(message)


@pytest.mark.parametrize("member", ["imgs", "latents_classes"])
def test_a_pickle_in_the_place_of_an_array_is_refused_unopened(tmp_path: Path, member: str) -> None:
    file = write(tmp_path, **{member: np.array([Trap(tmp_path / "sprung")] * 3, dtype=object)})
    assert refusal(file, tmp_path) == f"member {member}: it holds a pickle, which is never loaded"


def rewritten(path: Path, member: str, content: bytes) -> None:
    """The same archive with another content of one member."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in (parts | {member: content}).items():
            archive.writestr(name, part)


def encoded(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda whole: whole[:-100], "member imgs: it ends too early"),
        (lambda whole: whole + b"\0", "member imgs: it is longer than its shape"),
        (lambda whole: b"\x93NUMPY\x09\x00" + whole[8:], "member imgs: its format (9, 0) is not known"),
        (lambda _: b"", "member imgs: it cannot be read ("),
        (lambda _: b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "member imgs: it cannot be read ("),
    ],
)
def test_a_damaged_member_is_refused(tmp_path: Path, change: object, message: str) -> None:
    file = write(tmp_path)
    rewritten(tmp_path / NAME, "imgs.npy", change(encoded(members()["imgs"])))  # type: ignore[operator]
    assert refusal(file, tmp_path).replace("\n", " ").startswith(message)


def test_a_file_that_is_no_archive_or_cut_short_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path)
    whole = (tmp_path / NAME).read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2]):
        (tmp_path / NAME).write_bytes(content)
        assert refusal(file, tmp_path).startswith("member latents_classes: it cannot be read (")


def test_a_missing_file_is_said_with_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path))
    with pytest.raises(MissingSourceError, match="source=drawn, which needs no file"):
        ready(source="dsprites")
    assert main(["data", "prepare", "dsprites", "--set", "source=dsprites"]) == 2
    error = capsys.readouterr().err
    assert NAME in error
    assert str(tmp_path / "dsprites-dataset") in error
    (tmp_path / "dsprites").mkdir()
    (tmp_path / "dsprites" / NAME).write_bytes(b"no archive")
    assert main(["data", "prepare", "dsprites", "--set", "source=dsprites"]) == 2
    assert "member latents_classes: it cannot be read (File is not a zip file)" in capsys.readouterr().err


def test_it_is_not_prepared_until_it_is_prepared(tmp_path: Path) -> None:
    spec = datasets.parse({"name": "dsprites", "source": "dsprites"})
    with pytest.raises(BenchmarkError, match="is not prepared"):
        DSpritesDataModule(spec, file=write(tmp_path, imgs=1 - members()["imgs"])).verify()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"\x01\x00\x08\x00{'a': (8", "member imgs: it cannot be read ("),
        (b"\x01\x00\x08\x00{[]: 1} ", "member imgs: it cannot be read ("),
        (b"\x02\x00" + (20_000_000).to_bytes(4, "little") + b" " * 20_000_000, "member imgs: its format (2, 0) is"),
    ],
    ids=["unclosed", "unhashable", "long"],
)
def test_a_strange_header_is_refused_before_it_is_held(tmp_path: Path, head: bytes, message: str) -> None:
    file = write(tmp_path)
    rewritten(tmp_path / NAME, "imgs.npy", b"\x93NUMPY" + head)
    tracemalloc.start()
    try:
        assert refusal(file, tmp_path).startswith(message)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_cannot_be_unpacked_in_parts_is_refused(tmp_path: Path, kind: int) -> None:
    """Of such a one numpy never writes, a few bytes may become gigabytes at once."""
    write(tmp_path)
    with zipfile.ZipFile(tmp_path / NAME) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / NAME, "w", kind) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    file = DSpritesFile(root=tmp_path, sizes=SMALL)
    assert refusal(file, tmp_path) == "member latents_classes: it is neither stored nor deflated"
