"""The store as it shall be: the same bytes whoever made it, whole or named, made again where it is not."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data.sharded import load_all
from mmvae_bench.data.shards.manifest import MANIFEST, Manifest
from mmvae_bench.data.shards.prepare import SLACK_BYTES, NoSpaceError, prepare_store
from mmvae_bench.data.shards.processes import WorkerError
from mmvae_bench.data.shards.verify import verify_store

from .squares import Squares

NUM = 22
SHARDS = [f"shard-{index:05d}-of-00006.arrow" for index in range(6)]


def make(folder: Path, recipe: Squares | None = None, *, workers: int = 0, shard_size: int = 4) -> bool:
    return prepare_store(folder, recipe or Squares(NUM), name="squares", shard_size=shard_size, workers=workers)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("reference") / "store"
    assert make(folder)
    return contents(folder)


@pytest.fixture
def store(tmp_path: Path, reference: dict[str, bytes]) -> Path:
    """A finished store that may be damaged."""
    folder = tmp_path / "store"
    folder.mkdir()
    for name, content in reference.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_same_bytes_from_one_process_and_from_four(tmp_path: Path, reference: dict[str, bytes]) -> None:
    for workers in (1, 4):
        assert make(tmp_path / str(workers), workers=workers)
        assert contents(tmp_path / str(workers)) == reference
    assert set(reference) == {*SHARDS, MANIFEST}


def test_the_images_are_those_of_the_recipe(store: Path) -> None:
    loaded, recipe = load_all(store), Squares(NUM)
    rows = torch.tensor([21, 0, 7, 7])
    batch = loaded.store.batch(rows)
    assert batch.mask is not None
    for position, row in enumerate(rows.tolist()):
        pixels, concept, mask, brightness, name = recipe.one(row)
        assert (batch.image[position].permute(1, 2, 0).numpy() == pixels.astype(np.float32) / np.float32(255)).all()
        assert batch.concept[position].tolist() == concept.tolist()
        assert (batch.mask[position].numpy() == mask).all()
        assert loaded.columns["brightness"][row] == brightness
        assert loaded.columns["file"][row] == name
    assert torch.equal(batch.index, rows)


def test_the_hash_does_not_depend_on_the_shards(tmp_path: Path, store: Path) -> None:
    make(tmp_path / "other", shard_size=9)
    one, other = load_all(store), load_all(tmp_path / "other")
    assert (one.manifest.pixel_hash, one.manifest.label_hash) == (other.manifest.pixel_hash, other.manifest.label_hash)
    assert (len(one.manifest.shards), len(other.manifest.shards)) == (6, 3)
    rows = torch.arange(NUM)
    assert torch.equal(one.store.batch(rows).image, other.store.batch(rows).image)
    assert one.manifest.pixel_hash != _pixel_hash(tmp_path / "third", Squares(NUM, version=2))


def _pixel_hash(folder: Path, recipe: Squares) -> str:
    make(folder, recipe)
    return load_all(folder).manifest.pixel_hash


def test_a_finished_store_is_left_alone(store: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.iterdir()}
    assert not make(store)
    assert not make(store, shard_size=9)
    assert {path: path.stat().st_mtime_ns for path in store.iterdir()} == before


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a flipped byte of a pixel": lambda path: flip(path, path.stat().st_size // 2),
    "a flipped byte of the header": lambda path: flip(path, 20),
    "a flipped byte at the end": lambda path: flip(path, -1),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("with_manifest", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_that_shard_alone_made_again(
    store: Path, reference: dict[str, bytes], damage: str, with_manifest: bool, caplog: pytest.LogCaptureFixture
) -> None:
    DAMAGES[damage](store / SHARDS[2])
    if with_manifest:
        report = verify_store(store, Squares(NUM), num_verified=5, workers=0)
        assert not report["ok"]
        assert [entry["file"] for entry in report["files"] if not entry["ok"]] == [SHARDS[2]]
    else:
        (store / MANIFEST).unlink()
    before = {name: (store / name).stat().st_mtime_ns for name in SHARDS if name != SHARDS[2]}
    with caplog.at_level(logging.WARNING):
        assert make(store)
    assert (SHARDS[2] in caplog.text) == (with_manifest or damage != "missing")
    assert {name: (store / name).stat().st_mtime_ns for name in before} == before
    assert contents(store) == reference
    assert verify_store(store, Squares(NUM), num_verified=5, workers=0)["ok"]


def test_a_damaged_manifest_is_written_again(store: Path, reference: dict[str, bytes]) -> None:
    flip(store / MANIFEST, len(reference[MANIFEST]) // 2)
    with pytest.raises(BenchmarkError, match="damaged, or of another version"):
        load_all(store)
    assert make(store)
    assert contents(store) == reference


def test_loading_notices_a_file_that_is_missing_or_short(store: Path) -> None:
    (store / SHARDS[0]).write_bytes((store / SHARDS[0]).read_bytes()[:-1])
    with pytest.raises(BenchmarkError, match=r"shard-00000-of-00006.arrow is damaged or missing: run `mmvae-bench"):
        load_all(store)


def test_shards_of_another_recipe_are_named_and_made_again(
    tmp_path: Path, store: Path, reference: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "other"
    make(other, Squares(NUM, version=2))
    (store / MANIFEST).unlink()
    (store / SHARDS[1]).write_bytes((other / SHARDS[1]).read_bytes())
    (store / SHARDS[4]).write_bytes(reference[SHARDS[3]])
    (store / "shard-00000-of-00009.arrow").write_bytes(b"of another division")
    with caplog.at_level(logging.WARNING):
        assert make(store)
    assert f"{SHARDS[1]}: made from another recipe: fingerprint {Squares(NUM, version=2).fingerprint}" in caplog.text
    assert f"{SHARDS[4]}: it holds images 12 to 15" in caplog.text
    assert "shard-00000-of-00009.arrow belongs to another division" in caplog.text
    assert contents(store) == reference


def test_a_store_of_another_version_of_the_files(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in ("shard", "manifest", "prepare"):
        monkeypatch.setattr(f"mmvae_bench.data.shards.{module}.FORMAT", 2)
    with pytest.raises(BenchmarkError, match="of another version"):
        load_all(store)
    with caplog.at_level(logging.WARNING):
        assert make(store)
    assert caplog.text.count("format 1, not 2; making it again") == 6
    assert load_all(store).manifest.format == 2


def test_a_finished_store_of_another_recipe_in_the_same_folder(store: Path) -> None:
    assert make(store, Squares(NUM, version=2))
    manifest = Manifest.read(store)
    assert manifest is not None
    assert manifest.fingerprint == Squares(NUM, version=2).fingerprint
    assert verify_store(store, Squares(NUM, version=2), num_verified=NUM, workers=0)["ok"]
    assert not verify_store(store, Squares(NUM), num_verified=NUM, workers=0)["ok"]


def test_verify_finds_images_that_the_recipe_does_not_make(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right checksums, other pictures: a renderer that changed without a new version."""
    one = Squares.one

    def other(self: Squares, index: int) -> object:
        pixels, *rest = one(self, index)
        return (pixels + np.uint8(index == 8), *rest)

    monkeypatch.setattr(Squares, "one", other)
    report = verify_store(store, Squares(NUM), num_verified=NUM, workers=0)
    assert not report["ok"]
    assert all(entry["ok"] for entry in report["files"])
    assert (report["compared"], report["different"]) == (NUM, 1)


