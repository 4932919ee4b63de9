"""LFW and CUB from made-up copies in the form in which they are distributed: what is read, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.cli import main
from mmvae_bench.conformance.data import CHECKS
from mmvae_bench.data.augmentation import AugmentedBatches, drawn_numbers
from mmvae_bench.data.photographs import CUBDataModule, LFWDataModule, Photographs, lfw_image
from mmvae_bench.data.shards.export import export
from mmvae_bench.data.sources import MissingSourceError, SourceError
from mmvae_bench.data.sources import lfw as lfw_files
from mmvae_bench.data.sources.cub import find_cub
from mmvae_bench.data.sources.lfw import find_lfw
from mmvae_bench.evaluation.regions import scored_regions
from mmvae_bench.specs.augmentation import AugmentationSpec
from mmvae_bench.specs.built_in.photographs import CUB_NAMES, LFW_NAMES, CUBSpec, LFWSpec
from mmvae_bench.specs.components import datasets
from mmvae_bench.specs.trial import TrialSpec

from .sources.photograph_copies import PEOPLE, UNSCORED, CUBCopy, LFWCopy, encoded

SIZE = 32


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a space in its name."""
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path / "my data"))
    return tmp_path / "my data"


def ready(data: Any) -> Any:
    data.workers = 0
    data.prepare_data()
    data.setup()
    return data


def lfw(copy: LFWCopy, **settings: Any) -> Any:
    spec = LFWSpec.parse({"source": "files", "size": SIZE} | settings)
    return ready(LFWDataModule(spec, photos=find_lfw(copy.root, masked=spec.masked, md5=copy.md5())))


def cub(copy: CUBCopy, **settings: Any) -> Any:
    return ready(CUBDataModule(CUBSpec.parse({"source": "files", "size": SIZE} | settings)))


def test_the_attributes_are_those_of_the_papers() -> None:
    assert (len(LFW_NAMES), len(set(LFW_NAMES))) == (73, 73)
    assert (len(CUB_NAMES), len(set(CUB_NAMES))) == (312, 312)
    assert len({name.split("::")[0] for name in CUB_NAMES}) == 28
    for spec in (LFWSpec(source="files"), CUBSpec(source="files")):
        schema = spec.concept_schema()
        text = schema.format([1] * len(schema))
        assert schema.indices(text) == (1,) * len(schema)


