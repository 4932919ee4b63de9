"""The options that send an export to the Hugging Face hub, which both commands that write one have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..base.errors import ConfigError, Problem

UploadTo = Annotated[
    str | None,
    typer.Option(
        "--upload",
        metavar="OWNER/NAME",
        help="Also upload it to this repository of the Hugging Face hub, which is made if it does not exist: private "
        "unless --public. Log in first: HF_TOKEN, or `hf auth login`.",
    ),
]
Public = Annotated[bool, typer.Option("--public", help="With --upload: everybody may see it.")]


def check_asked(upload: str | None, *, public: bool) -> None:
    """Refuses what cannot be uploaded before anything is made.

    Raises:
        ConfigError: as :func:`mmvae_bench.report.hub.check_upload`, or ``--public`` without ``--upload``.
    """
    if upload is not None:
        from ..report.hub import check_upload

        check_upload(upload)
    elif public:
        raise ConfigError([Problem("is about what is uploaded: add --upload OWNER/NAME", ("--public",))])


def uploaded(folder: Path, upload: str | None, *, kind: Literal["model", "dataset"], public: bool) -> dict[str, str]:
    """Uploads a folder if that was asked for; says where it then is, as ``address``."""
    if upload is None:
        return {}
    from ..report.hub import upload as send

    return {"address": send(folder, upload, kind=kind, public=public)}
