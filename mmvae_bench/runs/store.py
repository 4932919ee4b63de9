"""A run's folder: ``grid.yaml`` and one folder per trial, named by the trial's key.

A run folder is one comparison. A grid may work on it if it has all trials of the folder, and perhaps more; a grid that
lacks some is refused, since its table would mix two comparisons.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.canonical import canonical_json
from ..base.errors import DISK_FULL, BenchmarkError, ConfigError
from ..base.files import DamagedFile, clear_leftovers, parse_json, read_bytes, write_text
from ..base.printable import printable
from ..specs.trial import SPEC_VERSION, trial_label
from .folder import TrialFolder
from .held import forget_held, held_reasons
from .lock import Drivers, TrialLock
from .names import EVALUATION_FILE, FIGURES_FOLDER, GRID_FILE, REPORT_FOLDER, SPEC_FILE, TRIALS_FOLDER
from .previous import has_survived
from .stale import staleness
from .status import Status, read_status

DAMAGED = "damaged"
"""The state of a trial whose files cannot be read or contradict each other."""


class StoreError(BenchmarkError):
    """The run folder cannot be written."""


class NoRoom(StoreError):
    """The disk is full: what failed for it is to be run again once there is room."""


class FolderMoved(StoreError):
    """The run folder was renamed or removed while a driver worked on it."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            f"{root}: the run folder was renamed or removed while the run was at work: nothing more is started, and "
            "running trials are asked to end\n  Move it back and run the same command again, or give its new place "
            "with --out. Finished trials are kept in it."
        )


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Turns an OSError in the block into an error that says what to do."""
    try:
        yield
    except OSError as error:
        reason = f"{root}: cannot write the run folder: {error.strerror or error}"
        if error.filename:
            reason += f"\n  at: {error.filename}"
        if error.errno in DISK_FULL:
            advice = "Free some space (see `df -h` and `df -i`), then run the same command again."
        else:
            advice = "Choose a writable folder with --out."
        raise StoreError(f"{reason}\n  {advice} Finished trials are kept.") from error


class RunStore:
    """The folder of a run.

    Args:
        root: ``runs/<name>``; need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.trials_root = root / TRIALS_FOLDER

    @property
    def grid_path(self) -> Path:
        """The copy of the grid file."""
        return self.root / GRID_FILE

    def folder(self, key: str) -> TrialFolder:
        """The folder of a trial, whether or not it exists."""
        return TrialFolder(self.trials_root / key)

    def keys(self) -> set[str]:
        """The keys of all trials in the folder, of links to folders too, which are never followed.

        Raises:
            DamagedFile: the folder of the trials is itself a link.
        """
        if self.trials_root.is_symlink():
            raise DamagedFile(self.trials_root, "a link; the folder of a run holds no links to others")
        try:
            with os.scandir(self.trials_root) as entries:
                return {entry.name for entry in entries if not entry.name.startswith(".") and _is_trial(entry)}
        except FileNotFoundError:
            return set()

    def check(self, grid_keys: Collection[str] | None = None) -> set[str]:
        """Checks that the folder can be worked on, without writing anything; returns the keys of its trials.

        Args:
            grid_keys: Every key of the grid; None if any trial may be there.

        Raises:
            ConfigError: a file is in the way, or a trial in the folder is of another version, was changed by hand, or
                is not in the grid.
        """
        for path in (self.root, self.trials_root):
            if path.exists() and not path.is_dir():
                raise ConfigError(f"{path}: is a file; a run needs a folder\n  Choose another one with --out.")
        if (
            self.root.is_dir()
            and not self.grid_path.exists()
            and not self.trials_root.exists()
            and any(self.root.iterdir())
        ):
            raise ConfigError(
                f"{self.root.resolve()}: contains other files and no run\n  Choose a new or an empty folder with --out."
            )
        keys = self.keys()
        for key in sorted(keys):
            self._check_spec(self.folder(key))
        strangers = sorted(keys - set(grid_keys)) if grid_keys is not None else []
        if strangers:
            named = ", ".join(strangers[:5]) + (", ..." if len(strangers) > 5 else "")
            raise ConfigError(
                f"{self.root}: {len(strangers)} of its {len(keys)} trials are not in this grid: {named}\n"
                f"  A run folder is one comparison, described by {self.grid_path}.\n"
                f"  Choose another folder with --out, run part of the original grid with --where, or remove those "
                f"folders from {self.trials_root}."
            )
        return keys

    def _check_spec(self, folder: TrialFolder) -> None:
        try:
            folder.check_files()
        except DamagedFile as error:
            raise ConfigError(f"{error}\n  Remove it, then run again.") from None
        try:
            text = folder.spec_text()
        except FileNotFoundError:
            text = ""
        except DamagedFile:
            text = "damaged"
        if not text.strip():
            return  # Never completely written, so nothing can have run in it; create() writes it again.
        try:
            version = parse_json(text).get("version")
        except (ValueError, AttributeError):
            raise ConfigError(
                f"{folder.spec_path}: damaged: not the spec of a trial\n  Remove {folder.directory}, then run again."
            ) from None
        if version != SPEC_VERSION:
            raise ConfigError(
                f"{folder.spec_path}: made by version {version!r:.20} of the trial spec; this mmvae-bench writes "
                f"version {SPEC_VERSION}\n  Results of two versions are not comparable: choose another folder with "
                f"--out, or read this one with the mmvae-bench that made it."
            )
        if not folder.intact():
            raise ConfigError(
                f"{folder.spec_path}: was changed after the trial was created: the folder's name is no longer its "
                f"hash\n  Restore the file, or remove {folder.directory}, then run again."
            )

    def create(
        self,
        trials: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]],
        *,
        grid_text: str,
        grid_keys: Collection[str],
        drivers: Drivers | None = None,
    ) -> None:
        """Creates the missing trial folders, and writes the evaluation settings of every trial.

        Args:
            trials: Key, canonical spec and canonical evaluation of the trials to work on.
            grid_text: Text of the grid file, kept byte for byte as ``grid.yaml``.
            grid_keys: Every key of the grid.
            drivers: Joined here by a caller that will work on the trials.

        Raises:
            ConfigError: as :meth:`check`, which is repeated here under a lock, since two drivers may start at once; or
                another driver is at work with other evaluation settings.
            StoreError: the folder cannot be written.
        """
        with writing(self.root):
            self.trials_root.mkdir(parents=True, exist_ok=True)
            with TrialLock(self.root, wait=60.0):
                for leftover in self.trials_root.glob(".????????????.*"):
                    shutil.rmtree(leftover, ignore_errors=True)  # Left by a driver that was killed at this point.
                report = self.root / REPORT_FOLDER
                for written in (self.root.resolve(), report, report / FIGURES_FOLDER):
                    clear_leftovers(written)
                keys = self.check(grid_keys)
                if drivers is not None and not drivers.join():
                    trials = list(trials)
                    self._check_evaluations((key, evaluation) for key, _, evaluation in trials if key in keys)
                elif drivers is not None:
                    forget_held(self.root)
                if not self._has_grid(grid_text):
                    write_text(self.grid_path, grid_text)
                for key, spec, evaluation in trials:
                    folder = self.folder(key)
                    if key in keys:
                        clear_leftovers(folder.directory)
                    if key in keys and folder.spec_path.exists() and folder.spec_path.stat().st_size:
                        folder.write_evaluation(evaluation)
                    elif key in keys:
                        write_text(folder.spec_path, canonical_json(spec))
                        folder.write_evaluation(evaluation)
                    else:
                        self._create(key, spec, evaluation)

    def _has_grid(self, text: str) -> bool:
        with suppress(FileNotFoundError, DamagedFile):
            return read_bytes(self.grid_path) == text.encode()
        return False

    def _check_evaluations(self, evaluations: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Two drivers with different evaluation settings would replace each other's results and leave a mixture."""
        for key, evaluation in evaluations:
            theirs = self.folder(key).evaluation()
            if has_survived(read_status(self.folder(key).directory)):
                continue  # Its settings are those of its previous result, and no driver's.
            if theirs is not None and theirs != evaluation:
                differences = [
                    f"{name} {json.dumps(theirs.get(name))} there, {json.dumps(evaluation.get(name))} here"
                    for name in {**theirs, **evaluation}
                    if theirs.get(name) != evaluation.get(name)
                ]
                raise ConfigError(
                    f"{self.root}: another driver is working here with other evaluation settings: "
                    f"{'; '.join(differences)}\n"
                    "  Choose another folder with --out, or wait until that driver has ended: then the models are "
                    "evaluated again."
                )

    def _create(self, key: str, spec: Mapping[str, Any], evaluation: Mapping[str, Any]) -> None:
        # The folder appears with both files in it. They are not flushed to disk one by one: with 10,000 trials that
        # would take most of the time to start, and a file left empty by a power cut is written again.
        temporary = Path(tempfile.mkdtemp(dir=self.trials_root, prefix=f".{key}."))
        try:
            (temporary / SPEC_FILE).write_text(canonical_json(spec), encoding="utf-8")
            (temporary / EVALUATION_FILE).write_text(canonical_json(evaluation), encoding="utf-8")
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o777 & ~mask)
            temporary.rename(self.trials_root / key)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def _is_trial(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and entry.is_dir())