def test_faces_scores_and_the_split_of_view_1(folders: Path) -> None:
    copy = LFWCopy(folders)
    copy.write()
    data = lfw(copy)
    scored = [place for place, key in enumerate(copy.keys) if key != UNSCORED]
    assert len(data.store) == len(scored) == 28
    train, val, test = (data.rows(part).tolist() for part in ("train", "val", "test"))
    # 21 photographs of the first list have scores: floor(0.9 * 21) train, the others validate.
    assert (train, val, test) == (list(range(18)), [18, 19, 20], list(range(21, 28)))
    people = [{copy.keys[scored[row]][0] for row in rows} for rows in (train + val, test)]
    assert people == [set(PEOPLE["peopleDevTrain.txt"]), set(PEOPLE["peopleDevTest.txt"])]
    batch = data.store.batch(torch.arange(28))
    scores = torch.from_numpy(copy.scores[scored]).float()
    assert torch.equal(batch.strength, scores)
    assert torch.equal(batch.concept, (scores > 0).long())
    assert batch.concept[0, 0] == 0, "a score of 0 is no"
    assert batch.mask is None
    scored_view = lfw(copy, view="strengths")
    assert scored_view.fingerprint == data.fingerprint
    assert torch.equal(scored_view.store.batch(torch.arange(28)).description[:, 1::2], (1 + scores) / 2)
    for row in (0, 9, 27):
        path = folders / "lfw" / "lfw-deepfunneled" / f"{copy.stem(*copy.keys[scored[row]])}.jpg"
        with Image.open(path) as photo:
            middle = photo.convert("RGB").crop((65, 65, 185, 185)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        expected = torch.from_numpy(np.array(middle)).permute(2, 0, 1).float() / 255
        torch.testing.assert_close(batch.image[row], expected)
    assert data.describe()["photographs"]["without_scores"] == 1
    assert data.verify()["ok"]
    assert list(scored_regions(data.spec)) == ["right", "bottom-right", "eyes", "mouth", "face"]


def test_the_paper_s_numbers_of_images_follow_from_the_rule() -> None:
    assert lfw_files.num_trained(9464) == 8517
    assert 9464 - lfw_files.num_trained(9464) == 947


def test_masks_are_the_user_s_own_and_optional(folders: Path) -> None:
    copy = LFWCopy(folders)
    copy.write(masks=lambda place: place % 2 == 0)
    data = lfw(copy, masked=True)
    kept = [place for place, key in enumerate(copy.keys) if key != UNSCORED and place % 2 == 0]
    assert len(data.store) == len(kept)
    assert data.describe()["photographs"]["without_mask"] == 28 - len(kept)
    batch = data.store.batch(torch.arange(len(kept)))
    for row, place in enumerate(kept):
        y, x = (65 + (np.mgrid[0:SIZE, 0:SIZE] + 0.5) * 120 / SIZE) - 0.5
        away = np.sqrt((y - 120 - place) ** 2 + (x - 125 + place) ** 2) - 40
        clear = np.abs(away) > 3
        assert np.array_equal(batch.mask[row, 0].numpy()[clear], (away < 0)[clear])
        assert batch.mask[row, 0].any()
    plain = {"dataset": {"name": "lfw", "source": "files", "size": SIZE}, "backbone": "attribute2image_thin"}
    with pytest.raises(ConfigError, match=r"lfw has none: masked: true reads masks of your own"):
        TrialSpec.parse(plain | {"objective": "discvae"})
    TrialSpec.parse(plain | {"objective": {"name": "cvae", "prior": "standard"}})
    TrialSpec.parse({**plain, "objective": "discvae", "dataset": {**plain["dataset"], "masked": True}})  # type: ignore[dict-item]


def test_birds_are_cut_out_around_their_masks(folders: Path) -> None:
    copy = CUBCopy(folders)
    copy.write()
    data = cub(copy)
    rows = torch.arange(40)
    batch = data.store.batch(rows)
    wide = data.widened(batch)
    assert torch.equal(batch.concept, torch.from_numpy(copy.labels))
    assert batch.strength is None
    for k in (0, 7, 39):
        top, bottom, left, right = copy.box(k)
        with Image.open(folders / "CUB_200_2011" / "images" / copy.files[k]) as photo:
            bird = photo.convert("RGB").crop((left, top, right, bottom))
            for side in (40, 36):
                bird = bird.resize((side, side), Image.Resampling.BICUBIC)
        expected = torch.from_numpy(np.array(bird)).permute(2, 0, 1).float() / 255
        torch.testing.assert_close(wide.image[k], expected)
        torch.testing.assert_close(batch.image[k], expected[:, 2:34, 2:34])
        # The corner of the rectangle is outside; all else is inside.
        mask = np.ones((36, 36), bool)
        across, down = 4 * 36 / (right - left), 4 * 36 / (bottom - top)
        mask[: int(down) - 1, : int(across) - 1] = False
        clear = np.ones((36, 36), bool)
        clear[int(down) - 1 : int(down) + 2, : int(across) + 2] = False
        clear[: int(down) + 2, int(across) - 1 : int(across) + 2] = False
        assert np.array_equal(wide.mask[k, 0].numpy()[clear], mask[clear])
        assert torch.equal(batch.mask[k, 0], wide.mask[k, 0, 2:34, 2:34])
    assert list(scored_regions(data.spec)) == ["right", "bottom-right", "random-8", "random-16"]


def test_birds_are_exported_with_their_margin(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is imported is the same store, from which windows can be cut."""
    copy = CUBCopy(folders)
    copy.write()
    data = cub(copy)
    export(data, tmp_path / "out")
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "other"))
    fresh = CUBDataModule(data.spec)
    fresh.workers = 0
    fresh.import_from(tmp_path / "out")
    fresh.setup()
    rows = torch.arange(40)
    found, wide = (each.widened(each.store.batch(rows)) for each in (fresh, data))
    assert torch.equal(found.image, wide.image)
    assert torch.equal(found.mask, wide.mask)
    assert torch.equal(fresh.store.batch(rows).image, data.store.batch(rows).image)
    assert fresh.verify()["ok"]


def test_every_tenth_training_bird_validates(folders: Path) -> None:
    copy = CUBCopy(folders)
    copy.write(beside=True)
    data = cub(copy)
    training = [k for k in range(40) if copy.training[k]]
    assert data.rows("val").tolist() == training[9::10]
    assert data.rows("train").tolist() == [k for k in training if k not in training[9::10]]
    assert data.rows("test").tolist() == [k for k in range(40) if not copy.training[k]]
    assert len(cub(copy, num_images=20).store) == 20
    with pytest.raises(SourceError, match=r"num_images is 41, but .* has only 40 photographs that can be used"):
        cub(copy, num_images=41)


def test_a_window_is_one_of_the_stored_margin(folders: Path) -> None:
    copy = CUBCopy(folders)
    copy.write()
    data = cub(copy)
    batch = data.store.batch(data.rows("train")[:8])
    window = AugmentationSpec.parse({"flip": 0, "gain": 0, "sharpening": 0, "window": True})
    (found,) = AugmentedBatches([batch], window, data, seed=0, stage="fit", start=5)
    whole, drawn = data.widened(batch), drawn_numbers(8, 3, seed=0, stage="fit", step=5)
    for k in range(8):
        top, left = (int(drawn[k, which].item() * 5) for which in (2, 3))
        assert torch.equal(found.image[k], whole.image[k, :, top : top + SIZE, left : left + SIZE])
        assert torch.equal(found.mask[k], whole.mask[k, :, top : top + SIZE, left : left + SIZE])
    assert found.image.shape == batch.image.shape
    assert not torch.equal(found.image, batch.image)


@pytest.mark.parametrize("name", ["lfw", "cub"])
def test_they_are_what_is_relied_on_of_any_dataset(name: str, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy: LFWCopy | CUBCopy = LFWCopy(folders) if name == "lfw" else CUBCopy(folders)
    copy.write(**({"masks": lambda place: True} if name == "lfw" else {}))
    if isinstance(copy, LFWCopy):
        monkeypatch.setattr(lfw_files, "MD5", copy.md5())
    settings = {"name": name, "source": "files", "size": SIZE} | ({"masked": True} if name == "lfw" else {})
    spec = datasets.parse(settings)
    for check in CHECKS:
        check(spec)


def test_the_files_are_followed_wherever_they_are_and_noticed_when_they_change(folders: Path) -> None:
    copy = CUBCopy(folders)
    copy.write()
    first = cub(copy)
    moved = folders.parent / "elsewhere"
    folders.rename(moved)
    CUBCopy(folders).write(beside=True)
    assert cub(copy).fingerprint == first.fingerprint
    before = first.store.batch(torch.arange(1)).image
    path = folders / "CUB_200_2011" / "images" / copy.files[0]
    path.write_bytes(encoded(255 - np.zeros((*copy.size(0), 3), np.uint8), "JPEG"))
    after = cub(copy)
    assert after.fingerprint == first.fingerprint
    assert not torch.equal(after.store.batch(torch.arange(1)).image, before)


BAD_CUB = [
    (
        "attributes/image_attribute_labels.txt", ("2 5 ", None), r"1 labels are missing, the first: image 2 has none "
        r"of attribute 5 \(has_bill_shape::hooked_seabird\)",
    ),
    ("attributes/image_attribute_labels.txt", ("2 5 ", "2 4 "), "line 317: image 2 has attribute 4 twice"),
    ("attributes/image_attribute_labels.txt", ("2 5 ", "2 313 "), "line 317 is '2 313 . 3 27.708', expected"),
    ("attributes/image_attribute_labels.txt", ("2 5 ", "99 5 "), "line 317 is '99 5"),
    ("train_test_split.txt", ("7 1", None), r"not the images of images\.txt: they differ first in image 7"),
    ("train_test_split.txt", ("7 1", "7 2"), "line 7 is '7 2', expected an image's number and 0 or 1"),
    ("images.txt", ("2 001.Bird_0/", "2 ../../"), r"line 2 is '2 \.\./\.\./Bird_0001\.jpg', expected a number"),
    ("images.txt", ("2 001.Bird_0/", "2 /"), "line 2 is '2 /Bird_0001"),
    ("images.txt", ("2 001.Bird_0/", "2 001.Bird_0/" + 250 * "x"), "line 2 is '2 001.Bird_0/xxx"),
    ("images.txt", ("2 001.Bird_0/", "2 " + 2500 * "x/"), "line 2 is '2 x/x/x"),
    ("images.txt", ("2 0", "1 0"), "line 2: image 1 occurs twice"),
    ("images.txt", ("Bird_0001", "Bird_9999"), "1 of 40 photographs are missing, the first: 001.Bird_0/Bird_9999.jpg"),
    ("../attributes.txt", ("::dagger", "::bagger"), "line 2 is '2 has_bill_shape::bagger', expected '2 has_bill_sh"),
    ("../attributes.txt", ("312 ", None), "line 312 is 'missing', expected '312 has_wing_pattern::multi-colored'"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "change", "message"), BAD_CUB)
def test_birds_with_a_mistake_are_refused(
    file: str, change: tuple[str, str | None], message: str, folders: Path
) -> None:
    copy = CUBCopy(folders)
    lines = copy.texts()[file].splitlines(keepends=True)
    place = next(k for k, line in enumerate(lines) if (line.startswith(change[0]) or change[0] in line.rstrip()))
    lines[place] = "" if change[1] is None else lines[place].replace(change[0], change[1], 1)
    copy.write(texts={file: "".join(lines)})
    with pytest.raises(SourceError, match=message):
        find_cub(folders)


def test_a_mask_of_another_size_is_refused_and_an_empty_one(folders: Path) -> None:
    copy = CUBCopy(folders)
    copy.write()
    masks = folders / "CUB_200_2011" / "segmentations"
    (masks / "001.Bird_0/Bird of 0000.png").write_bytes(encoded(np.full((60, 91), 255, np.uint8)))
    (masks / Path(copy.files[3]).with_suffix(".png")).write_bytes(encoded(np.full(copy.size(3), 127, np.uint8)))
    (masks / Path(copy.files[5]).with_suffix(".png")).write_bytes(b"GIF89a")
    with pytest.raises(SourceError) as caught:
        Photographs(find_cub(folders), kind="cub", size=36, num_images=None).make(0, 40)
    text = str(caught.value)
    assert "3 of 40 photographs cannot be used" in text
    assert "001.Bird_0/Bird of 0000.jpg: its mask is 91x60, the photograph 90x60" in text
    assert "001.Bird_0/Bird_0003.jpg: its mask is empty" in text
    assert "001.Bird_0/Bird_0005.jpg: its mask: not an image (6 bytes)" in text


BAD_LFW = [
    ("lfw_attributes.txt", lambda text: text.replace("\tMale\t", "\tMail\t"), "without Male"),
    ("lfw_attributes.txt", lambda text: text.replace("Bo\t2\t", "Bo\t2\tx"), r"line 7 \(Bo\): could not convert"),
    ("lfw_attributes.txt", lambda text: text.replace("Bo\t2\t", "Bo\t2\t1\t"), r"line 7 \(Bo\) has 76 cells"),
    ("lfw_attributes.txt", lambda text: text.replace("Bo\t2\t", "Bo\t1\t"), r"line 7 \(Bo\): image 1 occurs twice"),
    ("lfw_attributes.txt", lambda text: text.replace("Bo\t2\t", "Bo\t2\tnan\t").replace("\n", "", 0), "76 cells"),
    ("peopleDevTrain.txt", lambda text: text.replace("4\n", "5\n", 1), "its first line says '5' people, and 4 follow"),
    ("peopleDevTrain.txt", lambda text: text.replace("Bo\t", "../Bo\t"), r"line 3 is '\.\./Bo\\x099', expected NAME"),
    ("peopleDevTrain.txt", lambda text: text.replace("Bo\t9", "Bo\t99999"), "line 3 is 'Bo.x0999999', expected NAME"),
    ("peopleDevTrain.txt", lambda text: text.replace("Bo\t9", "Bo\t000000001200000"), "line 3 is 'Bo.x09000000001"),
    ("peopleDevTrain.txt", lambda text: text.replace("Bo\t", 250 * "B" + "\t"), r"line 3 is 'BBB.*', expected NAME"),
    ("peopleDevTest.txt", lambda text: text.replace("Eve_Adams", "Bo"), "share 1 people, the first: Bo"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "change", "message"), BAD_LFW)
def test_faces_with_a_mistake_are_refused(file: str, change: Any, message: str, folders: Path) -> None:
    copy = LFWCopy(folders)
    text = copy.texts()[file]
    assert change(text) != text
    copy.write_texts(**{file: change(text)})
    with pytest.raises(SourceError, match=message):
        find_lfw(folders, masked=False, md5=copy.md5())


def test_other_faces_and_other_sizes_are_refused(folders: Path) -> None:
    copy = LFWCopy(folders)
    copy.write(masks=lambda place: True)
    with pytest.raises(SourceError, match=r"peopleDevTrain\.txt: wrong md5 [0-9a-f]{32}, expected 54eaac34be"):
        find_lfw(folders, masked=False)
    stem = copy.stem("Ana Maria Silva", 2)
    (folders / "lfw" / "masks" / f"{stem}.png").write_bytes(encoded(np.zeros((64, 64), np.uint8)))
    (folders / "lfw" / "lfw-deepfunneled" / f"{copy.stem('Bo', 1)}.jpg").write_bytes(
        encoded(np.zeros((240, 250, 3), np.uint8), "JPEG")
    )
    with pytest.raises(BenchmarkError) as caught:
        lfw(copy, masked=True)
    assert "Ana_Maria_Silva_0002.jpg: its mask is 64x64, the photograph 250x250" in str(caught.value)
    assert "Bo_0001.jpg: its mask is 250x250, the photograph 250x240" in str(caught.value)
    with pytest.raises(BenchmarkError, match=r"Bo_0001\.jpg: 250x240, aligned photographs are 250x250"):
        lfw(copy)
    (folders / "lfw" / "lfw-deepfunneled" / f"{copy.stem('Bo', 1)}.jpg").unlink()
    with pytest.raises(SourceError, match=r"1 of 28 photographs are missing, the first: Bo/Bo_0001\.jpg"):
        find_lfw(folders, masked=False, md5=copy.md5())


def test_a_mask_without_a_person_in_what_is_shown_is_refused(folders: Path) -> None:
    """Such as a map of labels, 0 and 1, in place of black and white."""
    copy = LFWCopy(folders)
    copy.write(masks=lambda place: True)
    masks, y = folders / "lfw" / "masks", np.arange(250)[:, None]
    labels, beside = (copy.mask(0) > 128).astype(np.uint8), np.where((y < 60) & (y.T < 60), 255, 0).astype(np.uint8)
    (masks / f"{copy.stem('Bo', 1)}.png").write_bytes(encoded(labels))
    (masks / f"{copy.stem('Bo', 2)}.png").write_bytes(encoded(beside))
    with pytest.raises(BenchmarkError) as caught:
        lfw(copy, masked=True)
    text = str(caught.value)
    assert "2 of 28 photographs cannot be used" in text
    assert "Bo_0001.jpg: its mask is nowhere white (above 127 of 255) in the middle 120x120" in text
    assert "Bo_0002.jpg: its mask is nowhere white (above 127 of 255) in the middle 120x120" in text


def test_what_is_missing_is_named_with_what_to_put_where(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, words in (
        ("lfw", ["lfw-deepfunneled/NAME/NAME_0001.jpg", "peopleDevTrain.txt, md5 54eaac34be", "MMVAE_BENCH_DATA"]),
        ("cub", ["images.txt, train_test_split.txt", "segmentations/...", "folder that holds CUB_200_2011/"]),
    ):
        assert main(["data", "prepare", name, "--set", "source=files", "--workers", "0"]) == 2
        printed = capsys.readouterr()
        assert not printed.out
        assert all(word in printed.err for word in [*words, str(folders)]), printed.err
    copy = LFWCopy(folders)
    copy.write()
    with pytest.raises(MissingSourceError, match=r"no folder masks, which masked: true asks for: put masks/NAME"):
        find_lfw(folders, masked=True, md5=copy.md5())
    (folders / "lfw" / "lfw_attributes.txt").unlink()
    with pytest.raises(
        MissingSourceError, match=r"no lfw_attributes\.txt \(md5 a68c[0-9a-f]*\): put it beside lfw-deepf"
    ):
        find_lfw(folders, masked=False)
    birds = CUBCopy(folders)
    birds.write()
    (folders / "CUB_200_2011" / "segmentations").rename(folders / "gone")
    with pytest.raises(MissingSourceError, match="no folder segmentations: birds are cut out around their masks"):
        find_cub(folders)


def test_hostile_files_are_only_data(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = CUBCopy(folders)
    copy.write()
    place = folders / "CUB_200_2011"
    with monkeypatch.context() as patch:
        patch.setattr("mmvae_bench.data.sources.cub.MOST_BYTES", 1000)
        with pytest.raises(
            SourceError, match=r"images\.txt: cannot be read \(1,\d\d\d bytes, at most 1,000 expected\)"
        ):
            find_cub(folders)
    (place / "images.txt").write_text("\n" * (20_000 * 312 + 1))
    with pytest.raises(SourceError, match=r"images\.txt: more than 6,240,000 lines"):
        find_cub(folders)
    (place / "images.txt").write_bytes(b"1 \xff\x1b[31m\n")
    with pytest.raises(SourceError) as caught:
        find_cub(folders)
    assert "\x1b" not in str(caught.value)
    (place / "images.txt").unlink()
    os.mkfifo(place / "images.txt")
    with pytest.raises(SourceError, match=r"images\.txt: cannot be read \(not a regular file"):
        find_cub(folders)


def test_a_scaled_mask_is_cut_at_a_half() -> None:
    """At the edge of a mask scaling leaves greys: what is above a half of white is inside."""
    photo = Image.new("RGB", (250, 250))
    with pytest.raises(OSError, match="nowhere white"):
        lfw_image(photo, Image.new("L", (250, 250), 127), 16)
    _, mask = lfw_image(photo, Image.new("L", (250, 250), 128), 16)
    assert mask is not None
    assert mask.all()
