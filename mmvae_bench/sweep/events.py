"""What happens in a run, as the driver tells it to whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from ..runs.status import Status

Kind = Literal[
    "run", "preparing", "prepared", "prepare_failed", "running", "elsewhere", "done", "failed", "retry", "hung",
    "interrupted", "stopping", "end",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change.

    Attributes:
        event: run: the driver starts; preparing, prepared, prepare_failed: of a dataset and classifier; running: a
            trial starts; elsewhere: another driver has it, and this one waits; done, failed, interrupted: what became
            of a trial; retry: it ended and will be tried again; hung: it no longer moves, and is ended; stopping: the
            driver was asked to stop; end: it ends.
        finished: Trials that are done or failed by now.
        total: Trials of the run.
        key: The trial's key.
        label: Its name for people.
        seconds: How long it took.
        attempts: How many processes have worked on it.
        error: What went wrong, in one message.
        log: Where to read more.
        message: A remark.
        done: Trials done; of ``run`` and ``end``.
        failed: Trials failed; of ``run`` and ``end``.
        report: Path of the report; of ``end``.
        resume: The command that goes on; of ``end``, where there is something left.
    """

    event: Kind
    finished: int
    total: int
    key: str | None = None
    label: str | None = None
    seconds: float | None = None
    attempts: int | None = None
    error: str | None = None
    log: str | None = None
    message: str | None = None
    done: int | None = None
    failed: int | None = None
    report: str | None = None
    resume: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The event without what does not apply to it."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Running:
    """A job that runs now.

    Attributes:
        label: The trial's, or what is prepared.
        seconds: Since it was started.
        status: The trial's own word; None for a preparation.
        seconds_left: Of its training; None where unknown.
    """

    label: str
    seconds: float
    status: Status | None
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        total: Trials of the run.
        done: Trials that are done.
        failed: Trials that failed.
        waiting: Trials that no process works on.
        elsewhere: Trials that another driver works on.
        running: The jobs that run here.
        seconds: Since the driver started.
        seconds_left: Until all is done; None where unknown.
        stopping: Whether the driver was asked to stop.
    """

    total: int
    done: int
    failed: int
    waiting: int
    elsewhere: int
    running: Sequence[Running]
    seconds: float
    seconds_left: float | None
    stopping: bool


class Observer(Protocol):
    """Whoever watches a run. Never raises: watching must not harm the run."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def event(self, event: Event) -> None:
        """Something has changed."""

    def tick(self, progress: Callable[[], Progress]) -> None:
        """Time has passed; ``progress`` may be called to see how far the run is."""
