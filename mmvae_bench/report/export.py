"""A trained model as a folder for others: weights as safetensors, its spec and a card. Nothing in it is pickled."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..base.errors import ConfigError, Problem
from ..base.files import DamagedFile, write_text
from ..runs.checksums import read_whole
from ..runs.folder import TrialFolder, check_not_exported, read_model, read_result
from ..runs.names import CARD_FILE, RESULT_FILE, SAMPLES_FILE, SPEC_FILE, WEIGHTS_FILE
from ..specs.trial import TrialSpec
from .sheets import is_sheet


def check_export(trial_dir: Path, out: Path) -> tuple[TrialSpec, dict[str, Any]]:
    """The spec and the result of a trial that can be exported to ``out``; imports no torch.

    Raises:
        ConfigError: it is not a trial folder, the trial is not done, or ``out`` holds other files, is in the trial's
            folder or is the working folder.
        DamagedFile: its result or its weights are not what was written.
    """
    spec = read_model(trial_dir)
    check_not_exported(trial_dir)
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise ConfigError([Problem("exists and is not an empty folder: give a new one", ("--out",), str(out))])
    if trial_dir.resolve() in out.resolve().parents:
        raise ConfigError([Problem("is in the trial's folder, which is only read: give another", ("--out",), str(out))])
    if out.resolve() == Path.cwd():
        # It appears by a rename; who works in the folder that it replaces would go on to see an empty one.
        raise ConfigError([Problem("is the working folder: give a new one", ("--out",), str(out))])
    try:
        result = read_result(trial_dir / RESULT_FILE)
    except FileNotFoundError:
        raise ConfigError(
            f"{trial_dir} has no {RESULT_FILE}, so there is nothing to say about the model yet\n"
            f"  Finish the trial: mmvae-bench train --out {trial_dir}"
        ) from None
    if result["key"] != spec.key:
        raise DamagedFile(trial_dir / RESULT_FILE, f"is the result of trial {result['key']}, not of {spec.key}")
    if (damage := TrialFolder(trial_dir).weights_damage()) is not None:
        raise damage
    return spec, result


def export_trial(trial_dir: Path, out: Path) -> None:
    """Writes ``model.safetensors``, ``spec.json``, ``README.md`` (the card) and, if the trial has it, ``samples.png``.

    :func:`mmvae_bench.load` reads the folder. It appears as a whole or not at all.

    Args:
        trial_dir: The folder of a finished trial.
        out: A folder that does not exist yet, or an empty one.

    Raises:
        ConfigError, DamagedFile: as :func:`check_export`.
        CheckpointError: its weights cannot be used.
    """
    spec, result = check_export(trial_dir, out)
    from ..training.weights import write_weights
    from ..trial import load
    from .card import model_card

    model = load(trial_dir)
    with _new_folder(out.resolve()) as folder:
        write_weights(model, folder / WEIGHTS_FILE, key=spec.key)
        write_text(folder / SPEC_FILE, TrialFolder(trial_dir).spec_text())
        sheet = _samples(trial_dir)
        if sheet is not None:
            (folder / SAMPLES_FILE).write_bytes(sheet)
        write_text(folder / CARD_FILE, model_card(spec, result, samples=None if sheet is None else SAMPLES_FILE))


def _samples(trial_dir: Path) -> bytes | None:
    """The sheet of samples; None if there is none, or it is not what was written."""
    try:
        content = read_whole(trial_dir / SAMPLES_FILE)
    except (OSError, DamagedFile):
        return None
    return content if is_sheet(content) else None


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder that is renamed to ``out`` when the block succeeds, and removed if it does not."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        yield folder
        mask = os.umask(0)
        os.umask(mask)
        folder.chmod(0o777 & ~mask)
        os.replace(folder, out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
