"""Photographs that change under the same names: what is cached of them is made again, and nothing else is."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.cli.data import app
from mmvae_bench.data.celeba18 import CelebA18DataModule
from mmvae_bench.data.mnist_a import MnistADataModule
from mmvae_bench.data.origin import RECORD
from mmvae_bench.data.sources import SourceError, celeba_photos
from mmvae_bench.data.sources.celeba_photos import UsedPhotos, find_photos
from mmvae_bench.data.sources.celeba_rows import image_name
from mmvae_bench.data.sources.digits import MnistSource
from mmvae_bench.evaluation.classifier_training import observation_classifier
from mmvae_bench.specs.built_in.datasets import CelebA18Spec, MnistASpec
from mmvae_bench.specs.components import classifiers

from .sources.celeba_copy import FakeCelebA, photo
from .sources.idx_files import make_idx_set

FAKE = FakeCelebA(num=30, size=(89, 109))
SPEC = CelebA18Spec.parse({"source": "celeba", "size": 16})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with photographs, and a cache of the test's own."""
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    FAKE.write_texts(tmp_path / "celeba")
    FAKE.write_images(tmp_path / "celeba")
    return tmp_path


def module(root: Path) -> CelebA18DataModule:
    data = CelebA18DataModule(SPEC, photos=find_photos(root, **FAKE.files))
    data.workers = 0
    return data


def ready(root: Path) -> CelebA18DataModule:
    data = module(root)
    data.prepare_data()
    data.setup()
    return data


def pixels(data: CelebA18DataModule) -> np.ndarray:
    return data.store.batch(torch.arange(len(data.store))).image.numpy()


