"""Jobs that do not import torch again: each is a fork of one process that has.

To import torch, Lightning and this package takes three seconds of a processor, for a trial that may take thirty. The
fork server is a process that imports them once and then, for each job, forks a process that runs the same command line
as a new interpreter would, in a session, with a log and an environment of its own. So a crash is one trial's, as ever,
and the server itself trains nothing. It forks nothing, and the job is started as a new process, where a fork would not
be the same: if code has changed since it was imported, or an import has left a thread behind, which forks lack.

Python's own fork server (``multiprocessing``) also runs the driver's main module in each fork, with the driver's
``sys.path``, and if the server dies it reports an exit of jobs that are still running. Here the driver holds a
descriptor of each process, so a job ends when its process does, whatever became of the server; and jobs outlive a
driver that is killed.

Only on Linux (descriptors of processes), and on the CPU: a fork cannot use a GPU that its parent has asked for.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import IO, Any, Final, NoReturn

from ..base.processes import SAFE_PYTHON, uncollected

SERVER: Final = (*SAFE_PYTHON, "-m", __name__)
PROGRAM: Final = "mmvae_bench"
IMPORTED: Final = ("mmvae_bench.trial", "mmvae_bench.training.fit")
SWITCH: Final = "MMVAE_BENCH_FORK"
"""Environment variable: 0 starts every job as a new process."""
_LARGEST: Final = 1 << 20
"""Bytes of a message: a command line and the variables that a job's environment adds."""


def available() -> bool:
    """Whether this system has what it needs, and the user has not switched it off."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open") and os.environ.get(SWITCH) != "0"


class NotForked(Exception):
    """A job that was not started: it needs a new process."""


class Fork:
    """A process that the server was asked for; used by several threads.

    Attributes:
        pid: Its number; None as long as there is none.
        asked: A signal that was sent before there was a process.
    """

    def __init__(self) -> None:
        self.pid: int | None = None
        self._descriptor: int | None = None
        self._code: int | None = None
        self._lock = threading.Lock()
        self._decided, self._answered = threading.Event(), threading.Event()
        self.asked: signal.Signals | None = None

    def wait(self) -> int:
        """Waits for its end and returns its exit code, or minus the number of the signal that ended it.

        Where the server, which alone is told, is gone, this is taken to be SIGKILL's: the trial's own files say more.

        Raises:
            NotForked: There is no process.
        """
        self._decided.wait()
        if self.pid is None:
            raise NotForked
        if self._descriptor is not None:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            poll.poll()
        self._answered.wait()
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
        return -signal.SIGKILL if self._code is None else self._code

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """Sends a signal to it, or to its children too; one that has not begun will not."""
        with self._lock:
            if self.pid is None:
                self.asked = number
            elif not self._answered.is_set():
                with suppress(ProcessLookupError, PermissionError):
                    if self._descriptor is None:
                        os.kill(self.pid, number)
                    else:
                        signal.pidfd_send_signal(self._descriptor, number)
                    if group:
                        os.killpg(self.pid, number)

    def began(self, pid: int, descriptor: int | None) -> None:
        """There is a process. None: this one had no number free for its descriptor, and the server's word has to do."""
        with self._lock:
            self.pid, self._descriptor = pid, descriptor
            self._decided.set()
        if self.asked is not None:
            self.send(self.asked, group=self.asked is signal.SIGKILL)

    def ended(self, code: int | None) -> None:
        """It has ended, or (None) the server that would have told is gone; before :meth:`began`: there is none."""
        with self._lock:
            self._code = code
            self._decided.set()
            self._answered.set()


class ForkServer:
    """The driver's end: starts the server with the first job.

    Args:
        environment: The server's variables, and so every fork's.
        program: The module that each fork runs, as ``python -m`` would.
        imported: The modules that are imported before.
    """

    def __init__(
        self, environment: Mapping[str, str], *, program: str = PROGRAM, imported: Sequence[str] = IMPORTED
    ) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._forks: dict[int, Fork] = {}
        self._number, self._lock, self._gone = 0, threading.Lock(), False
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [*SERVER, str(theirs.fileno()), program, *imported],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=dict(environment),
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except OSError:
            self._channel.close()
            raise
        threading.Thread(target=self._listen, daemon=True).start()

    def fork(self, arguments: Sequence[str], log: IO[bytes], environment: Mapping[str, str]) -> Fork:
        """Asks for a process that runs the program.

        Args:
            arguments: The command line, without the program.
            log: An open file for its output.
            environment: Variables in addition to the server's.

        Raises:
            NotForked: The server is gone.
        """
        fork = Fork()
        with self._lock:
            if self._gone:
                raise NotForked
            self._number += 1
            self._forks[self._number] = fork
            message = {"job": self._number, "arguments": list(arguments), "environment": dict(environment)}
        try:
            socket.send_fds(self._channel, [json.dumps(message).encode()], [log.fileno()])
        except OSError:
            fork.ended(None)
            raise NotForked from None
        return fork

    def close(self) -> None:
        """Lets the server go as soon as it has no jobs left."""
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                content, descriptors, _, _ = socket.recv_fds(self._channel, _LARGEST, 1)
                if not content:
                    break
                answer = json.loads(content)
                if "pid" in answer:
                    self._forks[answer["job"]].began(answer["pid"], descriptors[0] if descriptors else None)
                else:
                    self._forks.pop(answer["job"]).ended(answer["code"])
        with self._lock:
            self._gone = True
        for fork in self._forks.values():
            fork.ended(None)
        self._process.wait()
        self._channel.close()