@dataclass(frozen=True, slots=True)
class TrialOverview:
    """One trial of a run folder.

    Attributes:
        key: The name of its folder.
        spec: Its canonical spec; empty if it cannot be read.
        status: How far it is with regard to its folder's evaluation settings.
        stale: What differs between the code that made it and the installed code, in words; empty if nothing does.
        damage: What is wrong with its files, if something is.
        host: The machine of the process that works on it; None if it says none, or there is none.
        reason: Why it is not done, as far as that is known, if it is pending or interrupted; else empty.
    """

    key: str
    spec: dict[str, Any]
    status: Status
    stale: str = ""
    damage: str | None = None
    host: str | None = None
    reason: str = ""

    @property
    def label(self) -> str:
        """A short human-readable name."""
        return trial_label(self.spec) if self.spec else f"trial {self.key}"

    @property
    def state(self) -> str:
        """The state of its status, or ``damaged``."""
        return self.status.state if self.damage is None else DAMAGED

    @property
    def steps(self) -> int:
        """Gradient steps to make: as the trial has reported, else those of its main stage."""
        return self.status.steps or int(self.spec.get("training", {}).get("steps", 0))

    def to_json(self) -> dict[str, Any]:
        """As ``mmvae-bench status --json`` has it."""
        step = self.steps if self.state == "done" else self.status.step
        return {
            "key": self.key,
            "spec": self.spec,
            "status": self.state,
            "attempts": self.status.attempts,
            "step": step,
            "steps": self.steps,
            "error": self.status.error if self.damage is None else self.damage,
            **({"stale": self.stale} if self.stale else {}),
            **({"reason": self.reason} if self.reason else {}),
            **({"host": self.host, "updated": self.status.updated} if self.host else {}),
        }


