"""Data that cannot be used, or not as asked: found before any trial is started, once, with the setting to blame."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmvae_bench import trial as trial_module
from mmvae_bench.base.errors import ConfigError, Problem
from mmvae_bench.data import from_arrays
from mmvae_bench.data.mnist import MnistDataModule
from mmvae_bench.data.sharded import ShardedDataModule
from mmvae_bench.data.shards.prepare import NoSpaceError
from mmvae_bench.data.sources import digits
from mmvae_bench.runs.status import read_status
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training import examples
from mmvae_bench.training.examples import check_all

from ..data.sources.planetoid_copy import write

DIGITS: dict[str, Any] = {"name": "mnist", "source": "digits", "canvas": 16}
MLP: dict[str, Any] = {"name": "mlp", "hidden": 16, "latent_size": 3}


def trial(dataset: Mapping[str, Any], *, objective: Any = "jvae", backbone: Any = MLP, **training: Any) -> TrialSpec:
    given = {"dataset": dict(dataset), "backbone": backbone, "objective": objective}
    return TrialSpec.parse({**given, "training": {"steps": 2, "batch_size": 16, **training}})


def found(*specs: TrialSpec) -> list[tuple[int, Problem]]:
    return [(number, problem) for number, problems in check_all(specs) for problem in problems]


def graph(**settings: Any) -> TrialSpec:
    dataset = {"name": "cora", "source": "planetoid", **settings}
    return trial(dataset, objective="vgae", backbone="gcn", batch_size=2708)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root."""
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_what_is_sound_has_no_problems(root: Path) -> None:
    few = {"labels_per_class": 2, "rate": 0.5}
    assert not found(trial(DIGITS), trial(DIGITS, supervision=few), trial(DIGITS, missing_images={"fraction": 0.5}))


def test_a_graph_file_that_is_cut_short_is_one_problem_of_its_dataset(root: Path) -> None:
    write(root)
    path = root / "ind.cora.allx"
    path.write_bytes(path.read_bytes()[:-40])
    ((number, problem),) = found(trial(DIGITS), graph(), graph(), trial(DIGITS))
    assert number == 1
    assert problem.location == ("dataset",)
    assert problem.value == "cora (source planetoid)"
    assert problem.message.startswith(f"{path}: it is damaged or cut short")


def test_a_folder_of_textures_without_a_picture(root: Path) -> None:
    (root / "dtd").mkdir()
    sprites = {"name": "sprites", "num_images": 200}
    ((_, problem),) = found(trial({**sprites, "texture": "dtd/"}, backbone="rgb_thin"))
    assert (problem.location, problem.value) == (("dataset", "texture"), "dtd/")
    assert problem.message.startswith("no picture (")
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(root / "dtd" / "black.png")
    assert not found(trial({**sprites, "texture": "dtd/"}, backbone="rgb_thin"))


def test_a_picture_that_is_none_is_found_while_images_are_made(root: Path) -> None:
    (root / "dtd").mkdir()
    (root / "dtd" / "cut.png").write_bytes(b"\x89PNG\r\n")
    sprites = {"name": "sprites", "num_images": 200, "texture": "dtd/"}
    ((_, problem),) = found(trial(sprites, backbone="rgb_thin"))
    assert problem.message.startswith(f"{root / 'dtd' / 'cut.png'} cannot be used")


def test_mnist_that_is_not_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline: dict[str, Any] = {"root": None, "files": digits.FILES, "download": False}
    monkeypatch.setattr(digits.MnistSource.__init__, "__kwdefaults__", offline)
    ((_, problem),) = found(trial({"name": "mnist", "source": "mnist"}))
    assert problem.location == ("dataset",)
    assert problem.value == "mnist (source mnist)"
    assert str(root) in problem.message


def test_more_labels_than_a_class_has(root: Path) -> None:
    """Counted in the training images: how many of each digit there are shows only in them."""
    many = {"labels_per_class": 170, "rate": 0.5}
    specs = [trial(DIGITS, supervision={**many, "labels_per_class": 2}), trial(DIGITS, supervision=many)]
    ((number, problem),) = found(*specs)
    assert number == 1
    assert problem.location == ("training", "supervision", "labels_per_class")
    assert problem.value == "170"
    assert "170 labels for each of 10 classes, but digit=" in problem.message


