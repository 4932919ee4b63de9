"""Checkpoints that cannot be used say what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmvae_bench.training.checkpoint import Checkpoint, CheckpointError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Checkpoint("k", 0, 3, {"w": torch.arange(100.0)}, history=[{"step": 1, "elbo": -2.0}]).save(tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_round_trip(path: Path) -> None:
    state = Checkpoint.load(path, key="k")
    assert (state.stage, state.step, state.history) == (0, 3, [{"step": 1, "elbo": -2.0}])
    assert torch.equal(state.weights["w"], torch.arange(100.0))


@pytest.mark.parametrize("size", [0, 1, 40, 300, -1], ids=["empty", "1_byte", "40_bytes", "300_bytes", "all_but_one"])
def test_truncated(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"last\.ckpt is damaged.*move it away"):
        Checkpoint.load(path, key="k")


def test_flipped_bytes_in_the_weights(path: Path) -> None:
    data = bytearray(path.read_bytes())
    position = data.find(torch.arange(100.0).numpy().tobytes())
    assert position > 0
    data[position + 8] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint.load(path, key="k")


def test_pickled_objects_are_refused_and_not_run(tmp_path: Path) -> None:
    target = tmp_path / "owned"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (target,)

    path = tmp_path / "last.ckpt"
    torch.save({"format": 1, "key": "k", "weights": Evil()}, path)
    with pytest.raises(CheckpointError, match="pickled Python objects, which are never loaded"):
        Checkpoint.load(path, key="k")
    assert not target.exists()


def test_another_trial_or_version(path: Path) -> None:
    with pytest.raises(CheckpointError, match="belongs to trial 'k', not to 'other'"):
        Checkpoint.load(path, key="other")
    torch.save({"format": 99}, path)
    with pytest.raises(CheckpointError, match="another version"):
        Checkpoint.load(path, key="k")


def test_a_failed_save_leaves_the_old_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Checkpoint("k", 0, 4, {}).save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
