"""Checkpoints: tensors and plain JSON only, written completely or not at all."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any, NotRequired, TypeVar, cast
from zipfile import ZIP_STORED, ZipFile

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from torch import Tensor, nn
from typing_extensions import TypedDict

from ..base.errors import OUT_OF_MEMORY, BenchmarkError, explain
from ..base.files import DamagedFile, open_regular, write_atomic
from ..base.printable import printable
from ..runs.lock import check_held
from ..runs.stale import SEGMENTS_ENTRY

FORMAT = 2
_Nested = TypeVar("_Nested")


class CheckpointError(BenchmarkError):
    """A checkpoint that cannot be used."""


class DamagedCheckpoint(CheckpointError):
    """A checkpoint whose content is not what was saved."""


@dataclass
class Checkpoint:
    """The state of training between two steps.

    Attributes:
        key: Key of its trial.
        stage: Index of the current stage; the number of stages when training is finished.
        step: Steps done in that stage.
        weights: ``state_dict`` of the objective.
        optimizer: ``state_dict`` of the stage's optimiser; None at the start of a stage.
        history: Validation records so far, plain JSON.
        seconds: Time spent training so far.
        origin: Where training began, from :func:`mmvae_bench.base.machine.provenance`, and its ``segments``: what each
            process that trained the weights ran on, in order, with the steps ``from`` and ``to``, the ``code``, and the
            ``processor_seconds`` of these steps, all threads together.
    """

    key: str
    stage: int
    step: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    origin: dict[str, Any] = field(default_factory=dict)

    def begin_segment(self, origin: dict[str, Any], code: Mapping[str, Any], *, step: int) -> None:
        """Records that another process goes on with the training.

        Args:
            origin: What it runs on.
            code: The code of the trial's parts, from :func:`mmvae_bench.specs.code.training_code`.
            step: Steps made so far, over all stages.
        """
        earlier = self.origin.get("segments")
        if earlier is None:
            # Made by a version that did not record the code.
            earlier = [{"from": 0, "to": step, **self.origin}] if self.origin and step else []
        earlier = [segment for segment in earlier if segment["from"] < segment["to"]]
        segment = {"from": step, "to": step, **origin, "code": dict(code), "processor_seconds": 0.0}
        self.origin = {**(self.origin if earlier else origin), "segments": [*earlier, segment]}

    def extend_segment(self, step: int, *, processor_seconds: float) -> None:
        """Records how far the last segment has come.

        Args:
            step: Steps made over all stages.
            processor_seconds: What the process has spent since the last call, all threads together.
        """
        if segments := self.origin.get("segments"):
            segments[-1]["to"] = step
            segments[-1]["processor_seconds"] += processor_seconds

    def save(self, path: Path) -> None:
        """Writes a temporary file, flushes, renames: a kill at any moment leaves either the old file or the new one.

        Raises:
            LockHeld: another process has taken the trial over.
        """
        check_held(path.parent)

        def write(file: IO[bytes]) -> None:
            target = _Target(file)
            try:
                torch.save({"format": FORMAT, "digest": _digest(vars(self)), **vars(self)}, cast("IO[bytes]", target))
            except RuntimeError as error:
                raise target.error or error from None
            file.flush()
            # Once more for those who have no torch: a driver, before it starts anything.
            with ZipFile(file.name, "a") as archive:
                folder = archive.namelist()[0].partition("/")[0]  # torch refuses entries outside its own folder.
                archive.writestr(
                    f"{folder}/{SEGMENTS_ENTRY}",
                    json.dumps({"key": self.key, "segments": self.origin.get("segments", [])}),
                )

        write_atomic(path, write)

    @classmethod
    def load(cls, path: Path, *, key: str) -> Checkpoint:
        """Reads a checkpoint of the trial ``key``, refusing anything but tensors and plain values.

        Raises:
            DamagedCheckpoint: if the file is not what was saved, or is no regular file.
            CheckpointError: if it contains pickled objects, belongs to another trial, or is of another version.
        """
        advice = "move it away to train this trial from the start"
        try:
            with open_regular(path) as file:
                values = _read(file)
        except pickle.UnpicklingError as error:
            raise CheckpointError(
                f"checkpoint {path} holds pickled Python objects, which are never loaded: {advice}"
            ) from error
        # Whatever torch makes of a file that is no checkpoint; running out of memory is an error of its own.
        except Exception as error:
            if explain(error)[0] == OUT_OF_MEMORY:
                raise
            reason = error.reason if isinstance(error, DamagedFile) else f"{error}" or type(error).__name__
            raise DamagedCheckpoint(f"checkpoint {path} is damaged ({printable(reason):.300}): {advice}") from error
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise CheckpointError(f"checkpoint {path} was written by another version of mmvae-bench: {advice}")
        if values.get("key") != key:
            other = printable(repr(values.get("key")))
            raise CheckpointError(f"checkpoint {path} belongs to trial {other:.100}, not to {key!r}: {advice}")
        try:
            if values.pop("digest", None) != _digest(values):
                raise ValueError("its contents are not what was saved")
            _CONTENT.validate_python(values)
            return cls(**values)
        except (TypeError, ValueError, RecursionError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise DamagedCheckpoint(f"checkpoint {path} is damaged ({printable(reason):.300}): {advice}") from error

    def restore(self, network: nn.Module, path: Path) -> None:
        """Loads the weights into ``network``; raises CheckpointError if they do not fit."""
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            raise CheckpointError(f"checkpoint {path} does not fit the networks of its trial: {error}") from error


def own_storage(value: _Nested) -> _Nested:
    """A nested value whose tensors are no parts of larger ones, which torch.save would write whole.

    What is no such part is returned as it is; strides are kept.
    """
    if isinstance(value, Tensor):
        whole = value.untyped_storage().nbytes() == value.numel() * value.element_size()
        return value if whole else cast("_Nested", value.clone(memory_format=torch.preserve_format))
    if isinstance(value, dict):
        parts = {name: own_storage(part) for name, part in value.items()}
        if any(part is not value[name] for name, part in parts.items()):
            value = copy(value)  # With the versions of modules that a state_dict has as an attribute.
            value.update(parts)
    return value


def order_moments(optimizer: torch.optim.Optimizer) -> None:
    """Brings what an optimiser keeps of each weight into the order of the weight in memory, which a fused one expects.

    A checkpoint keeps the order of whoever saved it.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter.detach()).copy_(value)


