"""A run's folder: ``grid.yaml`` and one folder a trial, named by the trial's key.

A run folder is one comparison. A grid that has all trials of the folder, and perhaps more, may work on it; one that
lacks some is refused, for its table would mix two comparisons.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..base.canonical import canonical_json
from ..base.errors import BenchmarkError, ConfigError
from ..base.files import write_text
from ..specs.trial import SPEC_VERSION
from .folder import TrialFolder
from .lock import Drivers, TrialLock
from .names import EVALUATION_FILE, GRID_FILE, SPEC_FILE, TRIALS_FOLDER


class StoreError(BenchmarkError):
    """The disk does not take what is to be written."""


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Turns an error of the operating system in the block into one that says what to do."""
    try:
        yield
    except OSError as error:
        reason = f"{root}: cannot write the run folder: {error.strerror or error}"
        if error.filename:
            reason += f"\n  at: {error.filename}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "Free some space (`df -h` and `df -i` say where), then give the same command again."
        else:
            advice = "Give a folder that you can write to with --out."
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
        """The folder of a trial, whether or not it is there."""
        return TrialFolder(self.trials_root / key)

    def keys(self) -> set[str]:
        """Of every trial in the folder."""
        try:
            with os.scandir(self.trials_root) as entries:
                return {entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()}
        except FileNotFoundError:
            return set()

    def check(self, grid_keys: Collection[str] | None = None) -> set[str]:
        """Looks whether what is there can be worked on, and writes nothing; gives back the keys that are there.

        Args:
            grid_keys: Every key of the grid; None where any trial may be there.

        Raises:
            ConfigError: the folder is no folder, or a trial in it is of another version, was changed by hand, or is
                none of the grid's.
        """
        for path in (self.root, self.trials_root):
            if path.exists() and not path.is_dir():
                raise ConfigError(f"{path}: is a file; a run needs a folder\n  Give another one with --out.")
        if (
            self.root.is_dir()
            and not self.grid_path.exists()
            and not self.trials_root.exists()
            and any(self.root.iterdir())
        ):
            raise ConfigError(
                f"{self.root.resolve()}: holds other files and no run\n  Give a new or an empty folder with --out."
            )
        keys = self.keys()
        for key in sorted(keys):
            self._check_spec(self.folder(key))
        strangers = sorted(keys - set(grid_keys)) if grid_keys is not None else []
        if strangers:
            named = ", ".join(strangers[:5]) + (", ..." if len(strangers) > 5 else "")
            raise ConfigError(
                f"{self.root}: holds {len(strangers)} of {len(keys)} trials that this grid does not have: {named}\n"
                f"  A run folder is one comparison, and {self.grid_path} describes it.\n"
                f"  Give another folder with --out, work on part of the first grid with --where, or remove those "
                f"folders from {self.trials_root}."
            )
        return keys

    def _check_spec(self, folder: TrialFolder) -> None:
        try:
            text = folder.spec_text()
        except FileNotFoundError:
            text = ""
        if not text.strip():
            return  # Never written to its end: nothing can have run in it, and creating writes it again.
        try:
            version = json.loads(text).get("version")
        except (ValueError, AttributeError):
            raise ConfigError(
                f"{folder.spec_path}: damaged, not a trial's spec\n  Remove {folder.directory}, then run again."
            ) from None
        if version != SPEC_VERSION:
            raise ConfigError(
                f"{folder.spec_path}: made by version {version!r} of the trial spec; this mmvae-bench writes version "
                f"{SPEC_VERSION}\n  Results of two versions are not compared: give another folder with --out, or read "
                f"this one with the mmvae-bench that made it."
            )
        if not folder.intact():
            raise ConfigError(
                f"{folder.spec_path}: was changed after the trial was made: the folder's name is no longer its hash\n"
                f"  Restore the file, or remove {folder.directory}, then run again."
            )

    def create(
        self,
        trials: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]],
        *,
        grid_text: str,
        grid_keys: Collection[str],
        drivers: Drivers | None = None,
    ) -> None:
        """Makes the folder of every trial that has none, and writes down what each is to be asked.

        Args:
            trials: Key, canonical spec and canonical evaluation of the trials to work on.
            grid_text: Text of the grid file, kept as ``grid.yaml``.
            grid_keys: Every key of the grid.
            drivers: Joined here, by who will work on the trials.

        Raises:
            ConfigError: as :meth:`check`, which is repeated here under a lock: two drivers may start at once; or
                another driver is at work and asks its trials otherwise.
            StoreError: the disk does not take it.
        """
        with writing(self.root):
            self.trials_root.mkdir(parents=True, exist_ok=True)
            with TrialLock(self.root, wait=60.0):
                for leftover in self.trials_root.glob(".????????????.*"):
                    shutil.rmtree(leftover, ignore_errors=True)  # Of a driver that was killed just here.
                keys = self.check(grid_keys)
                if drivers is not None and not drivers.join():
                    trials = list(trials)
                    self._check_asked((key, evaluation) for key, _, evaluation in trials if key in keys)
                if not self.grid_path.exists() or self.grid_path.read_text(errors="replace") != grid_text:
                    write_text(self.grid_path, grid_text)
                for key, spec, evaluation in trials:
                    folder = self.folder(key)
                    if key in keys and folder.spec_path.exists() and folder.spec_path.stat().st_size:
                        folder.ask(evaluation)
                    elif key in keys:
                        write_text(folder.spec_path, canonical_json(spec))
                        folder.ask(evaluation)
                    else:
                        self._create(key, spec, evaluation)

    def _check_asked(self, evaluations: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Two drivers that ask otherwise would each replace the other's results, and leave a mixture behind."""
        for key, evaluation in evaluations:
            asked = self.folder(key).evaluation()
            if asked is not None and asked != evaluation:
                apart = [
                    f"{name} {json.dumps(asked.get(name))} there, {json.dumps(evaluation.get(name))} here"
                    for name in {**asked, **evaluation}
                    if asked.get(name) != evaluation.get(name)
                ]
                raise ConfigError(
                    f"{self.root}: another driver is at work here with another evaluation: {'; '.join(apart)}\n"
                    "  Give another folder with --out, or wait until it has ended: then models are asked anew."
                )

    def _create(self, key: str, spec: Mapping[str, Any], evaluation: Mapping[str, Any]) -> None:
        # The folder appears with both files in it. They are not flushed to the disk one by one: at 10,000 trials that
        # is what starting would cost, and a file that a power cut left empty is written again.
        temporary = Path(tempfile.mkdtemp(dir=self.trials_root, prefix=f".{key}."))
        try:
            (temporary / SPEC_FILE).write_text(canonical_json(spec))
            (temporary / EVALUATION_FILE).write_text(canonical_json(evaluation))
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o777 & ~mask)
            temporary.rename(self.trials_root / key)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
