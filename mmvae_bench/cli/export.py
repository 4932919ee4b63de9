"""``mmvae-bench export``: a trained model as a folder that others can load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .uploading import Public, UploadTo, check_asked, uploaded
from .writing import writing_to


def export(
    trial_dir: Annotated[Path, typer.Argument(metavar="TRIAL_DIR", help="The folder of a finished trial.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The folder to write; must not hold files yet.")],
    upload: UploadTo = None,
    public: Public = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Write the weights of a trained model as safetensors. With its spec and a card; nothing is pickled.

    `mmvae_bench.load(FOLDER)` and `mmvae-bench imagine FOLDER` read it.
    """
    from ..report.export import check_export, export_trial

    check_export(trial_dir, out)  # Said before torch is imported.
    check_asked(upload, public=public)
    with writing_to(out, advice="Give another folder with --out FOLDER: the trial is only read."):
        export_trial(trial_dir, out)
    files = sorted(path.name for path in out.iterdir())
    sent = uploaded(out, upload, kind="model", public=public)
    told = json.dumps({"folder": str(out), "files": files, **sent})
    typer.echo(told if as_json else "\n".join([str(out), *sent.values()]))
