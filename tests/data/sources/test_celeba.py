"""CelebA's photographs and annotations: what is found, what is refused, and that the crop is the published one."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from mmvae_bench.data.sources import SourceError
from mmvae_bench.data.sources.celeba_files import find_files
from mmvae_bench.data.sources.celeba_photos import CroppedPhotos, Photos, decode_and_crop, find_photos
from mmvae_bench.data.sources.celeba_rows import ATTRIBUTES, NUM_IMAGES, PARTITION, image_name, read_rows
from mmvae_bench.specs.built_in.datasets import CELEBA18_NAMES

from .celeba_copy import FakeCelebA, photo, real_folder, real_rows

FAKE = FakeCelebA()


def find(root: Path, fake: FakeCelebA = FAKE) -> Photos:
    return find_photos(root, **fake.files)


def test_what_is_expected_is_what_torchvision_expects() -> None:
    expected = {name: md5 for _, md5, name in torchvision.datasets.CelebA.file_list}
    assert {file.name: file.md5 for file in (ATTRIBUTES, PARTITION)}.items() <= expected.items()


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("place", ["celeba", "."])
@pytest.mark.parametrize("layout", ["folder", "tar", "zip"])
def test_every_layout_gives_the_same_images(tmp_path: Path, layout: str, place: str, gz: bool) -> None:
    fake = FakeCelebA(num=23, size=(89, 109))
    fake.write_texts(tmp_path / place, gz=gz)
    fake.write_images(tmp_path / place, layout)
    photos = find(tmp_path, fake)
    assert photos.rows.ids.tolist() == list(range(1, 24))
    assert np.array_equal(photos.rows.concepts, fake.concepts)
    assert np.array_equal(photos.rows.partition, fake.partition)
    made = CroppedPhotos(photos, size=16).make(5, 9)
    assert np.array_equal(made.concepts, fake.concepts[5:9])
    for place_in_shard, number in enumerate(range(6, 10)):
        expected = decode_and_crop(photo(number, fake.size), photo_size=fake.size, size=16)
        assert np.array_equal(made.pixels[place_in_shard], expected)


def keys_bicubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -1/2."""
    x = abs(x)
    return np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0.0))


def resampling(num: int, start: float, stop: float, size: int) -> np.ndarray:
    """The antialiased bicubic filter from ``num`` pixels to ``size`` pixels between two places: Double[size, num]."""
    scale = (stop - start) / size
    centres = start + (np.arange(size) + 0.5) * scale
    pixels = np.arange(num) + 0.5
    # Nothing is read outside the crop: whole pixels that it touches.
    inside = (pixels > np.floor(start)) & (pixels < np.ceil(stop))
    weights = keys_bicubic((pixels - centres[:, None]) / scale) * inside
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("size", "side", "x", "y"),
    [
        ((178, 218), 148, (15, 163), (40, 188)),
        ((89, 109), 148, (7.5, 81.5), (20, 94)),
        ((178, 218), 128, (25, 153), (48, 176)),
        ((89, 109), 128, (12.5, 76.5), (24, 88)),
    ],
)
def test_the_crop_is_bicubic_with_antialiasing_at_the_published_place(
    size: tuple[int, int], side: int, x: tuple[float, float], y: tuple[float, float]
) -> None:
    content = photo(3, size)
    pixels = np.asarray(Image.open(io.BytesIO(content))).astype(float)
    across, down = resampling(size[0], *x, 64), resampling(size[1], *y, 64)
    expected = np.einsum("ij,jkc,lk->ilc", down, pixels, across).clip(0, 255)
    found = decode_and_crop(content, photo_size=size, size=64, side=side)
    # Pillow rounds after each axis and works with weights of 8 bits.
    assert abs(found - expected).max() < 1.6
    assert abs(found - expected).mean() < 0.4


