"""Messages: where, what, given, choices, nearest; and what a status says about an exception."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from mmvae_bench.base.errors import BenchmarkError, ConfigError, Problem, explain, nearest, unknown
from mmvae_bench.data.shards.worker import FULL
from mmvae_bench.runs.status import Status
from mmvae_bench.runs.store import StoreError, writing
from mmvae_bench.sweep.outcome import OUT_OF_MEMORY, disk_is_full


def test_nearest_is_nothing_where_nothing_is_near() -> None:
    assert nearest("xyz", ["telbo", "jmvae"]) is None
    assert nearest("TELBO", ["telbo", "jmvae"]) == "telbo"
    assert nearest("bi-vcca", ["bivcca", "jvae"]) == "bivcca"
    assert nearest(3, []) is None


def test_a_message_has_everything() -> None:
    problem = unknown("objective", "teblo", ["jmvae", "telbo"], ("objectives", 1, "name"))
    assert str(problem) == ("objectives[1].name: unknown objective 'teblo'\n  choices: jmvae, telbo\n  nearest: telbo")


def test_source_and_line_lead_every_problem() -> None:
    error = ConfigError([Problem("one", ("a",), "1", line=3), Problem("two")], "grid.yaml")
    assert str(error) == "grid.yaml:3: a: one\n  given: 1\ngrid.yaml: two"
    assert str(ConfigError("plain")) == "plain"


def test_a_tensor_that_does_not_fit_is_a_want_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert explain(caught.value)[0] in OUT_OF_MEMORY


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
    ],
    ids=repr,
)
def test_so_are_these(error: BaseException) -> None:
    assert explain(error)[0] in OUT_OF_MEMORY


def test_other_errors_are_not() -> None:
    assert explain(RuntimeError("shapes differ")) == ("RuntimeError", "RuntimeError: shapes differ")


def test_a_full_disk_says_what_to_do() -> None:
    kind, message = explain(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/runs/x/last.ckpt"))
    assert kind == "OSError"
    assert message.startswith("OSError: [Errno 28] No space left on device: '/runs/x/last.ckpt'\n  Free some space")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_quota_is_a_full_disk_everywhere(number: int, tmp_path: Path) -> None:
    """A trial that fails, a folder that cannot be written, the driver that reads why, and images that are stored."""
    full = OSError(number, os.strerror(number))
    assert "Free some space" in explain(full)[1]
    with pytest.raises(StoreError, match="Free some space"), writing(tmp_path):
        raise full
    assert disk_is_full(Status(state="failed", error=explain(full)[1]))
    assert not disk_is_full(Status(state="failed", error="OSError: [Errno 13] Permission denied"))
    assert number in FULL


def test_our_own_errors_speak_for_themselves() -> None:
    assert explain(BenchmarkError("choose\nanother")) == ("BenchmarkError", "choose\nanother")
