"""``mmvae-bench report``: writes the tables and the page of a run, or of several merged into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .writing import writing_to


def report(
    run_dirs: Annotated[
        list[Path], typer.Argument(metavar="RUN_DIR...", help="A run folder, runs/NAME, or a trial's; or several runs.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Where to write the report. Default: the folder itself; for several runs NAME-merged, next to the "
            "first of them.",
        ),
    ] = None,
) -> None:
    """Write the report of a run and print its short table. With it: results.parquet and queries.parquet.

    Several folders, such as those of several machines, are merged into one table; the folders are not changed. A trial
    with the same result in two folders counts once. If its results differ, the command fails, names both, and writes
    nothing.
    """
    from ..report.trials import open_run
    from ..runs.names import PAGE_FILE, REPORT_FOLDER, SPEC_FILE, TRIALS_FOLDER

    trial = len(run_dirs) == 1 and (run_dirs[0] / SPEC_FILE).is_file() and not (run_dirs[0] / TRIALS_FOLDER).exists()
    for folder in () if trial else run_dirs:
        open_run(folder)  # A folder that is not a run is reported before pandas and matplotlib are imported.

    from ..report.merge import merged_folder
    from ..report.write import write_merged_report, write_report, write_trial_report

    in_place = len(run_dirs) == 1 and out is None
    folder = run_dirs[0] if in_place else out if out is not None else merged_folder(run_dirs)
    with writing_to(folder, advice="Give another folder with --out FOLDER: then the runs are only read."):
        if trial:
            text = write_trial_report(run_dirs[0], run_dirs[0] if out is None else out)
        else:
            text = write_report(folder) if in_place else write_merged_report(run_dirs, folder)
    typer.echo(text)
    typer.echo(str(folder / REPORT_FOLDER / PAGE_FILE))
