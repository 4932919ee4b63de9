"""Every file of a run folder checked: what is wrong with each trial, and what a run would do about it.

Nothing is written, and nothing that a file contains is run: weights are compared with their checksum, not loaded.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from ..base.errors import BenchmarkError
from ..base.files import DamagedFile, open_regular
from ..base.printable import counted, printable
from ..specs.grid import load_grid
from ..specs.labels import trial_labels
from ..specs.trial import TrialSpec
from .checksums import CHANGED, check_digest, digest_of, read_checksums, read_digests
from .documents import parse_object, read_object, understood_status
from .folder import TrialFolder
from .names import (
    CHECKPOINT_FILE,
    CHECKSUMS_FILE,
    DRIVERS_FILE,
    EVALUATION_FILE,
    FIGURES_FOLDER,
    PLANE_FILE,
    QUERIES_FILE,
    REPORT_CHECKSUMS_FILE,
    REPORT_FOLDER,
    RESULT_FILE,
    RESULTS_FILE,
    SAMPLES_FILE,
    SPEC_FILE,
    STATUS_FILE,
    TRAINING_LOG,
    TRIAL_FILES,
)
from .stale import staleness
from .status import STATES, read_status
from .store import DAMAGED, RunStore, open_store

DONE = "nothing: it is done"
"""What a run would do with a sound trial that is done."""
STRAY: Final = "not in the grid"
"""The state of an empty folder that is no trial of the grid: not damaged, but a run refuses it."""
_LOSSES = (BadZipFile, EOFError, ValueError, RuntimeError, NotImplementedError, OSError)
"""What reading a damaged archive raises; zlib's own errors cannot occur, since nothing is packed."""
_OF_REPORT: Final = re.compile(
    rf"{re.escape(RESULTS_FILE)}|{re.escape(QUERIES_FILE)}|{REPORT_FOLDER}/({FIGURES_FOLDER}/)?(?!\.\.?$)[^/]+"
)
"""The files that a report writes, by their path in the run's folder."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        file: The file's name, or its path within the run for a file of no trial.
        problem: What is wrong with it.
    """

    file: str
    problem: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """One trial folder.

    Attributes:
        key: Its name.
        label: A short name that no other trial has.
        state: As ``status`` has it; damaged if there are faults, but for :data:`STRAY`, which ``status`` does not list.
        checksums: Whether the trial has checksums; only trials that are done have them.
        faults: What is wrong.
        run: What ``mmvae-bench run`` would do with it.
    """

    key: str
    label: str
    state: str
    checksums: bool
    faults: tuple[Fault, ...]
    run: str


