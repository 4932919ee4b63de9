"""The JSON documents of a trial, read through validated models: whatever is in a file, it is understood or refused.

A document is refused with :class:`~mmvae_bench.base.files.DamagedFile`, which names the file and what is wrong in it.
What is understood is printable: no text in it does anything to a terminal or a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import pydantic_core
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from ..base.errors import format_location
from ..base.files import DamagedFile, open_regular, read_bytes
from ..base.printable import cleaned, printable

SMALL_BYTES = 2**20
"""The largest spec, status or evaluation that is read; they take a few KB."""
LOG_BYTES = 64 * 2**20
"""How much of a log of training is read; a long run writes less than one MB."""
ERROR_CHARACTERS = 20_000
"""How much of a text in a status is kept."""

Integer = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
_OPEN = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)
_CLOSED = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


@with_config(_OPEN)
class _Component(TypedDict):
    name: str


@with_config(_OPEN)
class _Dataset(TypedDict):
    name: str
    source: NotRequired[str | None]
    split: NotRequired[str | None]
    split_seed: NotRequired[Integer | None]


@with_config(_OPEN)
class _Training(TypedDict):
    steps: Count


@with_config(_OPEN)
class StoredSpec(TypedDict):
    """``spec.json``, of this version or of a package that is not installed: only what every trial has is checked."""

    dataset: _Dataset
    backbone: _Component
    objective: _Component
    training: _Training
    seed: Integer


@with_config(_OPEN)
class _Classifier(TypedDict):
    name: NotRequired[str | None]
    fingerprint: NotRequired[str | None]
    accuracy: NotRequired[dict[str, float | None] | None]
    mean_accuracy: NotRequired[float | None]


@with_config(_OPEN)
class _Convergence(TypedDict):
    slope_per_1000_steps: NotRequired[float | None]
    standard_error: NotRequired[float | None]
    ci_low: NotRequired[float | None]
    ci_high: NotRequired[float | None]
    verdict: NotRequired[str | None]
    stage: NotRequired[str | None]


@with_config(_OPEN)
class _Trained(TypedDict):
    steps: NotRequired[Count | None]
    wall_seconds: NotRequired[float | None]
    processor_seconds: NotRequired[float | None]
    steps_per_second: NotRequired[float | None]
    samples_seen: NotRequired[Count | None]
    num_parameters: NotRequired[Count | None]
    parameters_by_network: NotRequired[dict[str, Count] | None]
    convergence: NotRequired[_Convergence | None]
    convergence_by_stage: NotRequired[list[_Convergence] | None]


@with_config(_OPEN)
class _Seconds(TypedDict):
    wall: Annotated[float, Field(ge=0, le=1e12)]
    processor: Annotated[float, Field(ge=0, le=1e12)]


@with_config(_OPEN)
class _Made(TypedDict):
    package: NotRequired[str | None]
    commit: NotRequired[str | None]
    device: NotRequired[str | None]
    created: NotRequired[str | None]
    wall_seconds: NotRequired[float | None]
    seconds_by_question: NotRequired[dict[str, _Seconds] | None]


@with_config(_OPEN)
class _Images(TypedDict):
    fingerprint: NotRequired[str | None]
    pixel_hash: NotRequired[str | None]
    source: NotRequired[str | None]


@with_config(_CLOSED)
class _Score(TypedDict):
    """The fields of :class:`~mmvae_bench.runs.scores.Score`."""

    metric: str
    partition: str
    value: NotRequired[float | None]
    protocol: NotRequired[str | None]
    attribute: NotRequired[str | None]
    level: NotRequired[Integer | None]
    ci_low: NotRequired[float | None]
    ci_high: NotRequired[float | None]
    ceiling: NotRequired[float | None]
    floor: NotRequired[float | None]
    constant: NotRequired[float | None]
    deaf: NotRequired[float | None]
    num_queries: NotRequired[Count | None]
    num_samples: NotRequired[Count | None]
    per_query: NotRequired[list[float | None] | None]
    groups: NotRequired[list[Integer] | None]
    proposal: NotRequired[str | None]


def _square(counts: list[list[int]]) -> list[list[int]]:
    if not counts or any(len(row) != len(counts) for row in counts):
        raise ValueError("a table of confusion has as many rows as columns")
    return counts


Counts = Annotated[list[list[Annotated[int, Field(ge=0, le=10**12)]]], AfterValidator(_square)]


@with_config(_OPEN)
class _Confused(TypedDict):
    """A table of :mod:`~mmvae_bench.evaluation.confusion`, of real images."""

    attribute: str
    values: list[str]
    counts: Counts


@with_config(_OPEN)
class _Asked(_Confused):
    """The same of the images of fixed queries."""

    partition: str
    level: Integer
    images: str


@with_config(_OPEN)
class _Confusion(TypedDict):
    asked: list[_Asked]
    real: list[_Confused]


@with_config(_OPEN)
class StoredResult(TypedDict):
    """``result.json``."""

    version: Integer
    key: str
    scores: list[_Score]
    training: _Trained
    provenance: _Made
    evaluation: NotRequired[dict[str, Any] | None]
    dataset: NotRequired[_Images | None]
    classifier: NotRequired[_Classifier | None]
    evaluated_on: NotRequired[_Made | None]
    seeds: NotRequired[dict[str, Integer | None] | None]
    left_out: NotRequired[dict[str, str] | None]
    confusion: NotRequired[_Confusion | None]


@with_config(_OPEN)
class StoredStatus(TypedDict):
    """The fields of :class:`~mmvae_bench.runs.status.Status` besides its state and log."""

    phase: NotRequired[Literal["prepare", "train", "evaluate"] | None]
    stage: NotRequired[str | None]
    step: NotRequired[Count]
    steps: NotRequired[Count]
    attempts: NotRequired[Count]
    error: NotRequired[str | None]
    error_type: NotRequired[str | None]
    pid: NotRequired[Annotated[int, Field(gt=0, lt=2**31)] | None]
    host: NotRequired[str | None]
    started: NotRequired[float | None]
    updated: NotRequired[float | None]
    steps_per_second: NotRequired[float | None]
    saved: NotRequired[Count | None]
    where: NotRequired[str | None]
    of_data: NotRequired[bool]


Step = Annotated[int, Field(ge=0, lt=2**53)]
Drawn = Annotated[float, Field(ge=-1e30, le=1e30)]
"""A number of a curve: any that a figure has room for."""


@with_config(_OPEN)
class _Validation(TypedDict):
    stage: NotRequired[str | None]
    step: Step
    elbo: Drawn


@with_config(_OPEN)
class _Point(TypedDict):
    metric: str
    attribute: str | None
    level: Integer
    value: Drawn


@with_config(_OPEN)
class _Scored(TypedDict):
    step: Step
    overall: NotRequired[Step]
    scores: list[_Point]


@with_config(_OPEN)
class _Step(TypedDict):
    stage: NotRequired[str | None]
    step: Step
    kind: NotRequired[str]
    parts: dict[str, Drawn]


_EVENTS: dict[str, TypeAdapter[Any]] = {
    "validation": TypeAdapter(_Validation),
    "scores": TypeAdapter(_Scored),
    "train": TypeAdapter(_Step),
}
_SPEC, _STATUS, _RESULT = TypeAdapter(StoredSpec), TypeAdapter(StoredStatus), TypeAdapter(StoredResult)


def read_object(path: Path, *, at_most: int = SMALL_BYTES) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DamagedFile: it is no regular file, larger than ``at_most`` bytes, not JSON, or another value than an object.
        OSError: it does not exist, or may not be read.
    """
    return parse_object(path, read_bytes(path, at_most=at_most))