def test_progress_is_of_all_images_and_goes_on_after_a_resume(store: Path) -> None:
    (store / SHARDS[0]).unlink()
    calls: list[tuple[int, int]] = []
    prepare_store(store, Squares(NUM), name="squares", workers=1, progress=lambda *call: calls.append(call))
    assert calls[0] == calls[-1] == (NUM, NUM)
    calls.clear()
    prepare_store(store.parent / "new", Squares(70), name="squares", shard_size=40, workers=0,
                  progress=lambda *call: calls.append(call))  # fmt: skip
    assert calls == [(32, 70), (40, 70), (70, 70)]


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("abort", WorkerError, r"images 8 to 11: it was killed by signal 6 \(SIGABRT\)(.|\n)*LLVM ERROR: out of ideas"),
        (
            "kill",
            WorkerError,
            r"images 8 to 11: it was killed by signal 9 \(SIGKILL\); .* memory: use fewer --workers",
        ),
        ("error", BenchmarkError, "^source image 7 is missing: put it there$"),
        ("bug", WorkerError, "ZeroDivisionError: a bug of the renderer"),
        (
            "shape",
            BenchmarkError,
            r"Squares.make\(8, 12\) does not return what the recipe declares: pixels must have the shape",
        ),
    ],
)
def test_what_goes_wrong_in_a_process_is_told_and_the_rest_kept(
    tmp_path: Path, reference: dict[str, bytes], fault: str, error: type[Exception], message: str
) -> None:
    folder = tmp_path / "store"
    with pytest.raises(error, match=message):
        make(folder, Squares(NUM, fault=fault, fault_at=10), workers=1)
    assert set(contents(folder)) == set(SHARDS[:2])
    kept = {name: (folder / name).stat().st_mtime_ns for name in SHARDS[:2]}
    assert make(folder)
    assert {name: (folder / name).stat().st_mtime_ns for name in kept} == kept
    assert contents(folder) == reference


