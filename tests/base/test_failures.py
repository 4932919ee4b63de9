"""What a status says about an exception."""

from __future__ import annotations

import errno
import os

import pytest
import torch

from mmvae_bench.base.errors import BenchmarkError, explain
from mmvae_bench.sweep.outcome import OUT_OF_MEMORY


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


def test_our_own_errors_speak_for_themselves() -> None:
    assert explain(BenchmarkError("choose\nanother")) == ("BenchmarkError", "choose\nanother")