def overview(run_dir: Path) -> list[TrialOverview]:
    """Every trial of a run folder, whatever grid it came from, ordered by label and key; some may be damaged.

    Raises:
        ConfigError: ``run_dir`` has no run, or one of another version.
        DamagedFile: the folder of its trials is a link.
    """
    store = open_store(run_dir)
    keys, held = store.keys(), held_reasons(store.root)
    found = (_overview(store.folder(key), held.get(key)) for key in keys)
    return sorted((trial for trial in found if trial is not None), key=lambda trial: (trial.label, trial.key))


def open_store(run_dir: Path) -> RunStore:
    """A run's folder, which must be one; raises ConfigError with the runs nearby if it is none."""
    store = RunStore(run_dir)
    if not store.trials_root.is_dir():
        there = sorted(path.parent.name for path in run_dir.parent.glob("*/trials")) if run_dir.parent.is_dir() else []
        hint = f"\n  runs in {run_dir.parent}: {', '.join(map(printable, there))}" if there else ""
        raise ConfigError(f"{run_dir}: not a run folder: it has no trials{hint}")
    return store


def _overview(folder: TrialFolder, held: str | None) -> TrialOverview | None:
    """One trial; None if its spec was never completely written, so that nothing can have run.

    Args:
        folder: Its folder.
        held: Why a driver holds it back, if one does.
    """
    shown = printable(folder.key)
    try:
        spec = folder.spec()
    except DamagedFile as error:
        if error.path == folder.spec_path and folder.is_blank():
            return None
        if error.reason.startswith("made by version"):  # Of the whole run, most likely: there is nothing to show.
            raise ConfigError(printable(str(error))) from None
        return TrialOverview(shown, {}, Status(), damage=printable(str(error)))
    status = folder.status(folder.evaluation())
    damage = folder.result_damage() if status.state not in ("done", "running") else None
    stale = None if status.state == "running" else staleness(folder, folder.result_head())
    # A process that has just taken the lock has not written a status yet: what there is comes from an earlier one.
    reported = status.state == "running" and read_status(folder.directory).state == "running"
    return TrialOverview(
        shown,
        spec,
        status,
        printable(str(stale or "")),
        None if damage is None else printable(str(damage)),
        printable(status.host) if reported and status.host else None,
        _reason(folder, status, held),
    )


def _reason(folder: TrialFolder, status: Status, held: str | None) -> str:
    if status.state not in ("pending", "interrupted"):
        return ""
    if held is not None:
        return f"held back: {held}"
    if status.state == "pending" and has_survived(read_status(folder.directory)):
        return f"could not be evaluated again, its previous result is kept: {status.error}"
    if status.state == "pending" and status.error:
        return f"to be retried once, alone, after all others: {status.error}"
    if status.state == "pending" and folder.result_path.exists():
        return "trained, and to be evaluated with other settings than its result was"
    return status.error or ""
