"""A run's numbers and its report for Python: data frames, and objects that a notebook shows as a table."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..runs.names import PAGE_FILE, REPORT_FOLDER
from .text import number

if TYPE_CHECKING:
    import pandas as pd


class HasFolder(Protocol):
    """A run, as ``mmvae_bench.run`` returns it."""

    @property
    def directory(self) -> Path:
        """Its folder."""


RunLike = HasFolder | str | os.PathLike[str]
"""A run, or its folder."""


def folder_of(run: RunLike) -> Path:
    """The folder of a run."""
    return Path(run) if isinstance(run, str | os.PathLike) else run.directory


def results(run: RunLike) -> pd.DataFrame:
    """Every number of a run: a row for each, values as fractions; the columns are those of ``results.parquet``.

    Args:
        run: What ``mmvae_bench.run`` returned, or a run folder; its trials may be unfinished or failed.

    Raises:
        BenchmarkError: it is no run folder, or holds no trial.
    """
    from .frames import read_results
    from .gather import write_results
    from .trials import open_run

    folder = folder_of(run)
    open_run(folder)
    write_results(folder)
    return read_results(folder)


def report(run: RunLike) -> Report:
    """Writes the tables and the page of a run, into its folder ``report``.

    Args:
        run: What ``mmvae_bench.run`` returned, or a run folder.

    Raises:
        BenchmarkError: it is no run folder, or holds no trial.
    """
    from .write import write_report

    folder = folder_of(run)
    text = write_report(folder, color=False)
    return Report(folder, text)


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        directory: The run's folder.
        text: The short report, as on a terminal.
    """

    directory: Path
    text: str = field(repr=False)

    @property
    def page(self) -> Path:
        """The page, which needs no network."""
        return self.directory / REPORT_FOLDER / PAGE_FILE

    @property
    def table(self) -> pd.DataFrame:
        """The scores of every table: a row for each, the columns are those of ``table.csv``."""
        import pandas as pd

        return pd.read_csv(self.directory / REPORT_FOLDER / "table.csv")

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        """What the short table shows, and where the page is."""
        return f"{headline_html(self.table)}<p>{escape(str(self.page))}</p>"


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """The scores over all attributes under the headline protocol of each table: rows are questions, columns objectives.

    Args:
        table: As :attr:`Report.table`.

    Returns:
        Values as fractions (or in the metric's unit), nan where an objective has no such score.
    """
    from .tables import headline_of

    first = {name: headline_of(str(name)) for name in table["dataset"].unique()}
    shown = table["attribute"].isna() & (table["protocol"].isna() | (table["protocol"] == table["dataset"].map(first)))
    rows = table[shown].astype({"level": "Int64"})
    order = ["table", "metric", "level"]
    wide = rows.pivot_table(index=order, columns="objective", values="value", sort=False, dropna=False, observed=True)
    return wide.dropna(how="all")


def headline_html(table: pd.DataFrame) -> str:
    """:func:`headline` as an HTML table, numbers as in every other rendering."""
    from ..metrics.catalogue import metric_info

    shown = headline(table)
    heads = ["", "level", *map(str, shown.columns)]
    parts = [f"<table><tr>{''.join(f'<th>{escape(head)}</th>' for head in heads)}</tr>"]
    title: object = None
    for place, row in zip(shown.index.tolist(), shown.to_numpy().tolist(), strict=True):
        name, metric, level = place
        if name != title:
            title = name
            parts.append(f'<tr><th colspan="{len(heads)}">{escape(str(name))}</th></tr>')
        info = metric_info(str(metric))
        unit = "" if info.unit == "%" else f", {info.unit}"
        cells = [info.label + unit, "" if _absent(level) else str(level), *(number(v, info.unit) for v in row)]
        parts.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return "".join([*parts, "</table>"])


def _absent(value: object) -> bool:
    import pandas as pd

    return bool(pd.isna(value))  # type: ignore[call-overload]
