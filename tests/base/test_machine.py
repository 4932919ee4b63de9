"""A result says where it came from, and says nothing that it does not know."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from mmvae_bench.base import machine as module
from mmvae_bench.base.machine import commit, package_fingerprint, package_version, processor_name, provenance
from mmvae_bench.report.trials import PROVENANCE


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
    def fail(path: Path, **options: object) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", fail)
    monkeypatch.setattr(module.platform, "processor", lambda: "")
    assert processor_name() == "cpu"


def test_commit_and_version() -> None:
    head, dirty = commit()
    assert (head is None) == (dirty is None)
    root = Path(__file__).parents[2]
    checkout = shutil.which("git") is not None and (root / ".git").exists()
    if checkout and root == Path(module.__file__).parents[2]:
        done = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        assert head == done.stdout.strip()
    assert package_version("no-such-distribution") == "unknown"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_new_file_of_the_package_is_a_change_and_a_run_beside_it_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> None:
        name = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *name, *words], cwd=tmp_path, check=True, capture_output=True)

    package = tmp_path / "package"
    (package / "base").mkdir(parents=True)
    (package / "base" / "machine.py").touch()
    git("init")
    git("add", ".")
    git("commit", "-m", "a")
    monkeypatch.setattr(module, "__file__", str(package / "base" / "machine.py"))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "result.json").touch()
    head, dirty = commit()
    assert head is not None
    assert dirty is False
    (package / "objective.py").touch()
    assert commit() == (head, True)
    (package / "objective.py").unlink()
    (package / "provenance.py").write_text("# changed")
    assert commit() == (head, True)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_hook_of_another_repository_does_not_hide_the_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """git runs hooks with the variables of their own repository, which come before the folder that it is told."""
    before = commit()
    subprocess.run(["git", "init", str(tmp_path)], check=True, capture_output=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / ".git" / "index"))
    assert commit() == before


def test_the_fingerprint_of_the_package_changes_with_a_file_and_not_with_an_editors_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "mmvae_bench"
    (package / "base").mkdir(parents=True)
    (package / "base" / "machine.py").write_text("a = 1\n")
    monkeypatch.setattr(module, "__file__", str(package / "base" / "machine.py"))
    first = package_fingerprint()
    (package / ".#machine.py").symlink_to("nowhere")
    (package / "gone.py").symlink_to("nowhere")
    assert package_fingerprint() == first
    (package / "base" / "machine.py").write_text("a = 2\n")
    assert package_fingerprint() != first
