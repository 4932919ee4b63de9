"""Jobs of one kind are done by one process, and each ends as one of its own."""

from __future__ import annotations

import signal
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmvae_bench.runs.status import ATTEMPT_VARIABLE, Status
from mmvae_bench.sweep.executor import Ended, ExecutorError, Job
from mmvae_bench.sweep.mates import MatesExecutor
from mmvae_bench.sweep.outcome import worth_retrying


class Slots:
    """An executor whose processes end when the test says so."""

    def __init__(self, number: int) -> None:
        self.num_slots, self.running, self.ended = number, dict[str, Job](), list[Ended]()
        self.asked: list[tuple[str, bool]] = []
        self.refuse: Exception | None = None

    @property
    def num_free(self) -> int:
        return self.num_slots - len(self.running)

    def submit(self, job: Job) -> None:
        if self.refuse is not None:
            raise self.refuse
        assert self.num_free
        self.running[job.name] = job

    def finish(self, name: str, returncode: int = 0, *, lost: bool = False) -> None:
        self.ended.append(Ended(self.running.pop(name), returncode, lost=lost))

    def wait(self, timeout: float) -> list[Ended]:
        ended, self.ended = self.ended, []
        return ended

    def under_way(self) -> Collection[str]:
        return list(self.running)

    def end(self, name: str, *, force: bool) -> bool:
        self.asked.append((name, force))
        return True

    def withdraw(self, names: Collection[str]) -> None:
        self.asked += [(name, False) for name in names]

    def terminate(self) -> None:
        self.asked += [(name, False) for name in self.running]

    def kill(self) -> None:
        self.asked += [(name, True) for name in self.running]


def job(name: str, *, attempt: int = 1, keep: bool = False) -> Job:
    folder = Path("run/trials") / name
    arguments = ("train", "--spec", str(folder / "spec.json"), "--out", str(folder), *(("--keep",) if keep else ()))
    return Job(name, arguments, folder / "output.log", {ATTEMPT_VARIABLE: str(attempt)}, pulse=folder / "status.json")


KINDS = {"a0": "a", "a1": "a", "a2": "a", "b0": "b", "b1": "b"}


def test_jobs_of_one_kind_are_one_process_and_end_together() -> None:
    slots = Slots(2)
    mates = MatesExecutor(slots, KINDS, most=3)
    assert (mates.num_slots, mates.num_free) == (6, 6)
    for name in ("a0", "b0", "a1", "b1", "a2"):
        mates.submit(job(name, attempt=1 + (name == "a1")))
    assert mates.num_free == 1
    assert not slots.running
    assert mates.wait(0) == []
    assert slots.running["a0"].arguments == (
        "train-together", "--out", "1:run/trials/a0", "--out", "2:run/trials/a1", "--out", "1:run/trials/a2",
    )  # fmt: skip
    assert slots.running["a0"].log == Path("run/trials/a0/output.log")
    assert ATTEMPT_VARIABLE not in slots.running["a0"].environment
    assert set(mates.under_way()) == set(KINDS)
    assert mates.num_free == 0
    slots.finish("a0", 1, lost=True)
    ended = mates.wait(0)
    assert [(each.job.name, each.returncode, each.lost, each.began, each.shared) for each in ended] == [
        (name, 1, True, True, True) for name in ("a0", "a1", "a2")
    ]
    assert ended[1].job == job("a1", attempt=2)
    assert set(mates.under_way()) == {"b0", "b1"}
    assert mates.num_free == 3


def test_one_alone_is_the_job_that_it_was() -> None:
    """Also a preparation, which starts at once."""
    slots = Slots(2)
    mates = MatesExecutor(slots, KINDS, most=3)
    preparation = Job("prepare x", ("prepare",), Path("log"))
    mates.submit(preparation)
    mates.submit(job("a1"))
    assert slots.running == {"prepare x": preparation}
    mates.wait(0)
    assert slots.running["a1"] == job("a1")
    assert set(mates.under_way()) == {"prepare x", "a1"}
    slots.finish("prepare x")
    assert [each.job for each in mates.wait(0)] == [preparation]