def test_another_crop_is_another_set_of_images(tmp_path: Path) -> None:
    FAKE.write_texts(tmp_path)
    FAKE.write_images(tmp_path)
    wide, close = (CroppedPhotos(find(tmp_path), size=16, side=side) for side in (148, 128))
    assert wide.describe() == CroppedPhotos(find(tmp_path), size=16).describe() != close.describe()
    expected = decode_and_crop(photo(1, FAKE.size), photo_size=FAKE.size, size=16, side=128)
    assert np.array_equal(close.make(0, 1).pixels[0], expected)
    assert not np.array_equal(wide.make(0, 1).pixels[0], expected)


def test_a_partial_copy_says_how_many_there_are(tmp_path: Path) -> None:
    FAKE.write_texts(tmp_path)
    FAKE.write_images(tmp_path, ids=range(4, 11))
    photos = find(tmp_path)
    assert photos.rows.ids.tolist() == list(range(4, 11))
    assert np.array_equal(photos.rows.concepts, FAKE.concepts[3:10])
    about = photos.describe()
    assert (about["photos"], about["missing"], about["annotated"]) == (7, 33, 40)
    assert not about["complete"]


def test_a_subset_is_evenly_spread(tmp_path: Path) -> None:
    FAKE.write_texts(tmp_path)
    FAKE.write_images(tmp_path)
    cropped = CroppedPhotos(find(tmp_path), size=16, num_images=4)
    assert cropped.make(0, 4).columns["id"].tolist() == [1, 11, 21, 31]
    with pytest.raises(SourceError, match=r"num_images is 41, but .* has only 40 photographs"):
        CroppedPhotos(find(tmp_path), size=16, num_images=41)


def test_the_checksum_depends_on_what_is_there(tmp_path: Path) -> None:
    checksums = set()
    for name, fake, ids in (
        ("all", FAKE, None),
        ("some", FAKE, range(1, 30)),
        ("half", FakeCelebA(size=(89, 109)), None),
    ):
        fake.write_texts(tmp_path / name)
        fake.write_images(tmp_path / name, ids=ids)
        checksums.add(find(tmp_path / name, fake).checksum)
    assert len(checksums) == 3
    FAKE.write_texts(tmp_path / "zip")
    FAKE.write_images(tmp_path / "zip", "zip")
    assert find(tmp_path / "zip").checksum in checksums


def test_images_without_a_row_are_named(tmp_path: Path) -> None:
    FAKE.write_texts(tmp_path)
    folder = FAKE.write_images(tmp_path)
    for number in (41, 77):
        (folder / image_name(number)).write_bytes(photo(number))
    with pytest.raises(SourceError, match=r"2 of 42 images have no row .*000041\.jpg, 000077\.jpg"):
        find(tmp_path)


