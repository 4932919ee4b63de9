"""A W&B sweep file as a run on this machine: its trials in a folder like any other, described by a grid file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ..base.errors import ConfigError, Problem
from ..specs.sweeps import SweepFile, load_sweep
from ..specs.trial import TrialSpec
from .run import Plan, Request

PARTS = {"datasets": "dataset", "backbones": "backbone", "objectives": "objective"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest(Request):
    """What the user asked for; the fields are the options of ``mmvae-bench sweep``, ``grid`` is the sweep file."""

    count: int | None = None

    def check(self) -> None:
        """Raises ConfigError with an option that has no meaning."""
        if self.count is not None and self.count < 1:
            raise ConfigError([Problem("a number of trials is 1 or more", ("--count",), str(self.count))])
        # Not super(): a dataclass with slots is made anew, and the old class is what super() would look for.
        Request.check(self)

    def plan(self) -> Plan:
        """Reads the sweep file; raises ConfigError with everything that is wrong with it."""
        sweep = load_sweep(self.grid, count=self.count)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.grid.stem).lstrip("._-") or "sweep"
        keys = {spec.key for spec in sweep.trials}
        return Plan(name, sweep.trials, keys, grid_text(sweep, name=name))

    def asks(self) -> list[str]:
        """The words of the command line that say what is run."""
        counted = [] if self.count is None else ["--count", str(self.count)]
        return ["sweep", "--local", str(self.grid), *counted]


def grid_text(sweep: SweepFile, *, name: str) -> str:
    """The grid file with the trials of a sweep, one a line, and the sweep file itself as comments.

    So whatever reads a run folder reads this one, and ``mmvae-bench run --grid`` goes through the same trials.
    """
    origin = f"{len(sweep.trials)} trials of a sweep by method {sweep.method}"
    if sweep.num_drawn > len(sweep.trials):
        origin += f" ({sweep.num_drawn} draws, some of them equal)"
    comments = [f"# {line}".rstrip() for line in (f"{origin}, which was:", "", *sweep.text.splitlines())]
    head = [f"name: {json.dumps(name)}", f"summary: {json.dumps(origin)}", "include:"]
    # JSON is YAML, and its numbers are read back to the bit.
    return "\n".join([*comments, *head, *(f"- {json.dumps(_include(spec))}" for spec in sweep.trials)]) + "\n"


def _include(spec: TrialSpec) -> dict[str, object]:
    plain = spec.canonical()
    lists: dict[str, object] = {name: [plain[kind]] for name, kind in PARTS.items()}
    rest = {"training": plain["training"], "seeds": [spec.seed], "evaluation": spec.evaluation.canonical()}
    return lists | rest
