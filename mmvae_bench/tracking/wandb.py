"""A trial as a Weights & Biases run. The only module that imports wandb; imported only with ``--wandb``.

Under a sweep agent the run's config determines what is trained. Without an agent the run's id is the trial's key.
If no API key is configured, runs are recorded offline and no server is contacted.
"""

from __future__ import annotations

import netrc
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from ..base.errors import BenchmarkError
from ..base.processes import BAD_INPUT, FAILED, INTERRUPTED
from ..runs.names import SAMPLES_FILE
from ..specs.overrides import leaves
from ..specs.trial import TrialSpec
from .metrics import SCORE_COLUMNS, record_values, score_table, score_values

PROJECT = "mmvae-bench"
"""The project of runs without an agent, unless WANDB_PROJECT names another."""
DEFAULT_HOSTS = ("wandb.ai", "coreweave.com")
"""Domains of the public servers; .netrc may have the key under the older one."""


def under_agent() -> bool:
    """Whether a sweep agent has started this process."""
    return bool(os.environ.get("WANDB_SWEEP_ID") or os.environ.get("WANDB_SWEEP_PARAM_PATH"))


class WandbRun:
    """An open run.

    Args:
        run: The result of ``wandb.init()``.
        module: The wandb package.
    """

    def __init__(self, run: Any, module: ModuleType) -> None:
        self._run, self._module = run, module
        self._broken = False
        self._step = 0

    @property
    def settings(self) -> dict[str, Any]:
        """The run's config: under an agent the parameters it chose, plus whatever an earlier start recorded."""
        return dict(self._run.config.items())

    @property
    def sweep(self) -> str | None:
        """The sweep's id; None without an agent."""
        return self._run.sweep_id or None

    def describe(self, trial: TrialSpec) -> None:
        """Writes the full resolved spec into the run's config, under dotted names."""
        given = set(config_of(self.settings))
        missing = {key: value for key, value in config_of(_plain(trial)).items() if key not in given}
        self._run.config.update(missing, allow_val_change=True)
        self._run.summary["trial"] = trial.key

    def record(self, record: Mapping[str, Any]) -> None:
        """Logs a training record at its step over all stages. Never raises: tracking must not stop a training."""
        self._step = record["overall"]
        self._log(record_values(record))

    def result(self, result: Mapping[str, Any], directory: Path) -> None:
        """Logs the scores of a finished trial, also as a table, and its sample grid."""
        self._step = max(self._step, result["training"]["steps"])
        values: dict[str, Any] = dict(score_values(result["scores"]))
        try:
            values["scores"] = self._module.Table(columns=list(SCORE_COLUMNS), data=score_table(result["scores"]))
            if (directory / SAMPLES_FILE).exists():
                values["samples"] = self._module.Image(str(directory / SAMPLES_FILE))
        except Exception as error:
            self._give_up(error)
        self._log(values)

    def finish(self, exit_code: int, *, error: str | None = None) -> None:
        """Ends the run: finished if the code is 0, otherwise failed, with the reason in its summary."""
        try:
            if error is not None:
                self._run.summary["error"] = error
            self._run.finish(exit_code=exit_code)
        except Exception as problem:
            self._give_up(problem)

    def _log(self, values: Mapping[str, Any]) -> None:
        try:
            self._run.log(dict(values), step=self._step)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if not self._broken:
            sys.stderr.write(
                f"W&B logging failed and stops here; the trial continues: {type(error).__name__}: {error}\n"
            )
        self._broken = True


@contextmanager
def wandb_run(trial: TrialSpec | None = None) -> Iterator[WandbRun]:
    """A run for the duration of the block; it finishes or fails as the block does.

    Args:
        trial: What is trained; None under an agent, where the run's config determines it.

    Raises:
        BenchmarkError: if wandb is not installed, or no run can be started.
    """
    run = _start(trial)
    try:
        yield run
    except BaseException as error:
        # `typer.Exit` has the code; the error that caused it is its context.
        cause = error.__context__ if hasattr(error, "exit_code") else error
        run.finish(_exit_code(error), error=None if cause is None else f"{cause}" or type(cause).__name__)
        raise
    run.finish(0)


def config_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with one dotted name per value, as in sweep files.

    >>> config_of({"objective": {"name": "telbo"}, "training.steps": 5})
    {'objective.name': 'telbo', 'training.steps': 5}
    """
    return {".".join(keys): value for keys, value in leaves(settings)}


def _start(trial: TrialSpec | None) -> WandbRun:
    module = _package()
    options: dict[str, Any] = {"resume": "allow"}
    if trial is not None:
        options["config"] = config_of(_plain(trial))
        options["project"] = os.environ.get("WANDB_PROJECT") or PROJECT
        # The same trial continues under the same id, however it was stopped.
        options["id"] = os.environ.get("WANDB_RUN_ID") or trial.key
        options["name"] = os.environ.get("WANDB_NAME") or trial.label
    try:
        # Otherwise it contacts its server to report errors, even offline.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        if "WANDB_MODE" not in os.environ and not _has_key(module.setup().settings):
            options["mode"] = "offline"
        return WandbRun(module.init(**options), module)
    except (module.Error, OSError, ValueError) as error:
        raise BenchmarkError(
            f"cannot start a W&B run: {error}\n"
            "  WANDB_MODE=offline records the trial without a server; `wandb sync` uploads it later."
        ) from None


def _package() -> ModuleType:
    try:
        import wandb
    except ImportError:
        raise BenchmarkError(
            "--wandb needs the package wandb: run `pip install wandb`, or train without --wandb"
        ) from None
    return wandb


def _has_key(settings: Any) -> bool:
    """Whether W&B would find credentials without prompting; opens no connection."""
    if settings.api_key or getattr(settings, "identity_token_file", None) or settings.mode not in ("online", "shared"):
        return True
    host = urlsplit(settings.base_url).netloc
    hosts = {host} | ({"api.wandb.ai"} if host.endswith(DEFAULT_HOSTS) else set())
    places = [os.environ["NETRC"]] if "NETRC" in os.environ else ["~/.netrc", "~/_netrc"]
    for place in places:
        try:
            entries = netrc.netrc(os.path.expanduser(place))
        except (OSError, netrc.NetrcParseError):
            continue
        if any(entries.authenticators(name) for name in hosts):
            return True
    return False


def _plain(trial: TrialSpec) -> dict[str, Any]:
    return trial.canonical() | {"evaluation": trial.evaluation.canonical()}


def _exit_code(error: BaseException) -> int:
    if isinstance(error, BenchmarkError):
        return BAD_INPUT
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else int(getattr(error, "exit_code", FAILED))
