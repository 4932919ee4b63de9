"""``mmvae_bench.run``: every trial of a grid from Python, as ``mmvae-bench run`` does it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.processes import INTERRUPTED
from ..report.notebook import Report, headline, headline_html, report, results
from ..runs.stale import WhenStale
from ..runs.store import RunStore, overview
from ..specs.grid import GridSpec, expand
from ..sweep.driver import Outcome
from ..sweep.run import Plan, Request
from ..sweep.run import run as run_request

if TYPE_CHECKING:
    import pandas as pd

Grid = GridSpec | Mapping[str, Any] | str | Path
"""A grid: as ``load_grid`` reads it, as a mapping with the keys of a grid file, or a file, or a shipped grid's name."""


@dataclass(frozen=True)
class Run:
    """A run folder whose trials have been worked on.

    Attributes:
        directory: The folder.
    """

    directory: Path

    @property
    def trials(self) -> pd.DataFrame:
        """A row for each trial, by its key: what it is, its state, its folder, and why it failed."""
        import pandas as pd

        found = overview(self.directory)
        rows = [
            {"trial": each.key, "label": each.label, "state": each.state, "error": each.to_json()["error"],
             "directory": str(RunStore(self.directory).folder(each.key).directory)}
            for each in found
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["trial", "label", "state", "error", "directory"]).set_index("trial")

    def results(self) -> pd.DataFrame:
        """See :func:`mmvae_bench.results`."""
        return results(self)

    def report(self) -> Report:
        """See :func:`mmvae_bench.report`."""
        return report(self)

    def table(self) -> pd.DataFrame:
        """The short table: a row for each question over all attributes, a column for each objective, as fractions."""
        return headline(report(self).table)

    def __repr__(self) -> str:
        states = self.trials["state"].value_counts()
        return f"Run({self.directory}: {', '.join(f'{count} {state}' for state, count in states.items())})"

    def __str__(self) -> str:
        """The short report, as on a terminal."""
        return report(self).text

    def _repr_html_(self) -> str:
        shown = headline_html(report(self).table) if (self.trials["state"] == "done").any() else ""
        return f"<p>{escape(repr(self))}</p>{shown}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given(Request):
    """A request whose grid is an object; ``grid`` is where the run keeps it as a file."""

    parsed: GridSpec

    def plan(self) -> Plan:
        """The grid's trials, and a grid file that describes them: JSON is YAML."""
        specs = expand(self.parsed, where=self.where)
        keys = {spec.key for spec in (self.parsed.trials if self.where else specs)}
        return Plan(self.parsed.name, specs, keys, json.dumps(self.parsed.canonical(), indent=1) + "\n")

    def again(self, copy: Path) -> Request:
        """As :meth:`Request.again`: the copy is a file."""
        given = {each.name: getattr(self, each.name) for each in fields(Request)}
        return Request(**given | {"grid": copy})


def run(
    grid: Grid,
    *,
    out: str | Path | None = None,
    where: str | Sequence[str] = (),
    workers: int | None = None,
    per_device: int = 1,
    executor: str = "local",
    retry: str | None = None,
    stale: WhenStale = "refuse",
) -> Run:
    """Runs every trial of a grid, each in a process of its own; the same call resumes a run that was stopped.

    What happens is said on stderr. Nothing is printed on stdout: ``print(run)`` gives the short table, and a notebook
    shows it.

    Args:
        grid: A grid, a mapping with the keys of a grid file, a file, or the name of a shipped grid. The parts of a
            mapping may be specs, such as what :func:`mmvae_bench.data.from_arrays` returns; ``name`` may be left out.
        out: The run folder; None: ``runs/NAME``.
        where: Only these trials, such as ``"objective=telbo"``.
        workers: The most trials at a time; None: what fits.
        per_device: Trials on each GPU.
        executor: local, ray or slurm.
        retry: ``failed`` runs failed trials again.
        stale: What to do with trials that other code has made: refuse, keep or retrain.

    Returns:
        The run, also if some of its trials have failed: ``run.trials`` says which, and why.

    Raises:
        ConfigError: with everything that is wrong; nothing was started.
        KeyboardInterrupt: when it was interrupted; trials have been saved.
    """
    conditions = (where,) if isinstance(where, str) else tuple(where)
    options: dict[str, Any] = {
        "where": conditions, "workers": workers, "per_device": per_device, "executor": executor, "retry": retry,
        "stale": stale,
    }  # fmt: skip
    if isinstance(grid, str | Path):
        place = Path(out) if out is not None else None
        request = Request(grid=Path(grid), out=place, **options)
        folder = place or Path("runs") / request.plan().name
    else:
        parsed = grid if isinstance(grid, GridSpec) else GridSpec.parse({"name": _name(out), **grid})
        folder = Path(out) if out is not None else Path("runs") / parsed.name
        request = _Given(grid=folder / "grid.yaml", out=folder, parsed=parsed, **options)
    if run_request(request, report=_report) == INTERRUPTED:
        raise KeyboardInterrupt
    return Run(folder)


def _name(out: str | Path | None) -> str:
    """A grid's name, from that of its folder."""
    name = "" if out is None else Path(out).resolve().name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-")[:100] or "run"


def _report(store: RunStore, outcome: Outcome) -> tuple[str | None, str]:
    """Writes the report, as the command line does; what it says is printed where it is asked for."""
    if outcome.stopped or not outcome.done:
        from ..report.gather import write_results

        write_results(store.root)
        return None, ""
    return str(report(store.root).page), ""
