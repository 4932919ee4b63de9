"""Makes images in several processes at once, and notices when one of them dies."""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from ...base.errors import BenchmarkError
from ...base.processes import SAFE_PYTHON
from ...worlds.recipe import ImageRecipe

COMMAND = (*SAFE_PYTHON, "-m", "mmvae_bench.data.shards.worker")
"""Takes its search path from PYTHONPATH alone: the caller's, in which the recipe is found."""
ONE_THREAD = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1",
}  # fmt: skip
_LAST_CHARACTERS = 4000

Job = dict[str, Any]
Answer = dict[str, Any]
Tell = Callable[[Job, int], object]


class WorkerError(BenchmarkError):
    """A process that makes images died."""


class Processes:
    """Context manager: processes that do jobs, each with one thread and in its own session.

    Ctrl-C in the terminal reaches only the caller; on leaving the block every process is killed.

    Args:
        recipe: Makes the images; pickled.
        folder: Folder of the store.
        fingerprint: Fingerprint of the recipe.
        number: Number of processes.
    """

    def __init__(self, recipe: ImageRecipe, *, folder: Path, fingerprint: str, number: int) -> None:
        self._task = pickle.dumps((recipe, folder, fingerprint))
        self._number = number
        self._workers: list[_Worker] = []
        self._answers: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end()

    def run(self, jobs: Sequence[Job], tell: Tell) -> Iterator[tuple[Job, Answer]]:
        """Does the jobs, and yields each with its answer when it is done, in any order.

        Args:
            jobs: What :func:`mmvae_bench.data.shards.worker.work` takes.
            tell: Called with a job and the number of its images that are made.

        Raises:
            WorkerError: if a process dies, with its last output.
        """
        waiting = deque(jobs)
        for _ in range(min(self._number, len(jobs))):
            worker = _Worker(self._task, self._answers)
            self._workers.append(worker)
            worker.submit(waiting.popleft())
        left = len(jobs)
        while left:
            worker, answer = self._answers.get()
            job = worker.job
            if job is None:
                continue  # an idle process that ended
            if answer is None:
                raise WorkerError(worker.last_words())
            if "done" in answer:
                tell(job, answer["done"])
                continue
            left -= 1
            worker.job = None
            if waiting:
                worker.submit(waiting.popleft())
            yield job, answer


class _Worker:
    def __init__(self, task: bytes, answers: queue.SimpleQueue[Any]) -> None:
        self.job: Job | None = None
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 closed by end()
        search = os.pathsep.join(path or os.curdir for path in sys.path)
        environment = {
            **os.environ,
            **ONE_THREAD,
            "PYTHONPATH": search,
        }
        try:
            self._process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._output,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerError(f"cannot start a process that makes images: {error}; use fewer --workers") from error
        threading.Thread(target=self._listen, args=(answers,), daemon=True).start()
        self._write(task)

    def submit(self, job: Job) -> None:
        self.job = job
        self._write(json.dumps(job).encode() + b"\n")

    def end(self) -> None:
        """Kills the process: unfinished work leaves nothing that looks finished."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._output.close()

    def last_words(self) -> str:
        """What is known about a process that died."""
        code = self._process.wait()
        how = f"exited with code {code}"
        if code < 0:
            how = f"was killed by signal {-code} ({signal.Signals(-code).name})"
        what = "making images again to compare them"
        if self.job is not None and "file" in self.job:
            what = f"making images {self.job['start']:,} to {self.job['stop'] - 1:,}"
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").splitlines()
        # Python's fault handler lists every module, which buries what native code printed before it.
        output = "\n".join(line for line in lines if not line.startswith("Extension modules:")).strip()
        output = output[-_LAST_CHARACTERS:]
        text = f"a process died while {what}: it {how}"
        if code == -signal.SIGKILL:
            text += "; the system probably ran out of memory: use fewer --workers"
        return text + (f"\n  its last output:\n{output}" if output else "; it printed nothing")

    def _write(self, content: bytes) -> None:
        assert self._process.stdin is not None
        # A process that is already dead is reported when its answers end.
        with suppress(BrokenPipeError):
            self._process.stdin.write(content)
            self._process.stdin.flush()

    def _listen(self, answers: queue.SimpleQueue[Any]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                # A line cut off by the death of the process is not an answer.
                with suppress(ValueError):
                    answers.put((self, json.loads(line)))
        answers.put((self, None))