def test_each_setting_of_the_training_has_its_own_problem(root: Path) -> None:
    specs = [
        trial(DIGITS, batch_size=1700),
        trial(DIGITS, missing_images={"fraction": 0.0001}, steps=20_000),
    ]
    assert [problem.location for _, problem in found(*specs)] == [
        ("training", "batch_size"),
        ("training", "missing_images", "fraction"),
    ]


def test_arrays_whose_files_are_damaged(root: Path) -> None:
    images = np.random.default_rng(0).integers(0, 2, (200, 16, 16), np.uint8) * 255
    spec = from_arrays(images, {"side": ["left", "right"] * 100}, folder=root / "arrays")
    given = trial(spec.canonical())
    assert not found(given)
    (root / "arrays" / spec.data / "images.npy").write_bytes(b"")
    ((_, problem),) = found(given)
    assert problem.location == ("dataset",)
    assert "damaged" in problem.message


def test_a_bug_and_a_full_disk_are_left_to_the_trials(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (ZeroDivisionError("a bug"), NoSpaceError("the disk is full")):

        def fails(self: MnistDataModule, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(MnistDataModule, "prepare_data", fails)
        assert not found(trial(DIGITS))


def test_it_ends_where_nobody_listens(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says of progress cannot be written then: no bug of a dataset's."""

    def fails(self: MnistDataModule) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(MnistDataModule, "prepare_data", fails)
    with pytest.raises(BrokenPipeError):
        found(trial(DIGITS))


def test_images_that_take_long_are_left_to_the_trials(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made is kept; nothing half-written is."""
    told: list[str] = []
    reached: list[int] = []

    def slow(self: ShardedDataModule) -> None:
        for done in range(100):
            assert self.progress is not None
            self.progress(done, 100)
            reached.append(done)
            time.sleep(0.3 if done < 10 else 0)

    monkeypatch.setattr(MnistDataModule, "prepare_data", slow)
    answers = list(check_all([trial(DIGITS)], seconds=5.0, preparing=lambda dataset: told.append(dataset.name)))
    assert answers == []
    assert told == []
    assert 0 < len(reached) < 10, "it is clear after a second that thirty seconds are more than five"
    assert list(check_all([trial(DIGITS)], seconds=1e6, preparing=lambda dataset: told.append(dataset.name))) == []
    assert (told, reached[-1]) == (["mnist"], 99)


def test_a_trial_itself_says_the_same(root: Path) -> None:
    """Its own check is the same code."""
    from mmvae_bench.trial import run_trial

    given = trial(DIGITS, supervision={"labels_per_class": 170, "rate": 0.5})
    ((_, problem),) = found(given)
    with pytest.raises(ConfigError) as caught:
        run_trial(given, out=root.parent / "run")
    assert str(caught.value) == str(problem)
    assert examples.SECONDS == 60


@pytest.mark.parametrize(
    ("training", "fails", "of_data"),
    [
        ({"supervision": {"labels_per_class": 170, "rate": 0.5}}, None, True),
        ({"missing_images": {"fraction": 0.0001}, "steps": 20_000}, None, True),
        ({"batch_size": 1700}, None, True),
        ({}, "prepare_data", True),
        ({}, "build_objective", False),
        ({}, "evaluate", False),
    ],
)
def test_a_trial_says_whether_its_data_are_to_blame(
    training: Mapping[str, Any], fails: str | None, of_data: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver holds other trials back for an error of the data, and for no other."""

    def refuses(*arguments: Any, **options: Any) -> None:
        raise ConfigError("this cannot have alpha 1")

    if fails is not None:
        monkeypatch.setattr(MnistDataModule if fails == "prepare_data" else trial_module, fails, refuses)
    given = trial(DIGITS, **training)
    with pytest.raises(ConfigError):
        trial_module.run_trial(given, out=root.parent / "run")
    status = read_status(root.parent / "run" / "trials" / given.key)
    assert (status.state, status.error_type, status.of_data) == ("failed", "ConfigError", of_data)


def test_what_one_backbone_cannot_do_with_is_not_of_the_data(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others, on the same data, may take fewer images in a step."""
    given = trial(DIGITS, supervision={"fraction": 0.001, "rate": 0.5})
    monkeypatch.setattr(type(given.backbone), "least_batch", 3)
    with pytest.raises(ConfigError, match="normalises over the batch"):
        trial_module.run_trial(given, out=root.parent / "run")
    assert not read_status(root.parent / "run" / "trials" / given.key).of_data
