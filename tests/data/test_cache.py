from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from mmvae_bench.data.cache import META, build_once, inspect, is_intact


class Builder:
    """Writes one file, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.calls += 1
        (folder / "data.bin").write_bytes(bytes(1000))
        return {"about": "zeros"}


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    return tmp_path / "sets" / "one"


def test_builds_once(entry: Path) -> None:
    build = Builder()
    assert build_once(entry, build)
    assert not build_once(entry, build)
    assert build.calls == 1
    assert is_intact(entry)
    assert [state.name for state in inspect(entry)] == ["data.bin"]


@pytest.mark.parametrize("damage", ["changed", "truncated", "gone", "no meta", "bad meta", "other meta", "empty meta"])
def test_damage_is_found_and_built_again(entry: Path, damage: str) -> None:
    build = Builder()
    build_once(entry, build)
    data, meta = entry / "data.bin", entry / META
    if damage == "changed":
        data.write_bytes(bytes(500) + b"\1" + bytes(499))
    elif damage == "truncated":
        data.write_bytes(bytes(999))
    elif damage == "gone":
        data.unlink()
    elif damage == "no meta":
        meta.unlink()
    else:
        meta.write_text({"bad meta": "{", "other meta": '{"files": [1]}', "empty meta": '{"files": {}}'}[damage])
    assert not is_intact(entry)
    assert build_once(entry, build)
    assert build.calls == 2
    assert is_intact(entry)


def test_a_builder_that_fails_leaves_nothing(entry: Path) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        (folder / "data.bin").write_bytes(b"half")
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError, match="no space"):
        build_once(entry, fail)
    assert [path.name for path in entry.parent.iterdir() if not path.name.endswith(".lock")] == []


def test_those_who_come_together_build_once(entry: Path) -> None:
    build, barrier = Builder(), Barrier(4)

    def come(_: int) -> bool:
        barrier.wait()
        return build_once(entry, build)

    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(come, range(4)))
    assert sum(built) == build.calls == 1


def test_a_killed_builder_leaves_nothing_that_looks_finished(entry: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from mmvae_bench.data.cache import build_once\n"
        "def build(folder):\n"
        "    (folder / 'data.bin').write_bytes(b'half'); (folder / 'more.bin').write_bytes(b'x')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "build_once(Path(sys.argv[1]), build)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(entry)], env=dict(os.environ), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not entry.exists()
    assert build_once(entry, Builder())
    assert sorted(path.name for path in entry.iterdir()) == ["data.bin", META]