def replace(root: Path, numbers: range, *, size: tuple[int, int] = FAKE.size, shift: int = 3) -> None:
    for number in numbers:
        (root / "celeba" / "img_align_celeba" / image_name(number)).write_bytes(photo(number + shift, size))


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows whenever the content of all photographs is read for its digest."""
    reads: list[int] = []
    original = UsedPhotos.digest

    def digest(self: UsedPhotos) -> str:
        reads.append(len(self.positions))
        return original(self)

    monkeypatch.setattr(UsedPhotos, "digest", digest)
    return reads


def test_replaced_photographs_are_reported_and_made_again(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = pixels(ready(root))
    assert module(root).verify()["ok"]
    replace(root, range(1, 31))
    report = module(root).verify()
    assert not report["ok"]
    assert not report["source_files"]["ok"]
    assert report["source_files"]["expected"] != report["source_files"]["found"]
    with caplog.at_level(logging.WARNING):
        after = ready(root)
    assert "source files have changed" in caplog.text
    assert module(root).verify()["ok"]
    shutil.rmtree(root / "cache")
    assert np.array_equal(pixels(after), pixels(ready(root)))
    assert not np.array_equal(before, pixels(after))


def test_one_photograph_of_the_same_size_and_time_is_noticed(root: Path) -> None:
    path = root / "celeba" / "img_align_celeba" / image_name(7)
    before, other = path.stat(), photo(9, FAKE.size)
    path.write_bytes(photo(7, FAKE.size).ljust(len(other), b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    first = pixels(ready(root))
    path.write_bytes(other.ljust(path.stat().st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = (pixels(ready(root)) != first).any((1, 2, 3))
    assert changed.nonzero()[0].tolist() == [6]


def test_a_used_cache_refuses_what_a_fresh_one_refuses(root: Path) -> None:
    ready(root)
    replace(root, range(20, 23), size=(100, 122))
    for _ in range(2):
        with pytest.raises(BenchmarkError, match=r"3 of 30 images cannot be used(.|\n)*000020.jpg: 100x122"):
            module(root).prepare_data()
    replace(root, range(20, 23), shift=0)
    assert len(ready(root).store) == 30


def test_unchanged_photographs_are_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = count_reads(monkeypatch)
    ready(root)
    assert reads == [30]
    before = {path: path.stat().st_mtime_ns for path in module(root).cache_path.iterdir()}
    module(root).prepare_data()
    assert reads == [30]
    # Copied to another disk: read once more, and nothing is made.
    for path in (root / "celeba" / "img_align_celeba").iterdir():
        os.utime(path)
    for _ in range(3):
        module(root).prepare_data()
    assert reads == [30, 30]
    record = module(root).cache_path / RECORD
    assert {path: path.stat().st_mtime_ns for path in before if path != record} == {
        path: time for path, time in before.items() if path != record
    }


@pytest.mark.parametrize("layout", ["tar", "zip"])
def test_the_same_photographs_in_an_archive_are_the_same(root: Path, tmp_path: Path, layout: str) -> None:
    ready(root)
    before = {path.name: path.stat().st_mtime_ns for path in module(root).cache_path.glob("*.arrow")}
    shutil.rmtree(root / "celeba" / "img_align_celeba")
    path = FAKE.write_images(root / "celeba", layout)
    ready(root)
    assert {path.name: path.stat().st_mtime_ns for path in module(root).cache_path.glob("*.arrow")} == before
    # And an archive that is replaced is noticed, by the process that had it open too.
    first = pixels(ready(root))
    path.unlink()
    FakeCelebA(num=30, size=FAKE.size, shift=5).write_images(root / "celeba", layout)
    assert not np.array_equal(pixels(ready(root)), first)


def test_a_cache_of_an_earlier_version_is_accepted_unless_a_photograph_is_newer(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ready(root)
    first, record = pixels(data), data.cache_path / RECORD
    record.unlink()
    made = [path.stat().st_mtime_ns for path in sorted(data.cache_path.glob("*.arrow"))]
    assert module(root).verify()["ok"]
    assert not record.exists()
    ready(root)
    assert [path.stat().st_mtime_ns for path in sorted(data.cache_path.glob("*.arrow"))] == made
    assert record.exists()
    record.unlink()
    replace(root, range(1, 2))
    assert not module(root).verify()["ok"]
    assert not np.array_equal(pixels(ready(root)), first)
    assert module(root).verify()["ok"]


def test_half_a_set_of_old_photographs_is_not_completed_with_new_ones(root: Path) -> None:
    data = module(root)
    data.prepare_data()
    (data.cache_path / "manifest.json").unlink()
    replace(root, range(1, 31))
    used = pixels(ready(root))
    shutil.rmtree(root / "cache")
    assert np.array_equal(used, pixels(ready(root)))


def test_photographs_that_change_while_they_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = celeba_photos.decode_and_crop

    def slow(content: bytes, **arguments: object) -> np.ndarray:
        replace(root, range(5, 6), shift=8)
        return original(content, **arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(celeba_photos, "decode_and_crop", slow)
        with pytest.raises(BenchmarkError, match="changed while its images were made; run the same command again"):
            module(root).prepare_data()
    used = pixels(ready(root))
    shutil.rmtree(root / "cache")
    assert np.array_equal(used, pixels(ready(root)))


def test_a_cache_that_cannot_be_written_is_used(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ready(root)
    (data.cache_path / RECORD).unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    ready(root)
    assert not (data.cache_path / RECORD).exists()


def test_the_classifier_of_other_photographs_is_trained_again(root: Path) -> None:
    spec = classifiers.parse({"name": "conv_rgb", "steps": 2, "width": 2, "hidden": 4})
    first = observation_classifier(spec, ready(root)).weights_hash
    assert observation_classifier(spec, ready(root)).weights_hash == first
    replace(root, range(1, 31))
    second = observation_classifier(spec, ready(root)).weights_hash
    assert second != first
    assert observation_classifier(spec, ready(root)).weights_hash == second


def verify(root: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["verify", "celeba18", *more])


def test_the_advice_of_verify_mends_what_it_reports(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmvae_bench.data.celeba18.find_photos", lambda place: find_photos(place, **FAKE.files))
    monkeypatch.setenv("MMVAE_BENCH_DATA", "elsewhere")  # The option replaces it.
    options = ["--set", "source=celeba", "--set", "size=16", "--data-root", str(root), "--workers", "0"]
    assert CliRunner().invoke(app, ["prepare", "celeba18", *options]).exit_code == 0
    assert verify(root, *options).exit_code == 0
    replace(root, range(1, 31))
    result = verify(root, *options)
    assert result.exit_code == 1
    assert "your files have changed" in result.stderr
    (advice,) = [line.split() for line in result.stderr.splitlines() if " data prepare " in line]
    follow(advice)
    assert verify(root, *options).exit_code == 0
    # Right checksums, other images: another version of a library drew them.
    original = celeba_photos.decode_and_crop
    monkeypatch.setattr(celeba_photos, "decode_and_crop", lambda content, **given: original(content, **given)[::-1])
    result = verify(root, *options)
    assert result.exit_code == 1
    remove, advice = (line.split() for line in result.stderr.splitlines() if line.startswith("  "))
    assert remove[:2] == ["rm", "-r"]
    shutil.rmtree(remove[2])
    follow(advice)
    assert verify(root, *options).exit_code == 0


def follow(advice: list[str]) -> None:
    """Does as the line says, in this process."""
    words = advice[advice.index("data") + 1 :]
    result = CliRunner().invoke(app, [*words, "--workers", "0"])
    assert result.exit_code == 0, result.output


def test_a_damaged_mnist_is_refused_by_a_used_cache_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    small, folder = make_idx_set(), tmp_path / "mnist"
    small.write(folder, gz=False)
    spec = MnistASpec.parse({"canvas": 16, "num_sources": 20, "replicas": 1, "source": "mnist"})

    def prepare() -> None:
        MnistADataModule(spec, source=MnistSource(root=tmp_path, files=small.files, download=False)).prepare_data()

    prepare()
    path = folder / small.files[0].name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for _ in range(2):
        with pytest.raises(SourceError, match="wrong md5"):
            prepare()
    path.write_bytes(content)
    prepare()
    # What is made needs its source no more.
    shutil.rmtree(folder)
    prepare()


def test_a_flipped_bit_in_the_description_of_a_prepared_mnist_a_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    data = MnistADataModule(MnistASpec.parse({"canvas": 16, "num_sources": 20, "replicas": 1}))
    data.prepare_data()
    path = data.cache_path / "meta.json"
    whole = path.read_text()
    path.write_text(whole.replace('"num_digits": 1797', '"num_digits": 1796'))
    assert not data.verify()["ok"]
    data.prepare_data()
    assert path.read_text() == whole
    # An earlier version wrote no checksum.
    old = json.loads(whole)
    del old["checksum"]
    path.write_text(json.dumps(old))
    data.prepare_data()
    assert "checksum" not in json.loads(path.read_text())
    assert data.verify()["ok"]
