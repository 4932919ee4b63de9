"""An export on the Hugging Face hub, where the user asks for it. Nothing is made public unasked."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from ..base.errors import BenchmarkError, ConfigError, Problem
from ..base.printable import printable

OPTION = "--upload"


def check_upload(repository: str) -> None:
    """Refuses what cannot be uploaded before anything is written or sent.

    Args:
        repository: ``OWNER/NAME``.

    Raises:
        ConfigError: it is no name of a repository, or nobody is logged in.
    """
    from huggingface_hub import get_token
    from huggingface_hub.utils import HFValidationError, validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repository)
        if repository.count("/") != 1:
            raise HFValidationError("expected OWNER/NAME")
    except HFValidationError as error:
        reason = printable(str(error).splitlines()[0])
        raise ConfigError(
            [Problem(f"no name of a repository of the hub: {reason}", (OPTION,), repr(repository))]
        ) from None
    if get_token() is None:
        message = "nobody is logged in to the hub: set HF_TOKEN, or log in with `hf auth login`"
        raise ConfigError([Problem(message, (OPTION,), repository)])


def upload(folder: Path, repository: str, *, kind: Literal["model", "dataset"], public: bool) -> str:
    """Uploads the files of a folder as one commit.

    A repository that does not exist is made: a private one, unless ``public``. One that is public already is only added
    to with ``public``.

    Args:
        folder: A whole export.
        repository: ``OWNER/NAME``.
        kind: What it is.
        public: Whether everybody may see it.

    Returns:
        The address of the repository.

    Raises:
        ConfigError: the repository is public, and ``public`` was not asked for.
        BenchmarkError: whatever the hub or the network says; the folder is left as it is.
    """
    from huggingface_hub import HfApi

    try:
        hub = HfApi(library_name="mmvae-bench")
        address = str(hub.create_repo(repository, repo_type=kind, private=not public, exist_ok=True))
        if not public and not hub.repo_info(repository, repo_type=kind).private:
            message = "is public: add --public if everybody may see these files"
            raise ConfigError([Problem(message, (OPTION,), repository)])
        told = f"Written by mmvae-bench export: {'a model' if kind == 'model' else 'a dataset'} with its card"
        hub.upload_folder(folder_path=folder, repo_id=repository, repo_type=kind, commit_message=told)
    except ConfigError:
        raise
    except Exception as error:  # Of the network, of the hub, of its client: the user needs to see it, whatever it is.
        words = ["hf", "upload", repository, str(folder), ".", "--repo-type", kind]
        again = shlex.join(words if public else [*words, "--private"])
        raise BenchmarkError(
            printable(f"{repository}: not uploaded: {' '.join(str(error).split()) or type(error).__name__}")
            + f"\n  {printable(str(folder))} is whole. To try again: {printable(again)}"
        ) from error
    return address
