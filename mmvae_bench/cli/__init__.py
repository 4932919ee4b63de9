"""The command line. Every command has its own file; none imports torch before it is needed.

Results go to stdout, messages to stderr. Exit codes: 0 all done, 1 some trials failed, 2 invalid input, 130
interrupted.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from ..base.errors import BenchmarkError
from ..base.processes import BAD_INPUT, FAILED, INTERRUPTED, leave
from ..specs.base import load_attribute

TRACEBACK_VARIABLE = "MMVAE_BENCH_TRACEBACK"
"""If this variable is set to anything, errors are shown with their traceback."""

_BAD_PATH = (errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS)

COMMANDS = {
    "run": "run:run",
    "train": "train:train",
    "evaluate": "evaluate:evaluate",
    "imagine": "imagine:imagine",
    "reconstruct": "reconstruct:reconstruct",
    "complete": "complete:complete",
    "describe": "describe:describe",
    "interpolate": "interpolate:interpolate",
    "traverse": "traverse:traverse",
    "analogies": "analogies:analogies",
    "layers": "layers:layers",
    "neighbours": "neighbours:neighbours",
    "confusion": "confusion:confusion",
    "status": "status:status",
    "verify": "verify:verify",
    "report": "report:report",
    "compare": "compare:compare",
    "leaderboard": "leaderboard:leaderboard",
    "export": "export:export",
    "sweep": "sweep:sweep",
    "list": "listing:list_parts",
    "configs": "configs:configs",
    "schema": "schema:schema",
}
"""The commands in the order of ``--help``, each with its module in this package and its function."""
HIDDEN = {"prepare": "train:prepare", "rehearse": "train:rehearse", "train-together": "train:train_together"}
"""Commands that only a sweep calls."""
GROUPS = {"data": "data:app"}
"""Commands with subcommands."""


def _version(asked: bool) -> None:
    if asked:
        from .. import __version__

        typer.echo(f"mmvae-bench {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A fair comparison of multimodal VAE objectives: one set of networks, one set of questions, one honest table."""


def _app() -> typer.Typer:
    app = typer.Typer(
        name="mmvae-bench",
        callback=_root,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # Plain help is quick, and its brackets stay brackets.
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, path in {**COMMANDS, **HIDDEN}.items():
        app.command(name, hidden=name in HIDDEN)(load_attribute(f"{__name__}.{path}"))
    for name, path in GROUPS.items():
        app.add_typer(load_attribute(f"{__name__}.{path}"), name=name)
    return app


app = _app()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code; errors that a user can fix become one message on stderr.

    Args:
        arguments: The command line; None: that of the process, which then ends with the exit code if torch has been
            imported (:func:`~mmvae_bench.base.processes.leave`).
    """
    code = _run(arguments)
    if arguments is None and "torch" in sys.modules:
        leave(code)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # A terminal that lacks a character is no reason to fail.
    try:
        app(None if arguments is None else list(arguments), prog_name="mmvae-bench")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (BenchmarkError, OSError) as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        if isinstance(error, BenchmarkError):
            typer.echo(f"error: {error}", err=True)
            return BAD_INPUT
        typer.echo(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", err=True)
        # A path that does not exist or is of the wrong kind is invalid input; a full disk is not.
        return BAD_INPUT if error.errno in _BAD_PATH else FAILED
    return 0
