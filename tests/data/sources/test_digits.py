"""MNIST from its files, and scikit-learn digits."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
import torchvision.datasets

from mmvae_bench.data.sources import SourceError
from mmvae_bench.data.sources import digits as module
from mmvae_bench.data.sources.digits import (
    FILES,
    FOLDERS,
    Digits,
    MnistSource,
    ScikitDigitsSource,
    digit_source,
    enlarge,
    parse_idx,
)

from .idx_files import IdxSet, idx, make_idx_set, md5


@pytest.fixture(scope="module")
def loaded() -> Digits:
    return ScikitDigitsSource().load()


def test_all_digits_in_their_order(loaded: Digits) -> None:
    assert loaded.images.shape == (1797, 28, 28)
    assert loaded.images.dtype == torch.uint8
    assert loaded.labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert loaded.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_they_sit_where_those_of_mnist_do(loaded: Digits) -> None:
    ink = loaded.images.double() / 255
    assert ink[:, :3].max() == ink[:, -3:].max() == ink[:, :, :3].max() == ink[:, :, -3:].max() == 0
    pixels = torch.arange(28) + 0.5
    middle = torch.stack([(ink.sum(axis) * pixels).sum(1) / ink.sum((1, 2)) for axis in (1, 2)], 1)
    assert (middle.mean(0) - 14).abs().max() < 0.5
    assert ink.mean().item() == pytest.approx(0.131, abs=0.03)


def test_enlarging_keeps_left_and_up() -> None:
    small = torch.zeros(1, 8, 8, dtype=torch.uint8)
    small[0, 1, 6] = 16
    large = enlarge(small)[0]
    row, column = divmod(int(large.argmax()), 28)
    # The middle of pixel 1 of 8 is at (1 + 1/2) x 20 / 8 + 4.
    assert abs(row + 0.5 - 7.75) <= 1
    assert abs(column + 0.5 - 20.25) <= 1


def test_other_digits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MD5", "0" * 32)
    with pytest.raises(SourceError, match="load_digits has changed"):
        ScikitDigitsSource().load()


def test_sources_by_name() -> None:
    assert isinstance(digit_source("mnist"), MnistSource)
    assert isinstance(digit_source("digits"), ScikitDigitsSource)
    with pytest.raises(ValueError, match="mnist or digits"):
        digit_source("emnist")


@pytest.fixture(scope="module")
def idx_set() -> IdxSet:
    return make_idx_set()


def source(root: Path, idx_set: IdxSet) -> MnistSource:
    return MnistSource(root=root, files=idx_set.files, download=False)


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("folder", FOLDERS)
def test_reads_every_layout(tmp_path: Path, idx_set: IdxSet, folder: str, gz: bool) -> None:
    idx_set.write(tmp_path / folder, gz=gz)
    digits = source(tmp_path, idx_set).load()
    assert np.array_equal(digits.images.numpy(), idx_set.images)
    assert np.array_equal(digits.labels.numpy(), idx_set.labels)
    assert len(digits) == 40
    assert digits.labels.dtype == torch.long


def test_the_data_root_is_that_of_the_environment(
    tmp_path: Path, idx_set: IdxSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    idx_set.write(tmp_path, gz=True)
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path))
    assert len(MnistSource(files=idx_set.files, download=False).load()) == 40


def test_what_is_expected_is_what_torchvision_expects() -> None:
    assert [(file.name + ".gz", file.packed_md5) for file in FILES] == torchvision.datasets.MNIST.resources


def test_missing_files_say_where_it_looked_and_what_to_do(tmp_path: Path, idx_set: IdxSet) -> None:
    idx_set.write(tmp_path, gz=True)
    missing = idx_set.files[1]
    (tmp_path / (missing.name + ".gz")).unlink()
    with pytest.raises(SourceError) as caught:
        source(tmp_path, idx_set).load()
    message = str(caught.value)
    assert f"missing: {missing.name}" in message
    assert message.count("missing:") == 1
    for folder in FOLDERS:
        assert f"  {(tmp_path / folder).resolve()}\n" in message
    for file in idx_set.files:
        assert file.md5 in message
        assert file.packed_md5 in message
    assert "MMVAE_BENCH_DATA" in message
    assert "source=digits" in message


def test_truncated_gzip_names_the_file_and_both_md5s(tmp_path: Path, idx_set: IdxSet) -> None:
    idx_set.write(tmp_path, gz=True)
    path = tmp_path / (idx_set.files[0].name + ".gz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SourceError, match="truncated or damaged gzip") as caught:
        source(tmp_path, idx_set).load()
    assert str(path) in str(caught.value)
    assert md5(path.read_bytes()) in str(caught.value)
    assert idx_set.files[0].packed_md5 in str(caught.value)
    assert "delete the damaged files" in str(caught.value)


def test_every_wrong_file_is_named(tmp_path: Path, idx_set: IdxSet) -> None:
    idx_set.write(tmp_path, gz=False)
    for file in idx_set.files[:2]:
        (tmp_path / file.name).write_bytes(idx_set.contents[file.name][:-1])
    with pytest.raises(SourceError) as caught:
        source(tmp_path, idx_set).load()
    for file in idx_set.files[:2]:
        found = md5(idx_set.contents[file.name][:-1])
        assert f"{tmp_path / file.name}: wrong md5 {found}, expected {file.md5}" in str(caught.value)


def test_a_wrong_file_does_not_hide_a_right_one(tmp_path: Path, idx_set: IdxSet) -> None:
    idx_set.write(tmp_path, gz=False)
    idx_set.write(tmp_path / "mnist", gz=True)
    (tmp_path / idx_set.files[2].name).write_bytes(b"not it")
    assert len(source(tmp_path, idx_set).load()) == 40


def test_a_file_packed_again_is_accepted_for_its_content(tmp_path: Path, idx_set: IdxSet) -> None:
    idx_set.write(tmp_path, gz=True)
    name = idx_set.files[0].name
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx_set.contents[name], compresslevel=1, mtime=1))
    assert len(source(tmp_path, idx_set).load()) == 40


def test_gzip_of_something_else_is_refused(tmp_path: Path, idx_set: IdxSet) -> None:
    idx_set.write(tmp_path, gz=True)
    name = idx_set.files[0].name
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(SourceError, match="wrong md5"):
        source(tmp_path, idx_set).load()


@pytest.fixture
def mirror(tmp_path: Path, idx_set: IdxSet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server on this machine from which torchvision downloads the test's files."""
    folder = idx_set.write(tmp_path / "mirror", gz=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        resources = [(file.name + ".gz", file.packed_md5) for file in idx_set.files]
        monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
        yield folder
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.usefixtures("mirror")
def test_downloads_what_is_missing_with_torchvision(
    tmp_path: Path, idx_set: IdxSet, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = MnistSource(root=tmp_path / "new", files=idx_set.files).load()
    assert np.array_equal(digits.images.numpy(), idx_set.images)
    assert (tmp_path / "new" / "MNIST" / "raw" / idx_set.files[0].name).exists()
    assert capsys.readouterr().out == ""


def test_a_download_that_fails_is_reported_with_the_rest(tmp_path: Path, idx_set: IdxSet, mirror: Path) -> None:
    for path in mirror.iterdir():
        path.unlink()
    with pytest.raises(SourceError, match=r"download: .*train-images.*404") as caught:
        MnistSource(root=tmp_path / "new", files=idx_set.files).load()
    assert str(caught.value).count("missing:") == 4
    assert "offline:" in str(caught.value)


def test_a_data_root_that_cannot_be_written_is_reported(tmp_path: Path, idx_set: IdxSet) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SourceError, match=r"download: .*Error"):
        MnistSource(root=tmp_path / "file", files=idx_set.files).load()


def test_the_checksum_is_known_before_anything_is_read(idx_set: IdxSet) -> None:
    assert MnistSource().checksum == MnistSource(root=Path("nowhere")).checksum
    assert MnistSource().checksum != MnistSource(files=idx_set.files).checksum


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)])
def test_idx_is_read_in_any_number_of_dimensions(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    assert np.array_equal(parse_idx(idx(array)).numpy(), array)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08", b"\0\0\x08\1\0\0", b"\0\0\x08\1\0\0\0\5abc", b"\0\0\x09\1\0\0\0\0"]
)
def test_what_is_not_idx_is_refused(content: bytes) -> None:
    with pytest.raises(SourceError, match="not an idx file"):
        parse_idx(content)


def test_real_mnist() -> None:
    root = os.environ.get("MMVAE_BENCH_DATA")
    if root is None or not any((Path(root) / folder / "train-images-idx3-ubyte.gz").exists() for folder in FOLDERS):
        pytest.skip("MMVAE_BENCH_DATA does not hold MNIST")
    digits = MnistSource(download=False).load()
    assert digits.images.shape == (70_000, 28, 28)
    # The published counts of the training and of the test digits.
    assert digits.labels[:60_000].bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert digits.labels[60_000:].bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert digits.images[:60_000].double().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)