@dataclass(frozen=True, slots=True)
class Verification:
    """A run folder.

    Attributes:
        run_dir: The folder.
        trials: Every trial, ordered by label and key.
        faults: What is wrong besides.
    """

    run_dir: Path
    trials: tuple[Verdict, ...]
    faults: tuple[Fault, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults and not any(trial.faults for trial in self.trials)

    def to_json(self) -> dict[str, Any]:
        """As ``mmvae-bench verify --json`` has it."""
        return {
            "run": printable(str(self.run_dir)),
            "whole": self.whole,
            "trials": [asdict(trial) for trial in self.trials],
            "faults": [asdict(fault) for fault in self.faults],
        }


def verify(run_dir: Path) -> Verification:
    """Checks every file of a run folder.

    Raises:
        ConfigError: ``run_dir`` has no run.
        DamagedFile: the folder of its trials is a link.
    """
    store = open_store(run_dir)
    keys = store.keys()
    grid = _Grid(store.grid_path)
    found = [_verdict(store.folder(key), grid) for key in keys]
    labels = trial_labels([spec for _, spec in found])
    verdicts = [
        replace(trial, label=label) if spec else trial for (trial, spec), label in zip(found, labels, strict=True)
    ]
    trials = sorted(verdicts, key=lambda trial: (trial.label, trial.key))
    named = {trial.key for trial in trials if trial.state != STRAY}
    return Verification(run_dir, tuple(trials), (*_of_the_run(store, grid), *_strangers(grid, named)))


_OUT_OF_REACH = frozenset(
    f"cannot be read: {os.strerror(number)}" for number in (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)
)
"""Said of a file that may be whole: its owner keeps it, or its disk or server does not answer just now."""


def _verdict(folder: TrialFolder, grid: _Grid) -> tuple[Verdict, dict[str, Any]]:
    """What there is to say of a trial, without its label; and its spec, empty if it cannot be read."""
    key = printable(folder.key)
    try:
        spec = folder.spec()
    except DamagedFile as damage:
        step = f"refuses the run until {damage.path.name} is restored, or {folder.directory} removed"
        if damage.reason in _OUT_OF_REACH:
            step = f"refuses the run until {damage.path.name} can be read: it may be whole, so remove nothing"
        elif damage.path == folder.spec_path and folder.lacks_spec() and grid.keys:
            step = f"refuses the run until {folder.directory} is removed: it is no trial of the grid"
            if folder.key in grid.keys:
                step = "writes its spec again, and goes on with what is there"
        if damage.path == folder.spec_path and folder.is_blank():
            if folder.key in grid.keys or not grid.keys:
                return Verdict(key, f"trial {key}", "pending", False, (), "trains it from the start"), {}
            state = "empty" if os.path.lexists(folder.spec_path) else "missing"
            what = "nothing has run in this folder" if any(folder.directory.iterdir()) else "the folder is empty"
            fault = Fault(SPEC_FILE, f"{state}: {what}, and it is no trial of the grid")
            return Verdict(key, f"trial {key}", STRAY, False, (fault,), printable(step)), {}
        return Verdict(key, f"trial {key}", DAMAGED, False, (_fault(damage),), printable(step)), {}
    faults = [_fault(damage) for damage in _damages(folder, grid)]
    status = folder.status(folder.evaluation())
    state = DAMAGED if faults else status.state
    listed = os.path.lexists(folder.directory / CHECKSUMS_FILE)
    return Verdict(key, "", state, listed, tuple(faults), _next_step(folder, status.state, faults)), spec


@dataclass(frozen=True)
class _Grid:
    """The grid of a run, read only if it is asked for."""

    path: Path

    @property
    def keys(self) -> frozenset[str]:
        """Those of its trials; empty where it cannot be read."""
        return frozenset(self._read[0])

    def asks(self, key: str, evaluation: Mapping[str, Any] | None) -> bool:
        """Whether these are the evaluation settings that it has for a trial."""
        trial = self._read[0].get(key)
        return trial is not None and trial.evaluation.canonical() == evaluation

    @property
    def problem(self) -> str | None:
        """Why it cannot be read; None if it can."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[Mapping[str, TrialSpec], str | None]:
        try:
            return {trial.key: trial for trial in load_grid(self.path).trials}, None
        except (BenchmarkError, OSError, RecursionError) as error:
            return {}, printable(str(error).splitlines()[0])


def _fault(damage: DamagedFile) -> Fault:
    return Fault(printable(damage.path.name), printable(damage.reason))


def _damages(folder: TrialFolder, grid: _Grid) -> Iterator[DamagedFile]:
    """What is wrong with the files of a trial whose spec is whole."""
    result, checksums = None, None
    try:
        result = folder.result()
    except DamagedFile as damage:
        yield damage
    try:
        checksums = read_checksums(folder.directory)
    except DamagedFile as damage:
        if result is None and not os.path.lexists(folder.result_path):
            yield damage  # Otherwise it was the damage of the result.
    if checksums is not None and os.path.lexists(folder.result_path):
        for name in sorted(checksums.keys() & TRIAL_FILES - {RESULT_FILE, SPEC_FILE}):
            yield from _differs(folder.directory / name, checksums)
    else:
        yield from _unreadable_weights(folder.directory / CHECKPOINT_FILE)
        yield from _unreadable_log(folder.directory / TRAINING_LOG)
    for name in (STATUS_FILE, EVALUATION_FILE):
        yield from _unreadable(folder.directory / name)
    asked = folder.evaluation()
    other = result is not None and asked is not None and asked != result.get("evaluation", asked)
    # A run that was stopped before, or while, it evaluated the trial with other settings has left them here.
    if other and read_status(folder.directory).state == "done" and not grid.asks(folder.key, asked):
        yield DamagedFile(folder.evaluation_path, "asks for another evaluation than the result was made with")


def _differs(path: Path, checksums: dict[str, str]) -> Iterator[DamagedFile]:
    try:
        check_digest(path, digest_of(path), checksums)
    except DamagedFile as damage:
        yield damage
    except FileNotFoundError:
        yield DamagedFile(path, "missing")
    except OSError as error:
        yield DamagedFile(path, f"cannot be read: {error.strerror}")


def _unreadable(path: Path) -> Iterator[DamagedFile]:
    try:
        plain = read_object(path)
        if path.name == STATUS_FILE:
            known = {name: value for name, value in plain.items() if name not in ("state", "log")}
            wrong = sorted(known.keys() - understood_status(known).keys())
            wrong += ["state"] if plain.get("state") not in STATES else []
            if wrong:
                yield DamagedFile(path, f"a value of the wrong kind: {', '.join(wrong)}")
    except DamagedFile as damage:
        yield damage
    except FileNotFoundError:
        return
    except OSError as error:
        yield DamagedFile(path, f"cannot be read: {error.strerror}")


def _unreadable_weights(path: Path) -> Iterator[DamagedFile]:
    """Weights without a checksum are an archive that has its own."""
    try:
        with open_regular(path) as file, ZipFile(file) as archive:
            if any(entry.compress_type != ZIP_STORED for entry in archive.infolist()):
                raise ValueError("its parts are compressed")
            damaged = archive.testzip()
        if damaged is not None:
            yield DamagedFile(path, f"in {damaged}")
    except DamagedFile as damage:
        yield damage
    except FileNotFoundError:
        return
    except _LOSSES as error:
        yield DamagedFile(path, f"{error}")


def _unreadable_log(path: Path) -> Iterator[DamagedFile]:
    """Every line but the last, which a kill may have cut short, is a record."""
    try:
        with open_regular(path) as file:
            number, wrong = 0, None
            while line := file.readline(2**20):
                number += 1
                if wrong is not None:
                    yield DamagedFile(path, f"line {wrong} is no record")
                    return
                try:
                    parse_object(path, line)
                except DamagedFile:
                    wrong = number
    except DamagedFile as damage:
        yield damage
    except OSError:
        return


def _next_step(folder: TrialFolder, state: str, faults: list[Fault]) -> str:
    """What a run would do with a trial."""
    files = {fault.file for fault in faults}
    weights = folder.directory / CHECKPOINT_FILE
    there = weights.is_file() and CHECKPOINT_FILE not in files
    if state == "running":
        return "nothing: a process is working on it"
    if state == "failed":
        return "nothing, unless with --retry failed"
    if stale := staleness(folder, folder.result_head()):
        return printable(f"nothing, unless with --retrain or --keep: made by other code ({stale})")
    if state == "done":
        if CHECKPOINT_FILE in files:
            return f"nothing: its numbers are whole; to train it again, remove its {RESULT_FILE} and run"
        if files & {SAMPLES_FILE, PLANE_FILE}:
            return f"nothing: its numbers are whole; `mmvae-bench evaluate {folder.directory}` draws its pictures again"
        return "nothing: its numbers are whole" if files else DONE
    if not there:
        return "trains it from the start"
    trained = os.path.lexists(folder.result_path)
    return "evaluates the trained model again" if trained else "resumes it where it was stopped"


def _strangers(grid: _Grid, keys: Set[str]) -> Iterator[Fault]:
    """Trials that the folder has and its grid has not: a run refuses them."""
    if grid.keys and (strangers := sorted(keys - grid.keys)):
        named = ", ".join(strangers[:5]) + (", ..." if len(strangers) > 5 else "")
        told = f"{len(strangers)} of the {counted(len(keys), 'trial')} here are not in it"
        yield Fault(grid.path.name, f"{told}, so `mmvae-bench run` refuses the folder: {named}")


def _of_the_run(store: RunStore, grid: _Grid) -> Iterator[Fault]:
    """What is wrong with the files that belong to no trial. All but the grid are written again by a report."""
    changed = tuple(_of_the_report(store.root))
    yield from changed
    for name in (grid.path.name, RESULTS_FILE, QUERIES_FILE):
        path = store.root / name
        if any(fault.file == name for fault in changed):
            continue
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            # `run_trial` in Python writes no grid; a driver does.
            if path == grid.path and os.path.lexists(store.root / DRIVERS_FILE):
                yield Fault(name, "missing; the command that made the run writes it again")
            continue
        if not stat.S_ISREG(mode):
            yield Fault(name, "not a regular file")
        elif path == grid.path:
            if grid.problem is not None:
                yield Fault(name, grid.problem)
        elif (problem := _parquet_problem(path)) is not None:
            yield Fault(name, f"{problem}; `mmvae-bench report` writes it again")
    for place in (Path(REPORT_FOLDER), Path(REPORT_FOLDER, FIGURES_FOLDER)):
        if (store.root / place).is_symlink():
            yield Fault(place.as_posix(), "a link; no report is written through it")


def _of_the_report(root: Path) -> Iterator[Fault]:
    """Which files of the last report are not what it has written; an earlier version wrote no checksums of them."""
    try:
        checksums = read_digests(root / REPORT_CHECKSUMS_FILE) or {}
    except DamagedFile as damage:
        yield _fault(damage)
        return
    except OSError as error:
        yield Fault(REPORT_CHECKSUMS_FILE, f"cannot be read: {error.strerror}")
        return
    for name, expected in sorted(checksums.items()):
        if (problem := _report_problem(root, name, expected)) is not None:
            yield Fault(printable(name), f"{printable(problem)}; `mmvae-bench report` writes it again")


def _report_problem(root: Path, name: str, expected: str) -> str | None:
    if not name.isprintable() or not _OF_REPORT.fullmatch(name):
        return f"{REPORT_CHECKSUMS_FILE} lists it, and it is no file of a report"
    if any(folder.is_symlink() for folder in (root / name).parents if folder != root and root in folder.parents):
        return None  # What a link leads to is not read; the link itself is a fault.
    try:
        return None if digest_of(root / name) == expected else CHANGED
    except DamagedFile as damage:
        return damage.reason
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _parquet_problem(path: Path) -> str | None:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, pre_buffer=False) as table:
            for group in range(table.num_row_groups):
                table.read_row_group(group, use_threads=False)
    except (OSError, ValueError, NotImplementedError, MemoryError) as error:
        return f"cannot be read: {printable(str(error).splitlines()[0])}"
    return None