def test_no_process_does_more_than_the_most_and_what_does_not_fit_waits() -> None:
    slots = Slots(1)
    mates = MatesExecutor(slots, KINDS, most=2)
    for name in ("a0", "b0"):
        mates.submit(job(name))
    mates.wait(0)
    assert list(slots.running) == ["a0"]
    assert mates.num_free == 0
    slots.finish("a0")
    assert mates.num_free == 1
    mates.submit(job("b1"))
    assert [each.job.name for each in mates.wait(0)] == ["a0"]
    assert list(mates.under_way()) == ["b0", "b1"]
    several = Slots(2)
    mates = MatesExecutor(several, KINDS, most=2)
    for name in ("a0", "a1", "a2"):
        mates.submit(job(name, keep=True))
    mates.wait(0)
    assert [each.arguments[-1] for each in several.running.values()] == ["--keep", "--keep"]
    assert list(several.running) == ["a0", "a2"]


def test_no_more_are_taken_once_one_waits_that_no_slot_is_for() -> None:
    """A driver removes what other code has made of a trial just before it hands it over."""
    mates = MatesExecutor(Slots(1), KINDS, most=5)
    mates.submit(job("a0"))
    assert mates.num_free == 4
    mates.submit(job("b0"))
    assert mates.num_free == 0


@pytest.mark.parametrize(
    ("shared", "code", "status", "retried"),
    [
        (True, -signal.SIGSEGV, Status(state="failed", error_type="SIGSEGV"), True),
        (True, 1, Status(state="failed", error_type="exit 1"), True),
        (True, -signal.SIGTERM, Status(state="failed", error_type="Hang"), True),
        (False, -signal.SIGSEGV, Status(state="failed", error_type="SIGSEGV"), False),
        (False, -signal.SIGTERM, Status(state="failed", error_type="Hang"), False),
        (True, 1, Status(state="failed", error_type="ValueError"), False),
        (True, 130, Status(state="interrupted"), True),
    ],
)
def test_what_ended_a_process_of_several_without_a_word_is_not_held_against_each(
    shared: bool, code: int, status: Status, retried: bool
) -> None:
    ended = Ended(job("a0"), code, shared=shared)
    trial = SimpleNamespace(retried=False)
    assert worth_retrying(trial, ended, status) is retried  # type: ignore[arg-type]
    trial.retried = True
    assert not worth_retrying(trial, ended, status)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["terminate", "kill", "withdraw"])
def test_what_waits_when_a_run_is_stopped_ends_without_having_begun(how: str) -> None:
    slots = Slots(1)
    mates = MatesExecutor(slots, KINDS, most=2)
    for name in ("a0", "a1"):
        mates.submit(job(name))
    mates.wait(0)
    mates._waiting = [job("b0")]
    assert not mates.end("b0", force=False)
    if how == "withdraw":
        mates.withdraw(["a1", "b0"])
    else:
        getattr(mates, how)()
    assert ("a0", how == "kill") in slots.asked
    slots.num_slots = 5
    ended = mates.wait(10)
    assert [(each.job.name, each.began) for each in ended] == [("b0", False)]
    assert list(slots.running) == ["a0"]
    assert mates.wait(0) == []


def test_one_of_them_is_ended_with_its_process() -> None:
    slots = Slots(1)
    mates = MatesExecutor(slots, KINDS, most=3)
    for name in ("a0", "a1"):
        mates.submit(job(name))
    mates.wait(0)
    assert mates.end("a1", force=True)
    assert slots.asked == [("a0", True)]


@pytest.mark.parametrize("error", [ExecutorError("no process"), OSError("no log")])
def test_jobs_that_cannot_be_started_are_among_the_next_to_have_ended(error: Exception) -> None:
    slots = Slots(1)
    slots.refuse = error
    mates = MatesExecutor(slots, KINDS, most=3)
    for name in ("a0", "a1"):
        mates.submit(job(name))
    with pytest.raises(ExecutorError, match=str(error)):
        mates.wait(0)
    assert [(each.job.name, each.began) for each in mates.wait(0)] == [("a0", False), ("a1", False)]
    assert mates.num_free == 3
