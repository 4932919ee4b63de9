"""Checkpoints that cannot be used say what is wrong with them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from mmvae_bench.training.checkpoint import Checkpoint, CheckpointError, order_moments, own_storage


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
    torch.save({"format": 2, "key": "k", "weights": Evil()}, path)
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


@pytest.mark.parametrize("num_bytes", [0, 50, 1000, 2500])
def test_a_full_disk_is_named_as_what_it_is(num_bytes: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.save itself would say "unexpected pos 960 vs 854"."""
    from mmvae_bench.base.files import write_atomic as original
    from mmvae_bench.training import checkpoint as module

    class Full:
        def __init__(self, file: IO[bytes]) -> None:
            self.file, self.left = file, num_bytes

        def write(self, data: bytes) -> int:
            if len(data) > self.left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.left -= len(data)
            return self.file.write(data)

        def flush(self) -> None:
            self.file.flush()

    def write_atomic(path: Path, write: Callable[[Any], object]) -> None:
        original(path, lambda file: write(Full(file)))

    monkeypatch.setattr(module, "write_atomic", write_atomic)
    with pytest.raises(OSError, match="No space left on device"):
        Checkpoint("k", 0, 2, {"w": torch.ones(600)}).save(path)
    assert Checkpoint.load(path, key="k").step == 3
    assert list(path.parent.iterdir()) == [path]


def test_a_bit_that_the_archive_does_not_cover(path: Path) -> None:
    """The archive's index says where each tensor lies; its own bits have no checksum."""
    data = path.read_bytes()
    silent = []
    for position in range(data.rfind(b"PK\x01\x02") - 200, len(data)):
        for bit in (0, 3, 6):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            path.write_bytes(bytes(flipped))
            try:
                state = Checkpoint.load(path, key="k")
            except CheckpointError:
                continue
            if state.step != 3 or not torch.equal(state.weights["w"], torch.arange(100.0)):
                silent.append((position, bit))
    assert silent == []


def test_contents_that_are_not_what_was_saved(path: Path) -> None:
    values = torch.load(path, weights_only=True)
    values["weights"]["w"][3] += 1
    torch.save(values, path)
    with pytest.raises(CheckpointError, match="its contents are not what was saved"):
        Checkpoint.load(path, key="k")


def test_weights_that_do_not_fit(path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"last\.ckpt does not fit the networks of its trial: (?s:.*)Missing key"):
        Checkpoint.load(path, key="k").restore(torch.nn.Linear(2, 2), path)


def test_moments_are_brought_into_the_order_of_their_weights() -> None:
    """A fused Adam reads both from start to end: it would pair other elements."""
    weight = torch.nn.Parameter(torch.randn(4, 3, 2, 2))
    optimizer = torch.optim.Adam([weight], fused=True)
    weight.sum().backward()
    optimizer.step()
    state = optimizer.state[weight]
    values = torch.randn(4, 3, 2, 2)
    state["exp_avg"] = values.contiguous(memory_format=torch.channels_last)
    kept = state["exp_avg_sq"]
    assert state["exp_avg"].stride() != weight.stride()
    order_moments(optimizer)
    assert state["exp_avg"].stride() == weight.stride()
    assert torch.equal(state["exp_avg"], values)
    assert state["exp_avg_sq"] is kept
    assert float(state["step"]) == 1


def test_a_part_of_a_tensor_is_saved_as_its_own() -> None:
    """torch.save would write the whole; what is whole stays the same object."""
    whole = torch.arange(12.0).view(3, 4)
    given = {"part": whole[1], "whole": whole, "state": {0: {"exp_avg": whole[:, :2], "step": 3}}}
    found = own_storage(given)
    assert found["whole"] is whole
    for mine, other in ((found["part"], whole[1]), (found["state"][0]["exp_avg"], whole[:, :2])):
        assert torch.equal(mine, other)
        assert mine.untyped_storage().nbytes() == mine.numel() * mine.element_size()
    assert found["state"][0]["step"] == 3
    assert given["part"].untyped_storage().nbytes() == 48
    untouched = {"whole": whole}
    assert own_storage(untouched) is untouched