def test_what_libraries_print_does_not_disturb(tmp_path: Path, reference: dict[str, bytes]) -> None:
    make(tmp_path / "store", Squares(NUM, fault="talk", fault_at=5), workers=2)
    assert contents(tmp_path / "store") == reference


def test_too_little_room_is_said_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmvae_bench.data.shards.prepare.SLACK_BYTES", 1 << 60)
    with pytest.raises(NoSpaceError, match=rf"folder: {tmp_path}(.|\n)*needed: another [\d,]+ bytes\n  free: [\d,]+ b"):
        make(tmp_path / "store")
    assert contents(tmp_path / "store") == {}


def test_room_that_falls_short_is_never_said_to_be_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = SLACK_BYTES + 1  # Room for the images, and not for what is left beside them.
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    with pytest.raises(NoSpaceError) as caught:
        make(tmp_path / "store")
    needed = re.search(r"needed: another ([\d,]+) bytes", str(caught.value))
    assert needed is not None
    assert int(needed[1].replace(",", "")) > free


def test_the_first_shard_tells_how_much_room_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("mmvae_bench.data.shards.prepare._check_space", lambda folder, needed: asked.append(needed))
    make(tmp_path / "store")
    first = (tmp_path / "store" / SHARDS[0]).stat().st_size
    assert asked[1] == (NUM - 4) * -(-first // 4)
    assert asked[0] < asked[1]


def test_the_manifest_says_what_is_there(store: Path) -> None:
    content = json.loads((store / MANIFEST).read_text())
    assert content["recipe"] == Squares(NUM).describe()
    assert content["fingerprint"] == Squares(NUM).fingerprint
    assert content["pixel_hash"] == load_all(store).manifest.pixel_hash
    assert [shard["file"] for shard in content["shards"]] == SHARDS
    assert [shard["num_bytes"] for shard in content["shards"]] == [(store / name).stat().st_size for name in SHARDS]


def test_datasets_reads_a_shard(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from datasets import Dataset

    dataset = Dataset.from_file(str(store / SHARDS[1]))
    assert dataset.column_names == ["index", "image", "concept", "mask", "brightness", "file"]
    assert dataset["index"][:] == [4, 5, 6, 7]
    pixels, concept, *_ = Squares(NUM).one(5)
    assert np.frombuffer(dataset[1]["image"], np.uint8).tolist() == pixels.transpose(2, 0, 1).ravel().tolist()
    assert dataset[1]["concept"] == concept.tolist()
