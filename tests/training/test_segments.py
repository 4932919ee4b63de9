"""What a checkpoint records about the processes that have trained it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch

from mmvae_bench.runs.stale import checkpoint_segments, mixture
from mmvae_bench.training import fit as module
from mmvae_bench.training.checkpoint import Checkpoint

from .conftest import Run


def steps(origin: dict[str, Any]) -> list[tuple[int, int]]:
    return [(segment["from"], segment["to"]) for segment in origin["segments"]]


def test_a_resume_adds_a_segment_and_leaves_the_origin(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the second stage, whose steps count on from the first."""
    machines = iter("abcd")
    monkeypatch.setattr(module, "provenance", lambda **_: {"package": "1", "device_name": next(machines)})
    for stop_after, expected in ((7, [(0, 7)]), (8, [(0, 7), (7, 15)]), (12, [(0, 7), (7, 15), (15, 27)])):
        run("scan", steps=20, stop_after=stop_after, folder="x")
        state = Checkpoint.load(tmp_path / "x" / "last.ckpt", key="k")
        assert steps(state.origin) == expected
        assert checkpoint_segments(tmp_path / "x" / "last.ckpt") == state.origin["segments"]
    _, fitted = run("scan", steps=20, folder="x")
    assert fitted is not None
    assert steps(fitted.origin)[-1] == (27, fitted.steps)
    assert fitted.origin["device_name"] == "a"
    assert [segment["device_name"] for segment in fitted.origin["segments"]] == list("abcd")


def test_a_checkpoint_of_an_earlier_version_goes_on_as_one_of_unknown_code(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    state = Checkpoint("k", 0, 4, {"w": torch.ones(3)}, origin={"package": "0.1.0"})
    state.begin_segment({"package": "0.2.0"}, {"objective": {"name": "x", "files": {"x.py": "1"}}}, step=4)
    state.save(path)
    segments = Checkpoint.load(path, key="k").origin["segments"]
    assert [(each["from"], each["to"], each["package"]) for each in segments] == [(0, 4, "0.1.0"), (4, 4, "0.2.0")]
    assert mixture({"provenance": {"segments": segments}}) == ["from step 4 on: the code before it was not recorded"]


def test_a_process_that_made_no_step_leaves_no_segment(tmp_path: Path) -> None:
    state = Checkpoint("k", 0, 0, {})
    for name in "ab":
        state.begin_segment({"device_name": name}, {}, step=0)
    assert state.origin["device_name"] == "b"
    assert steps(state.origin) == [(0, 0)]


def test_segments_that_are_damaged_are_none(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    assert checkpoint_segments(path) is None
    path.write_bytes(b"PK\x03\x04 nothing")
    assert checkpoint_segments(path) is None
    with ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    assert checkpoint_segments(path) == []
    for text, found in (("[" * 200_000, None), (json.dumps({"a": 1}), []), ('[3, {"from": 1}]', [{"from": 1}])):
        with ZipFile(path, "w") as archive:
            archive.writestr("archive/segments.json", text)
        assert checkpoint_segments(path) == found
