"""Files that claim to be huge, are encrypted, cut off or no files at all: one error, little memory, no waiting."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data.sources import SourceError
from mmvae_bench.data.sources.celeba_photos import CroppedPhotos, find_photos
from mmvae_bench.data.sources.celeba_rows import image_name
from mmvae_bench.data.sources.digits import MnistSource, parse_idx
from mmvae_bench.specs.built_in.datasets import CELEBA18_NAMES

from .celeba_copy import FakeCelebA, photo
from .idx_files import make_idx_set

pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
FAKE = FakeCelebA(num=24, size=(89, 109))


@contextmanager
def little_memory(megabytes: int = 150) -> Iterator[None]:
    """Python's own allocations never reach that much."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 2**20
    finally:
        tracemalloc.stop()


def refused(root: Path) -> str:
    """The one error with which the photographs are refused."""
    with little_memory(), pytest.raises(BenchmarkError) as caught:
        CroppedPhotos(find_photos(root, **FAKE.files), size=16).make(0, 4)
    return str(caught.value)


def png(width: int, height: int, *, extra: bytes = b"") -> bytes:
    """A picture of one colour, or the header of one."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(bytes(100)))


def text_bomb() -> bytes:
    """A compressed comment of 100 MB."""
    content = b"Comment\0\0" + zlib.compress(bytes(100 * 2**20), 9)
    chunk = struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(">I", zlib.crc32(b"zTXt" + content))
    return png(89, 109, extra=chunk)


PICTURES: dict[str, Callable[[], bytes]] = {
    "a bomb by Pillow's measure": lambda: png(44_500, 54_500),
    "large, of the right shape": lambda: png(8_900, 10_900),
    "of two thousand million pixels": lambda: png(2**31 - 1, 1),
    "with a comment of 100 MB": text_bomb,
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 89 109\n%%EndComments\nshowpage\n",
    "17 MB of zeros": lambda: bytes(17 * 2**20),
}


@pytest.mark.parametrize("position", [1, 3])
@pytest.mark.parametrize("picture", PICTURES)
def test_pictures_that_claim_too_much(tmp_path: Path, picture: str, position: int) -> None:
    FAKE.write_texts(tmp_path)
    folder = FAKE.write_images(tmp_path)
    (folder / image_name(position)).write_bytes(PICTURES[picture]())
    assert image_name(position) in refused(tmp_path)


def test_a_pipe_in_place_of_a_photograph(tmp_path: Path) -> None:
    FAKE.write_texts(tmp_path)
    folder = FAKE.write_images(tmp_path)
    (folder / image_name(2)).unlink()
    os.mkfifo(folder / image_name(2))
    assert f"{image_name(2)}: not a regular file" in refused(tmp_path)


def zipped(folder: Path) -> tuple[Path, bytearray, int, int]:
    """An archive, and where in it the entries of image 2 begin: in front of its content and in the directory."""
    path = FAKE.write_images(folder, "zip")
    content = bytearray(path.read_bytes())
    name = f"img_align_celeba/{image_name(2)}".encode()
    first = content.index(name)
    return path, content, first - 30, content.index(name, first + 1) - 46


def test_an_encrypted_archive(tmp_path: Path) -> None:
    FAKE.write_texts(tmp_path)
    path, content, local, central = zipped(tmp_path)
    content[local + 6] |= 1
    content[central + 8] |= 1
    path.write_bytes(content)
    assert f"{image_name(2)}: encrypted: unpack the archive with its password" in refused(tmp_path)


def test_a_member_of_a_zip_that_claims_to_be_huge(tmp_path: Path) -> None:
    FAKE.write_texts(tmp_path)
    path, content, local, central = zipped(tmp_path)
    for place in (local + 22, central + 24):
        content[place : place + 4] = (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(content)
    assert f"{image_name(2)}: 4,294,967,294 bytes, at most 16,777,216 expected" in refused(tmp_path)


def test_a_member_of_a_zip_that_unpacks_to_much_more(tmp_path: Path) -> None:
    FAKE.write_texts(tmp_path)
    path = FAKE.write_images(tmp_path, "zip", ids=range(3, 25))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"img_align_celeba/{image_name(1)}", photo(1, FAKE.size))
        archive.writestr(f"img_align_celeba/{image_name(2)}", bytes(64 * 2**20))
    assert f"{image_name(2)}: 67,108,864 bytes, at most" in refused(tmp_path)


def test_a_flipped_bit_in_a_zip(tmp_path: Path) -> None:
    FAKE.write_texts(tmp_path)
    path, content, local, _ = zipped(tmp_path)
    content[local + 300] ^= 4
    path.write_bytes(content)
    assert f"{image_name(2)}: Bad CRC-32" in refused(tmp_path)


def test_a_damaged_header_in_the_middle_of_a_tar_is_not_its_end(tmp_path: Path) -> None:
    """For tarfile it is: the photographs after it would be missing without a word."""
    FAKE.write_texts(tmp_path)
    path = FAKE.write_images(tmp_path, "tar")
    content = bytearray(path.read_bytes())
    header = content.index(f"img_align_celeba/{image_name(12)}".encode())
    content[header] ^= 1
    path.write_bytes(content)
    assert f"damaged or cut off at byte {header:,}, after 11 files" in refused(tmp_path)
    path.write_bytes(path.read_bytes()[:header])
    assert f"damaged or cut off at byte {header:,}, after 11 files" in refused(tmp_path)


def test_a_member_of_a_tar_that_claims_to_be_huge(tmp_path: Path) -> None:
    FAKE.write_texts(tmp_path)
    with tarfile.open(tmp_path / "img_align_celeba.tar", "w") as archive:
        for number in (1, 2):
            member = tarfile.TarInfo(f"img_align_celeba/{image_name(number)}")
            member.size = len(photo(number, FAKE.size))
            archive.addfile(member, io.BytesIO(photo(number, FAKE.size)))
        huge = tarfile.TarInfo(f"img_align_celeba/{image_name(3)}")
        huge.size = 2**30
        archive.fileobj.write(huge.tobuf())  # type: ignore[union-attr]
        archive.fileobj.truncate(archive.fileobj.tell() + 2**30 + 10240)  # type: ignore[union-attr]
        archive.closed = True
    assert f"{image_name(3)}: 1,073,741,824 bytes, at most" in refused(tmp_path)


def test_a_list_that_unpacks_without_end(tmp_path: Path) -> None:
    FAKE.write_images(tmp_path)
    FAKE.write_texts(tmp_path)
    (tmp_path / "list_attr_celeba.txt").write_bytes(gzip.compress(bytes(65 * 2**20), 9))
    assert "list_attr_celeba.txt: cannot be read (more than 67,108,864 bytes when unpacked)" in refused(tmp_path)


@pytest.mark.parametrize("damage", ["bomb", "huge", "fifo", "folder", "flipped"])
def test_idx_files_that_are_not(tmp_path: Path, damage: str) -> None:
    small = make_idx_set()
    small.write(tmp_path, gz=True)
    path = tmp_path / f"{small.files[0].name}.gz"
    content = path.read_bytes()
    path.unlink()
    if damage == "bomb":
        path.write_bytes(gzip.compress(bytes(65 * 2**20), 9))
        expected = "more than 67,108,864 bytes when unpacked"
    elif damage == "huge":
        with path.open("wb") as file:
            file.truncate(2**33)
        expected = "8,589,934,592 bytes, at most 67,108,864 expected"
    elif damage == "flipped":
        path.write_bytes(content[:200] + bytes([content[200] ^ 16]) + content[201:])
        expected = r"truncated or damaged gzip|wrong md5"
    else:
        os.mkfifo(path) if damage == "fifo" else path.mkdir()
        expected = f"missing: {small.files[0].name}"
    with little_memory(), pytest.raises(SourceError, match=expected) as caught:
        MnistSource(root=tmp_path, files=small.files, download=False).load()
    assert str(path) in str(caught.value) or damage in ("fifo", "folder")


@pytest.mark.parametrize(
    "content",
    [
        bytes([0, 0, 8, 3]) + 3 * b"\x7f\xff\xff\xff" + bytes(100),
        bytes([0, 0, 8, 255]) + bytes(4 * 255),
        bytes([0, 0, 8, 200]) + 200 * b"\xff\xff\xff\xff",
    ],
)
def test_an_idx_header_that_claims_what_is_not_there(content: bytes) -> None:
    with little_memory(), pytest.raises(SourceError, match="not an idx file of bytes"):
        parse_idx(content)


@pytest.mark.parametrize("damage", ["cut off", "no parquet", "empty", "flipped", "no bytes", "texts", "huge"])
def test_parquet_files_that_are_not(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "celeba" / "train.parquet"
    path.parent.mkdir()
    images: list[object] = [{"bytes": photo(number + 1, FAKE.size), "path": None} for number in range(24)]
    if damage == "no bytes":
        images = [{"bytes": None, "path": "/etc/passwd"}] * 24
    elif damage == "texts":
        images = ["/etc/passwd"] * 24
    elif damage == "huge":
        images[2] = {"bytes": bytes(17 * 2**20), "path": None}
    labels = {name: FAKE.concepts[:, place].tolist() for place, name in enumerate(CELEBA18_NAMES)}
    pq.write_table(pa.table({"image": images, **labels}), path, compression="zstd", write_page_checksum=True)
    content = path.read_bytes()
    if damage == "cut off":
        path.write_bytes(content[:-2000])
    elif damage == "no parquet":
        path.write_bytes(b"PAR1" + bytes(500) + b"PAR1")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flipped":
        path.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    message = refused(tmp_path)
    assert str(path) in message or str(path.parent) in message


def test_a_parquet_file_that_says_one_thing_a_thousand_times(tmp_path: Path) -> None:
    """4 MB in the file, 4 GB as a column."""
    path = tmp_path / "celeba" / "train.parquet"
    path.parent.mkdir()
    content = photo(1, FAKE.size).ljust(4 * 2**20, b"\0")
    labels = {name: [True] * 1000 for name in CELEBA18_NAMES}
    images = pa.DictionaryArray.from_arrays(pa.array([0] * 1000), pa.array([content], pa.binary()))
    pq.write_table(pa.table({"image": images, **labels}), path)
    before = pa.total_allocated_bytes()
    recipe = CroppedPhotos(find_photos(tmp_path), size=16)
    assert recipe.make(500, 501).pixels.shape == (1, 16, 16, 3)
    assert pa.total_allocated_bytes() - before < 100 * 2**20


def test_a_saved_copy_that_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "celeba").mkdir()
    for content in ('{"splits": ["train"]}', "[]", "{", '{"splits": 5}'):
        (tmp_path / "celeba" / "dataset_dict.json").write_text(content)
        assert f"{tmp_path / 'celeba'}: damaged, or not written by save_to_disk" in refused(tmp_path)


def test_photographs_at_half_size_are_still_read(tmp_path: Path) -> None:
    """A bound must not refuse what is good: lossless pictures in a parquet file."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (436, 356, 3)).astype(np.uint8)).save(buffer, "PNG")
    FAKE.write_texts(tmp_path)
    folder = FAKE.write_images(tmp_path)
    for number in range(1, 25):
        (folder / image_name(number)).write_bytes(buffer.getvalue())
    assert CroppedPhotos(find_photos(tmp_path, **FAKE.files), size=16).make(0, 24).pixels.std() > 0
