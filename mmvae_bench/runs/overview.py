"""Every trial of a run folder with its state, whatever grid or driver it came from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.errors import ConfigError
from ..specs.trial import trial_label
from .status import STATES, Status
from .store import RunStore


@dataclass(frozen=True, slots=True)
class TrialOverview:
    """One trial.

    Attributes:
        key: Its name on disk.
        spec: Its canonical spec.
        status: How far it is with regard to the evaluation that its folder asks for.
    """

    key: str
    spec: dict[str, Any]
    status: Status

    @property
    def label(self) -> str:
        """A short name for people."""
        return trial_label(self.spec)

    @property
    def steps(self) -> int:
        """Gradient steps to make: what the trial has said, else those of its main stage."""
        return self.status.steps or int(self.spec["training"]["steps"])

    def to_json(self) -> dict[str, Any]:
        """As ``mmvae-bench status --json`` has it."""
        step = self.steps if self.status.state == "done" else self.status.step
        return {
            "key": self.key,
            "spec": self.spec,
            "status": self.status.state,
            "attempts": self.status.attempts,
            "step": step,
            "steps": self.steps,
            "error": self.status.error,
        }


def overview(run_dir: Path) -> list[TrialOverview]:
    """Every trial of a run folder, in order of label and key.

    Raises:
        ConfigError: there is no run in ``run_dir``, or one that this version cannot read.
    """
    store = RunStore(run_dir)
    if not store.trials_root.is_dir():
        there = sorted(path.parent.name for path in run_dir.parent.glob("*/trials")) if run_dir.parent.is_dir() else []
        hint = f"\n  runs in {run_dir.parent}: {', '.join(there)}" if there else ""
        raise ConfigError(f"{run_dir}: not a run folder: it has no trials{hint}")
    trials: list[TrialOverview] = []
    for key in store.check():
        folder = store.folder(key)
        if folder.spec_path.exists() and folder.spec_path.stat().st_size:
            trials.append(TrialOverview(key, json.loads(folder.spec_text()), folder.status(folder.evaluation())))
    return sorted(trials, key=lambda trial: (trial.label, trial.key))


def lines(trials: Sequence[TrialOverview]) -> list[str]:
    """The trials as aligned text, failures with their reason, and the totals."""
    rows: list[str] = []
    width = max((len(f"{trial.steps}") for trial in trials), default=1)
    for trial in trials:
        shown = trial.to_json()
        attempts = f"  attempt {trial.status.attempts}" if trial.status.attempts > 1 else ""
        steps = f"{shown['step']:>{width}}/{shown['steps']:<{width}}"
        rows.append(f"{trial.key}  {trial.status.state:<11}  {steps}  {trial.label}{attempts}")
        if trial.status.state == "failed":
            rows += [f"    {line}" for line in (trial.status.error or "").splitlines()]
            rows += [f"    log: {trial.status.log}"] if trial.status.log else []
    counts = Counter(trial.status.state for trial in trials)
    return [*rows, ", ".join(f"{counts[state]} {state}" for state in reversed(STATES) if counts[state]) or "no trials"]
