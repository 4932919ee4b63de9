"""A trial in Lightning's own loggers: a CSV file, or TensorBoard. They get the same records as a W&B run.

A logger writes into ``tracking/KIND/version_N`` of the trial's folder, a new version for each session. Lightning is
imported when the first number comes, with the rest of the training.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from ..base.errors import BenchmarkError, ConfigError, unknown
from ..runs.names import SAMPLES_FILE
from ..specs.overrides import leaves
from ..specs.trial import TrialSpec
from .metrics import record_values, score_values

FOLDER = "tracking"
"""In a trial's folder."""
KINDS = ("csv", "tensorboard")
"""The values of ``--track``."""


class Tracker(Protocol):
    """What follows a trial; none of it raises."""

    def record(self, record: Mapping[str, Any]) -> None:
        """A record of the training, at its step over all stages."""

    def result(self, result: Mapping[str, Any], directory: Path) -> None:
        """The scores of a finished trial, and its sample grid."""


class LoggerRun:
    """A logger of Lightning that follows a trial.

    Args:
        kind: One of ``KINDS``.
        out: The trial's folder.
        trial: The trial, whose settings are the hyperparameters.
    """

    def __init__(self, kind: str, out: Path, trial: TrialSpec) -> None:
        self.kind, self.out, self.trial = kind, out, trial
        self._step, self._broken = 0, False

    @cached_property
    def logger(self) -> Any:
        """Lightning's logger, with the settings."""
        from pytorch_lightning import loggers

        place: dict[str, Any] = {"save_dir": self.out, "name": f"{FOLDER}/{self.kind}"}
        if self.kind == "csv":
            found: Any = loggers.CSVLogger(**place)
        else:
            found = loggers.TensorBoardLogger(**place, default_hp_metric=False)
        settings = self.trial.canonical() | {"evaluation": self.trial.evaluation.canonical()}
        found.log_hyperparams({".".join(keys): value for keys, value in leaves(settings)})
        return found

    def record(self, record: Mapping[str, Any]) -> None:
        """See :class:`Tracker`."""
        self._step = record["overall"]
        self._log(record_values(record))

    def result(self, result: Mapping[str, Any], directory: Path) -> None:
        """See :class:`Tracker`."""
        self._step = max(self._step, result["training"]["steps"])
        self._log(score_values(result["scores"]))
        if self.kind == "tensorboard" and not self._broken and (directory / SAMPLES_FILE).is_file():
            with self._kept_going():
                import numpy as np
                from PIL import Image

                picture = np.asarray(Image.open(directory / SAMPLES_FILE).convert("RGB"))
                self.logger.experiment.add_image("samples", picture, self._step, dataformats="HWC")

    def finish(self) -> None:
        """Writes what is left."""
        if "logger" in self.__dict__ and not self._broken:
            with self._kept_going():
                self.logger.finalize("success")

    def _log(self, values: Mapping[str, float]) -> None:
        if not self._broken:
            with self._kept_going():
                self.logger.log_metrics(dict(values), step=self._step)
                self.logger.save()

    @contextmanager
    def _kept_going(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._broken = True
            why = f"{type(error).__name__}: {error}"
            sys.stderr.write(f"logging to {self.kind} failed and stops here; the trial continues: {why}\n")


def check_kinds(kinds: Sequence[str]) -> None:
    """Raises ConfigError for an unknown kind, BenchmarkError for one whose package is missing."""
    if problems := [unknown("tracker", kind, KINDS, ("--track",)) for kind in kinds if kind not in KINDS]:
        raise ConfigError(problems)
    if "tensorboard" in kinds and find_spec("tensorboard") is None:
        raise BenchmarkError(
            "--track tensorboard needs the package tensorboard: run `pip install tensorboard`, or use --track csv"
        )


@contextmanager
def logged(kinds: Sequence[str], out: Path, trial: TrialSpec) -> Iterator[list[Tracker]]:
    """The loggers of a trial for the duration of the block; each kind once."""
    runs = [LoggerRun(kind, out, trial) for kind in dict.fromkeys(kinds)]
    try:
        yield list(runs)
    finally:
        for run in runs:
            run.finish()
