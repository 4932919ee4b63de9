"""What happens to a store from outside: kill -9, Ctrl-C, a full disk, two at once."""

from __future__ import annotations

import json
import os
import random
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from mmvae_bench.data.shards.manifest import MANIFEST
from mmvae_bench.data.shards.prepare import NoSpaceError, prepare_store
from mmvae_bench.data.shards.verify import verify_store

from .squares import Squares
from .test_prepare import SHARDS, contents

REPOSITORY = Path(__file__).parents[3]
SECONDS = 120.0
SLOW = Squares(22, seconds=0.02)

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an uninterrupted store."""
    folder = tmp_path_factory.mktemp("reference") / "store"
    prepare_store(folder, SLOW, name="squares", shard_size=4, workers=0)
    return contents(folder)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes, and ends them with the test. They heed SIGINT even where this one was started to ignore it."""
    heeded = signal.signal(signal.SIGINT, signal.default_int_handler)
    processes: list[subprocess.Popen[str]] = []

    def run(*words: str, **options: object) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.data.shards.drive", *words], cwd=REPOSITORY, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **options,  # type: ignore[call-overload]
            )
        )  # fmt: skip
        return processes[-1]

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()
    signal.signal(signal.SIGINT, heeded)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def workers_of(pid: int) -> list[int]:
    """The processes that a process has started, of those that run."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("kills", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_at_random_and_resumed(tmp_path: Path, reference: dict[str, bytes], start: Start, kills: int) -> None:
    folder, moments = tmp_path / "store", random.Random(0)
    kept: dict[str, int] = {}
    for _ in range(kills):
        process = start(str(folder), json.dumps(asdict(SLOW)), "2")
        assert process.stdout is not None
        process.stdout.readline()  # images are being made
        time.sleep(moments.random() * 0.1)
        children = workers_of(process.pid)
        process.kill()
        process.wait()
        until(lambda children=children: not any(map(is_running, children)))  # type: ignore[misc]
        assert not (folder / MANIFEST).exists()
        found = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.arrow")}
        assert kept.items() <= found.items(), "a finished shard was made again"
        kept = found
    process = start(str(folder), json.dumps(asdict(SLOW)), "2")
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert contents(folder) == reference
    assert verify_store(folder, SLOW, num_verified=4, workers=0)["ok"]


def test_two_at_once_work_once(tmp_path: Path, reference: dict[str, bytes], start: Start) -> None:
    folder = tmp_path / "store"
    words = (str(folder), json.dumps(asdict(SLOW)), "1")
    first = start(*words)
    assert first.stdout is not None
    first.stdout.readline()
    second = start(*words)
    assert second.stderr is not None
    assert f"{folder}: another process is making these images; waiting for it" in second.stderr.readline()
    assert first.poll() is None
    outputs = [process.communicate(timeout=SECONDS)[0] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0]
    assert outputs[0]
    assert not outputs[1], "the second made images as well"
    assert contents(folder) == reference


def test_when_the_one_at_work_is_killed_the_one_that_waits_goes_on(
    tmp_path: Path, reference: dict[str, bytes], start: Start
) -> None:
    folder = tmp_path / "store"
    words = (str(folder), json.dumps(asdict(SLOW)), "1")
    first = start(*words)
    assert first.stdout is not None
    first.stdout.readline()
    second = start(*words)
    assert second.stderr is not None
    second.stderr.readline()
    first.kill()
    _, err = second.communicate(timeout=SECONDS)
    assert second.returncode == 0, err
    assert contents(folder) == reference


def test_ctrl_c_ends_the_processes_and_tells_the_command(tmp_path: Path, start: Start) -> None:
    cache = tmp_path / "cache"
    words = ["data", "prepare", "squares", "--set", "num_images=22", "--set", "seconds=0.5", "--workers", "2"]
    environment = {**os.environ, "MMVAE_BENCH_CACHE": str(cache)}
    process = start(*words, env=environment)
    until(lambda: bool(workers_of(process.pid) and list(cache.glob("datasets/squares-*"))))
    children = workers_of(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, err
    assert out == ""
    *_, message, command = err.splitlines()
    assert message == "interrupted; finished files are kept; resume with:"
    assert shlex.split(command)[-len(words) :] == words
    until(lambda: not any(map(is_running, children)))  # One that ends with its parent needs a moment longer.
    (folder,) = (path for path in cache.glob("datasets/squares-*") if path.is_dir())
    assert set(contents(folder)) <= set(SHARDS), "something half-written is left"


def test_a_full_disk_in_a_process(tmp_path: Path, reference: dict[str, bytes]) -> None:
    """A limit on the size of files stands for the disk: writing fails in the middle of a shard."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    folder = tmp_path / "store"
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, limits[1]))
    try:
        with pytest.raises(NoSpaceError, match=rf"File too large\n  folder: {folder}\n  needed: another 3,[\d]+ bytes"):
            prepare_store(folder, SLOW, name="squares", shard_size=4, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(folder) == {}
    prepare_store(folder, SLOW, name="squares", shard_size=4, workers=0)
    assert contents(folder) == reference


def test_a_full_disk_after_some_shards(
    tmp_path: Path, reference: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmvae_bench.base import files

    folder, write = tmp_path / "store", files.write_atomic

    def full(path: Path, content: object) -> None:
        if path.name == SHARDS[3]:
            raise OSError(28, "No space left on device")
        write(path, content)  # type: ignore[arg-type]

    monkeypatch.setattr("mmvae_bench.data.shards.worker.write_atomic", full)
    with pytest.raises(NoSpaceError, match=r"No space left on device(.|\n)*finished images are kept"):
        prepare_store(folder, SLOW, name="squares", shard_size=4, workers=0)
    assert set(contents(folder)) == set(SHARDS[:3])
    monkeypatch.undo()
    prepare_store(folder, SLOW, name="squares", shard_size=4, workers=0)
    assert contents(folder) == reference