@pytest.mark.parametrize("layout", ["folder", "tar", "zip"])
def test_every_damaged_image_is_named(tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(number: int, size: tuple[int, int]) -> bytes:
        whole = photo(number, (100, 122) if number == 9 else size)
        return {3: whole[: len(whole) // 2], 5: b"", 7: b"no image at all"}.get(number, whole)

    monkeypatch.setattr("tests.data.sources.celeba_copy.photo", damaged)
    FAKE.write_texts(tmp_path)
    FAKE.write_images(tmp_path, layout)
    recipe = CroppedPhotos(find(tmp_path), size=16)
    with pytest.raises(SourceError) as caught:
        recipe.make(0, 4)  # Those beyond are named too: they are to be mended in one go.
    message = str(caught.value)
    assert "4 of 40 images cannot be used" in message
    assert "000005.jpg: an empty file" in message
    assert "000007.jpg: not an image (15 bytes)" in message
    for number in range(1, 21):
        assert (image_name(number) in message) == (number in (3, 5, 7, 9))
    assert "100x122, the first image is 178x218" in message
    assert "truncated" in message
    assert len(recipe.make(20, 30).pixels) == 10


def test_an_image_that_vanishes_is_named(tmp_path: Path) -> None:
    FAKE.write_texts(tmp_path)
    folder = FAKE.write_images(tmp_path)
    recipe = CroppedPhotos(find(tmp_path), size=16)
    (folder / image_name(12)).unlink()
    with pytest.raises(SourceError, match=r"000012\.jpg: .*No such file"):
        recipe.make(0, 20)


@pytest.mark.parametrize("layout", ["tar", "zip"])
def test_a_truncated_archive_is_refused(tmp_path: Path, layout: str) -> None:
    FAKE.write_texts(tmp_path)
    path = FAKE.write_images(tmp_path, layout)
    path.write_bytes(path.read_bytes()[:-30_000])
    with pytest.raises(SourceError, match=f"{path.name}.*copy"):
        CroppedPhotos(find(tmp_path), size=16).make(0, 40)


def test_an_image_twice_in_an_archive_is_refused(tmp_path: Path) -> None:
    folder = FAKE.write_images(tmp_path)
    (folder / "000003.jpeg").write_bytes(b"")
    with pytest.raises(SourceError, match=r"twice, the first: 000003\.jpg"):
        find_files(tmp_path)


def test_images_of_another_shape_are_refused(tmp_path: Path) -> None:
    fake = FakeCelebA(size=(178, 178))
    fake.write_texts(tmp_path)
    fake.write_images(tmp_path, ids=range(1, 4))
    with pytest.raises(SourceError, match=r"178x178.*178x218"):
        find(tmp_path, fake)


def test_nothing_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        find(tmp_path)
    for part in (
        "img_align_celeba/000001.jpg",
        "list_attr_celeba.txt",
        ATTRIBUTES.md5,
        "MMVAE_BENCH_DATA",
        "source=drawn",
    ):
        assert part in str(caught.value)
    assert str((tmp_path / "celeba").resolve()) in str(caught.value)


def test_images_without_annotations(tmp_path: Path) -> None:
    FAKE.write_images(tmp_path)
    with pytest.raises(SourceError, match=r"no list_attr_celeba\.txt, plain or with \.gz"):
        find(tmp_path)


def test_a_changed_annotation_file_is_refused(tmp_path: Path) -> None:
    FAKE.write_texts(tmp_path)
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text(path.read_text().replace(" 1", "-1", 1))
    with pytest.raises(SourceError, match=r"list_attr_celeba\.txt: wrong md5 .* expected"):
        read_rows([tmp_path], **FAKE.files)


def test_a_truncated_gzip_is_refused(tmp_path: Path) -> None:
    FAKE.write_texts(tmp_path, gz=True)
    path = tmp_path / "list_eval_partition.txt.gz"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(SourceError, match=r"list_eval_partition\.txt\.gz: cannot be read"):
        read_rows([tmp_path], **FAKE.files)


def test_annotations_that_disagree_with_each_other(tmp_path: Path) -> None:
    other = FakeCelebA(num=39)
    FAKE.write_texts(tmp_path)
    (tmp_path / "list_eval_partition.txt").write_text(other.texts["list_eval_partition.txt"])
    with pytest.raises(SourceError, match=r"40 images and .* 39, .*first in 000040\.jpg"):
        read_rows([tmp_path], attributes=FAKE.files["attributes"], partition=other.files["partition"])


def test_real_rows_are_those_of_the_paper() -> None:
    rows = real_rows()
    assert len(rows) == NUM_IMAGES
    assert np.bincount(rows.partition).tolist() == [162_770, 19_867, 19_962]
    training, test = rows.concepts[rows.partition == 0], rows.concepts[rows.partition == 2]
    known = {row.tobytes() for row in training}
    assert len(known) == 3690
    assert sum(row.tobytes() not in known for row in test) == 138
    bald, male = CELEBA18_NAMES.index("Bald"), CELEBA18_NAMES.index("Male")
    assert int(((training[:, bald] == 1) & (training[:, male] == 0)).sum()) == 9


def test_real_photographs() -> None:
    photos = find_photos(real_folder().parent)
    made = CroppedPhotos(photos, size=64, num_images=50).make(0, 50)
    assert made.pixels.shape == (50, 64, 64, 3)
    # A face fills the middle: on average it is lighter than the lower corners and its colour is that of skin.
    middle = made.pixels[:, 28:44, 24:40].mean((0, 1, 2))
    assert middle[0] > middle[1] > middle[2]