@with_config(ConfigDict(strict=True, extra="allow", allow_inf_nan=False))
class _Validation(TypedDict):
    stage: NotRequired[str]
    step: int
    elbo: float


@with_config(ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True))
class _Content(TypedDict):
    """The fields of :class:`Checkpoint` as they must be in a file, which may come from a stranger."""

    key: str
    stage: Annotated[int, Field(ge=0)]
    step: Annotated[int, Field(ge=0)]
    weights: dict[str, Tensor]
    optimizer: NotRequired[dict[str, Any] | None]
    history: NotRequired[list[_Validation]]
    seconds: NotRequired[Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    origin: NotRequired[dict[str, Any]]


_CONTENT = TypeAdapter(_Content)


def _read(file: IO[bytes]) -> Any:
    """What is in an archive of torch; raises whatever torch does if it is damaged."""
    # torch does not verify the archive's checksums when it reads; this does.
    with ZipFile(file) as archive:
        # torch packs nothing, so what is packed may be of any size.
        if any(entry.compress_type != ZIP_STORED for entry in archive.infolist()):
            raise ValueError("its parts are compressed")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"in {damaged}")
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def _digest(value: Any) -> str:
    """The sha256 of nested tensors and plain values: the archive's own checksums do not cover its index."""
    digest = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, Tensor):
            whole = part.detach().cpu().contiguous()
            digest.update(f"{whole.dtype}{tuple(whole.shape)}".encode())
            digest.update(whole.flatten().view(torch.uint8).numpy().data)
        elif isinstance(part, dict):
            for name, inner in sorted(part.items(), key=lambda item: str(item[0])):
                digest.update(repr(name).encode())
                add(inner)
        elif isinstance(part, list | tuple):
            digest.update(str(len(part)).encode())
            for inner in part:
                add(inner)
        else:
            digest.update(repr(part).encode())

    add(value)
    return digest.hexdigest()


class _Target:
    """A file for torch.save that remembers why a write failed: torch hides the reason behind its own error."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self.file.flush()
