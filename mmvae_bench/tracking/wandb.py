"""A trial as a run of Weights & Biases, the one place that knows the package: imported with ``--wandb`` alone.

Under a sweep agent the run's config decides what is trained. Without an agent the run has the trial's key as its id.
Where no key is configured, everything is written down offline and nothing looks for a server.
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
"""Where runs without an agent go, unless WANDB_PROJECT names another project."""
DEFAULT_HOSTS = ("wandb.ai", "coreweave.com")
"""Ends of the names of the public servers; a key in .netrc may stand under the older name of the other."""


def under_agent() -> bool:
    """Whether a sweep agent has started this process."""
    return bool(os.environ.get("WANDB_SWEEP_ID") or os.environ.get("WANDB_SWEEP_PARAM_PATH"))


class WandbRun:
    """A run that is open.

    Args:
        run: What ``wandb.init()`` gave.
        module: The package.
    """

    def __init__(self, run: Any, module: ModuleType) -> None:
        self._run, self._module = run, module
        self._broken = False
        self._step = 0

    @property
    def settings(self) -> dict[str, Any]:
        """The run's config: under an agent the parameters that it has chosen, and what an earlier start wrote down."""
        return dict(self._run.config.items())

    @property
    def sweep(self) -> str | None:
        """The id of the sweep; None without an agent."""
        return self._run.sweep_id or None

    def describe(self, trial: TrialSpec) -> None:
        """Writes the whole resolved spec into the run's config, under dotted names."""
        given = set(config_of(self.settings))
        missing = {key: value for key, value in config_of(_plain(trial)).items() if key not in given}
        self._run.config.update(missing, allow_val_change=True)
        self._run.summary["trial"] = trial.key

    def record(self, record: Mapping[str, Any]) -> None:
        """Logs a record of the training, at its step over all stages. Never raises: tracking ends no training."""
        self._step = record["overall"]
        self._log(record_values(record))

    def result(self, result: Mapping[str, Any], directory: Path) -> None:
        """Logs the scores of a finished trial, the table of them, and its sample grid."""
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
        """Ends the run: 0 as finished, anything else as failed, with the reason in its summary."""
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
            sys.stderr.write(f"W&B takes no more of this trial, which goes on: {type(error).__name__}: {error}\n")
        self._broken = True


@contextmanager
def wandb_run(trial: TrialSpec | None = None) -> Iterator[WandbRun]:
    """A run for the block; how the block ends is how the run ends.

    Args:
        trial: What is trained; None under an agent, where the run's config has yet to say.

    Raises:
        BenchmarkError: where the package is not installed, or no run can be started.
    """
    run = _start(trial)
    try:
        yield run
    except BaseException as error:
        # `typer.Exit` carries the code; the error that led to it is its context.
        cause = error.__context__ if hasattr(error, "exit_code") else error
        run.finish(_exit_code(error), error=None if cause is None else f"{cause}" or type(cause).__name__)
        raise
    run.finish(0)


def config_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with one dotted name for each value, as sweep files name parameters.

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
        # The same trial goes on under the same id, whatever killed it.
        options["id"] = os.environ.get("WANDB_RUN_ID") or trial.key
        options["name"] = os.environ.get("WANDB_NAME") or trial.label
    try:
        # Unless told not to, it looks up its server to report errors, offline as well.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        if "WANDB_MODE" not in os.environ and not _has_key(module.setup().settings):
            options["mode"] = "offline"
        return WandbRun(module.init(**options), module)
    except (module.Error, OSError, ValueError) as error:
        raise BenchmarkError(
            f"no W&B run can be started: {error}\n"
            "  WANDB_MODE=offline records the trial without a server; `wandb sync` sends it later."
        ) from None


def _package() -> ModuleType:
    try:
        import wandb
    except ImportError:
        raise BenchmarkError("--wandb needs the package wandb: pip install wandb, or train without --wandb") from None
    return wandb


def _has_key(settings: Any) -> bool:
    """Whether W&B would find credentials without asking; looking opens no connection."""
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
