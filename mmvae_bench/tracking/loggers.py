"""A trial in Lightning's own loggers: a CSV file, TensorBoard, or MLflow. They get the same records as a W&B run.

A logger writes into ``tracking/KIND/version_N`` of the trial's folder, a new version for each session; MLflow into a
database in ``tracking/mlflow``, or to the server that MLFLOW_TRACKING_URI names, a new run for each session. Lightning
is imported when the first number comes, with the rest of the training.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from ..base.errors import BenchmarkError, ConfigError, unknown
from ..runs.names import SAMPLES_FILE
from ..specs.overrides import leaves
from ..specs.trial import TrialSpec
from .metrics import record_values, score_values

FOLDER = "tracking"
"""In a trial's folder."""
KINDS = ("csv", "tensorboard", "mlflow")
"""The values of ``--track``."""
EXPERIMENT = "mmvae-bench"
"""The experiment of runs in MLflow, unless MLFLOW_EXPERIMENT_NAME names another."""
_PACKAGES = {
    "tensorboard": ("tensorboard", ("tensorboard",)),
    "mlflow": ("mlflow-skinny sqlalchemy alembic", ("mlflow", "sqlalchemy", "alembic")),
}
"""What ``pip install`` must be told for a kind, and the modules that show that it was."""


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
        if self.kind != "mlflow":
            self._folder()
        if self.kind == "csv":
            found: Any = loggers.CSVLogger(**place)
        elif self.kind == "tensorboard":
            found = loggers.TensorBoardLogger(**place, default_hp_metric=False)
        else:
            found = self._mlflow(loggers.MLFlowLogger)
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
        if self.kind != "csv" and not self._broken and (directory / SAMPLES_FILE).is_file():
            with self._kept_going():
                self._show(directory / SAMPLES_FILE)

    def finish(self, status: Literal["success", "failed"]) -> None:
        """Writes what is left, and how the session ended where the logger has a place for it."""
        if "logger" in self.__dict__ and not self._broken:
            with self._kept_going():
                self.logger.finalize(status)

    def _mlflow(self, logger: Callable[..., Any]) -> Any:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # Otherwise it reports its use to its makers.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # Seven keep a training waiting for four minutes.
        named = {
            "experiment_name": os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT,
            "run_name": self.trial.label,
            "tags": {"trial": self.trial.key},
        }
        if address := os.environ.get("MLFLOW_TRACKING_URI"):
            return logger(**named, tracking_uri=address)
        folder = self._folder().absolute()
        _refuse_link(database := folder / "mlflow.db")
        return logger(**named, tracking_uri=f"sqlite:///{database}", artifact_location=folder.as_uri())

    def _folder(self) -> Path:
        """Where the logger writes. The trial's folder may come from a stranger, who may have put a link there."""
        folder = self.out / FOLDER / self.kind
        for place in (folder.parent, folder):
            _refuse_link(place)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _show(self, samples: Path) -> None:
        if self.kind == "mlflow":
            self.logger.experiment.log_artifact(self.logger.run_id, str(samples))
            return
        import numpy as np
        from PIL import Image

        picture = np.asarray(Image.open(samples).convert("RGB"))
        self.logger.experiment.add_image("samples", picture, self._step, dataformats="HWC")

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


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise BenchmarkError(f"{path}: a link, which is not followed")


def check_kinds(kinds: Sequence[str]) -> None:
    """Raises ConfigError for an unknown kind, BenchmarkError for one whose package is missing."""
    if problems := [unknown("tracker", kind, KINDS, ("--track",)) for kind in kinds if kind not in KINDS]:
        raise ConfigError(problems)
    for kind in kinds:
        packages, modules = _PACKAGES.get(kind, ("", ()))
        if any(find_spec(module) is None for module in modules):
            needed = f"package{'s' if ' ' in packages else ''} {packages.replace(' ', ', ')}"
            raise BenchmarkError(f"--track {kind} needs the {needed}: run `pip install {packages}`, or use --track csv")


@contextmanager
def logged(kinds: Sequence[str], out: Path, trial: TrialSpec) -> Iterator[list[Tracker]]:
    """The loggers of a trial for the duration of the block; each kind once."""
    runs = [LoggerRun(kind, out, trial) for kind in dict.fromkeys(kinds)]
    status: Literal["success", "failed"] = "failed"
    try:
        yield list(runs)
        status = "success"
    finally:
        for run in runs:
            run.finish(status)