def parse_object(path: Path, content: bytes) -> dict[str, Any]:
    """The JSON object in the content of a file; raises :class:`DamagedFile`."""
    try:
        value = pydantic_core.from_json(content, allow_inf_nan=False)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, f"cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise DamagedFile(path, "expected a JSON object")
    return value


def check_spec(path: Path, plain: Mapping[str, Any]) -> dict[str, Any]:
    """The object of a ``spec.json`` with printable texts; raises :class:`DamagedFile`."""
    return _validated(path, _SPEC, _printable(path, plain), prefix="a setting cannot be read: ")


def check_result(path: Path, plain: Mapping[str, Any], *, pure: bool) -> dict[str, Any]:
    """The object of a ``result.json`` with printable texts and numbers that are finite; raises :class:`DamagedFile`.

    Args:
        path: The file.
        plain: What is in it.
        pure: Whether the file is ASCII without a backslash, so that no text in it needs cleaning.
    """
    missing = [name for name in ("key", "scores", "training", "provenance") if name not in plain]
    if missing:
        raise DamagedFile(path, f"has no {', '.join(missing)}")
    sections = _printable(path, {name: value for name, value in plain.items() if name != "scores"})
    scores = plain["scores"] if pure else _printable(path, plain["scores"])
    return _validated(path, _RESULT, sections | {"scores": scores})


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a ``log.jsonl``, one after the other, with bounded memory.

    Lines that are torn, too long or no objects are left out, as is what follows the first ``LOG_BYTES``; nothing is
    left of a log that is missing or no regular file.
    """
    left = LOG_BYTES
    try:
        with open_regular(path) as file:
            while left > 0 and (line := file.readline(min(left, SMALL_BYTES))):
                left -= len(line)
                with suppress(DamagedFile):
                    yield parse_object(path, line)
    except (OSError, DamagedFile):
        return


def read_events(path: Path, event: Literal["validation", "scores", "train"]) -> Iterator[dict[str, Any]]:
    """The records of one kind of a ``log.jsonl`` that are what they should be, with printable texts."""
    model = _EVENTS[event]
    for record in read_records(path):
        if record.get("event") == event:
            with suppress(ValueError):  # A ValidationError is one.
                yield dict(model.validate_python(cleaned(record)))


def understood_status(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a ``status.json`` that are what they should be, printable; the others are left out."""
    texts = {
        name: printable(value, lines=True)[:ERROR_CHARACTERS] if isinstance(value, str) else value
        for name, value in plain.items()
    }
    try:
        return dict(_STATUS.validate_python(texts))
    except ValidationError as error:
        wrong = {each["loc"][0] for each in error.errors(include_url=False, include_input=False)}
        return {name: value for name, value in texts.items() if name not in wrong}


def _printable(path: Path, value: Any) -> Any:
    try:
        return cleaned(value)
    except ValueError as error:
        raise DamagedFile(path, f"holds {error}") from None


def _validated(path: Path, model: TypeAdapter[Any], value: object, *, prefix: str = "") -> dict[str, Any]:
    try:
        return dict(model.validate_python(value))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = format_location(first["loc"])
        if first["type"] in ("dict_type", "typed_dict_type") and not where.startswith("scores["):
            prefix, reason = "", "expected a JSON object"
        else:
            prefix, reason = "a score cannot be read: " if where.startswith("scores") else prefix, first["msg"]
        raise DamagedFile(path, f"{prefix}{printable(where)}: {reason}") from None