class _Server:
    """The server's end.

    Args:
        channel: Where the driver asks for jobs.
        imported: What to import.
    """

    def __init__(self, channel: socket.socket, imported: Sequence[str]) -> None:
        self.channel = channel
        began = time.time_ns()
        with uncollected():
            for name in imported:
                import_module(name)
        self.files = loaded_files()
        # What was changed while it was being imported cannot be told from what was not.
        self.current = all(changed < began for changed, _ in self.files.values())
        self.children: dict[int, tuple[int, int]] = {}

    def serve(self) -> dict[str, Any] | None:
        """Answers until the driver is gone and the jobs have ended (None); in a fork, returns its message at once."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.channel, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    if key.fileobj is not self.channel:
                        selector.unregister(key.fd)
                        self._bury(key.fd)
                        continue
                    content, descriptors, _, _ = socket.recv_fds(self.channel, _LARGEST, 1)
                    if not content:
                        selector.unregister(self.channel)
                        continue
                    message = json.loads(content)
                    if not descriptors:  # None was free for the log.
                        self._answer(message["job"], code=None)
                        continue
                    child = self._fork(message, descriptors[0])
                    if child is None:
                        return dict(message)
                    if child:
                        selector.register(child, selectors.EVENT_READ)
        return None

    def _fork(self, message: Mapping[str, Any], log: int) -> int | None:
        """A descriptor of the new process; 0 if there is none; None in that process."""
        if not (self.current and self.files == loaded_files(self.files) and len(os.listdir("/proc/self/task")) == 1):
            self.current = False
        if not self.current or _unread(log):  # Unread: who asked has stopped while this was importing.
            os.close(log)
            self._answer(message["job"], code=None)
            return 0
        ready, child_ready = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            for each in (ready, child_ready, log):
                os.close(each)
            self._answer(message["job"], code=None)
            return 0
        if pid == 0:
            os.setsid()
            os.close(child_ready)  # From here on a signal to its group reaches it.
            os.close(ready)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
            _reopen_output()
            self.channel.close()
            for descriptor in self.children:
                os.close(descriptor)
            os.environ.update(message["environment"])
            return None
        os.close(log)
        os.close(child_ready)
        os.read(ready, 1)
        os.close(ready)
        child = os.pidfd_open(pid)
        self.children[child] = (message["job"], pid)
        self._answer(message["job"], child, pid=pid)
        return child

    def _bury(self, descriptor: int) -> None:
        job, pid = self.children.pop(descriptor)
        _, status = os.waitpid(pid, 0)
        os.close(descriptor)
        self._answer(job, code=os.waitstatus_to_exitcode(status))

    def _answer(self, job: int, *descriptors: int, **said: int | None) -> None:
        with suppress(OSError):  # A driver that is gone is not told.
            socket.send_fds(self.channel, [json.dumps({"job": job, **said}).encode()], descriptors)


def _unread(descriptor: int) -> bool:
    """Whether it is a pipe that nobody can read from any more."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _reopen_output() -> None:
    """Makes stdout and stderr anew: those of the server hold what its output could do, to seek, which a pipe cannot."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        before = getattr(sys, name)
        again = open(number, "w", encoding=before.encoding, errors=before.errors, closefd=False)  # noqa: SIM115
        again.reconfigure(line_buffering=before.line_buffering)
        setattr(sys, name, again)


def loaded_files(known: Mapping[str, object] | None = None) -> dict[str, tuple[int, int]]:
    """Time of the last change, in ns, and size of the files of all modules outside the interpreter's own folders.

    Args:
        known: The files; None: those of the modules that are loaded.
    """
    if known is None:
        elsewhere = tuple({os.path.realpath(folder) + os.sep for folder in (sys.prefix, sys.base_prefix)})
        found = ((name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items()))
        known = {
            file: None
            for name, file in found
            if file
            and (name.split(".")[0] in (PROGRAM, "__main__") or not os.path.realpath(file).startswith(elsewhere))
        }
    states: dict[str, tuple[int, int]] = {}
    for file in known:
        with suppress(OSError):
            state = os.stat(file)
            states[file] = (state.st_mtime_ns, state.st_size)
    return states


def _main() -> NoReturn:
    descriptor, program, *imported = sys.argv[1:]
    message = _Server(socket.socket(fileno=int(descriptor)), imported).serve()
    if message is None:
        os._exit(0)
    sys.argv[1:] = message["arguments"]
    runpy.run_module(program, run_name="__main__", alter_sys=True)
    raise SystemExit(0)


if __name__ == "__main__":
    _main()
