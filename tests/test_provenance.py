"""A result says where it came from, and says nothing that it does not know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mmvae_bench import provenance as module
from mmvae_bench.provenance import commit, package_version, processor_name, provenance
from mmvae_bench.report.facts import PROVENANCE


def test_everything_that_decides_a_number_is_named() -> None:
    found = provenance(device="cpu", precision="float32", threads=3)
    assert json.loads(json.dumps(found)) == found
    assert (found["device"], found["precision"], found["threads"]) == ("cpu", "float32", 3)
    assert found["torch"] == torch.__version__
    assert found["deterministic"] is True
    assert found["deterministic_algorithms"] is torch.are_deterministic_algorithms_enabled()
    assert found["cuda"] is found["cudnn"] is found["cudnn_benchmark"] is None, "a CPU has none"
    assert found["device_name"] == processor_name() != ""
    assert set(found) == {key for key, _ in PROVENANCE} | {"created"}, "the report and the comparison show all of it"


def test_the_flags_of_torch_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU of {device}")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    found = provenance(device="cuda", precision="tf32", threads=1)
    assert (found["device_name"], found["cudnn_benchmark"], found["deterministic"]) == ("GPU of cuda", True, False)
    torch.use_deterministic_algorithms(True)
    try:
        assert provenance(device="cuda", precision="tf32", threads=1)["deterministic"] is True
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_system_that_tells_nothing_of_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", fail)
    monkeypatch.setattr(module.platform, "processor", lambda: "")
    assert processor_name() == "cpu"


def test_commit_and_version() -> None:
    head, dirty = commit()
    assert head is None or len(head) == 40
    assert (head is None) == (dirty is None)
    assert package_version("no-such-distribution") == "unknown"
