"""Makes the missing shards of a store, in one process at a time; an interrupted run is resumed."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

from ...base.errors import BenchmarkError
from ...base.files import writing_cache
from ...base.heartbeat import beat, patiently
from ...base.machine import num_cpus
from ...worlds.recipe import ImageRecipe
from ..origin import RECORD, Origin
from ..sources import MissingSourceError, SourceError
from .manifest import (
    MANIFEST,
    SHARD_SIZE,
    Manifest,
    ShardEntry,
    ShardRange,
    ShardState,
    check_listed,
    check_unlisted,
    is_whole,
    plan_shards,
    usable_manifest,
)
from .processes import Answer, Job, Processes, Tell, WorkerError
from .shard import FORMAT
from .worker import work

_log = logging.getLogger(__name__)

SLACK_BYTES = 16 << 20
"""Space to leave on the disk: for the manifest, and for other writers."""


class NoSpaceError(BenchmarkError):
    """The disk has no space for the images."""


def prepare_store(
    folder: Path,
    recipe: ImageRecipe,
    *,
    name: str,
    fingerprint: str | None = None,
    shard_size: int = SHARD_SIZE,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Makes sure that a store is finished and intact: makes the shards that are missing, damaged or of another version.

    Args:
        folder: Folder of the store; created if needed.
        recipe: Makes the images.
        name: Name of the dataset, for the manifest.
        fingerprint: Fingerprint of the recipe; computed if not given.
        shard_size: Images per shard, for a new store; a finished one keeps its own.
        workers: Processes: None for one per CPU core, 0 for this process itself.
        progress: Called with the numbers of images made and in all.

    Returns:
        Whether anything was made.

    Raises:
        NoSpaceError: if the disk is full; finished shards are kept.
        WorkerError: if a process dies.
        BenchmarkError: if the recipe cannot make its images, or the user's files change while they are read.
    """
    fingerprint = fingerprint or recipe.fingerprint
    origin = None if recipe.user_files is None else Origin(recipe.user_files)
    if is_whole(folder, fingerprint=fingerprint) and _is_of(origin, folder):
        return False
    with writing_cache():
        folder.mkdir(parents=True, exist_ok=True)
    with store_lock(folder):
        if origin is not None:
            _begin(folder, origin)
        listed = usable_manifest(folder, fingerprint=fingerprint)
        if listed is not None:
            shard_size = listed.shard_size
        plan = plan_shards(recipe.num_images, shard_size)
        _remove_strangers(folder, plan)
        states = check_listed(folder, listed) if listed else check_unlisted(folder, plan, fingerprint=fingerprint)
        if listed is not None and all(state.ok for state in states):
            return False  # another process has made it in the meantime
        for state in states:
            if not state.ok and (listed or not state.missing):
                _log.warning("%s: %s: %s; making it again", folder, state.shard.file, state.problem)
        entries = {state.shard.start: state.entry for state in states if state.entry is not None}
        try:
            for entry in _make(folder, recipe, states, fingerprint=fingerprint, workers=workers, progress=progress):
                entries[entry.start] = entry
            manifest = Manifest(
                FORMAT,
                name,
                fingerprint,
                recipe.describe(),
                recipe.num_images,
                recipe.image_shape,
                recipe.num_attributes,
                recipe.num_masks,
                shard_size,
                {"python": sys.version.split()[0], **{package: version(package) for package in ("numpy", "pyarrow")}},
                tuple(entries[shard.start] for shard in plan),
            )
            if origin is not None and not origin.is_still_there():
                raise BenchmarkError(
                    f"the source files of {name} changed while its images were made; run the same command again"
                )
            manifest.write(folder)
        finally:
            _remove_leftovers(folder)
    return True


def shard_files(folder: Path) -> list[Path]:
    """The shards in a folder, those of other divisions too."""
    return sorted(folder.glob("*.arrow"))


def _is_of(origin: Origin | None, folder: Path) -> bool:
    """Whether a finished store is made from the user's files as they are now."""
    if origin is None:
        return True
    if not origin.made(folder, shard_files(folder)):
        return False
    origin.remember(folder)
    return True


def _begin(folder: Path, origin: Origin) -> None:
    """Removes images that were made from other files, and records from which ones they are made from now on."""
    made = shard_files(folder)
    if not origin.made(folder, made):
        _log.warning("%s: the source files have changed since these images were made; making all of them again", folder)
        # The record goes last: what is left of a removal that was cut short is not taken for images of the new files.
        for path in (folder / MANIFEST, *made, folder / RECORD):
            path.unlink(missing_ok=True)
    origin.write(folder)


@contextmanager
def store_lock(folder: Path) -> Iterator[None]:
    """Holds the lock of a store; logs a warning and waits if another process holds it."""
    lock = FileLock(folder.with_name(folder.name + ".lock"))
    try:
        with writing_cache():
            lock.acquire(timeout=0)
    except Timeout:
        _log.warning("%s: another process is making these images; waiting for it", folder)
        patiently(lock)
    try:
        yield
    finally:
        lock.release()


def run_jobs(
    recipe: ImageRecipe, jobs: Sequence[Job], tell: Tell, *, folder: Path, fingerprint: str, workers: int | None
) -> Iterator[tuple[Job, Answer]]:
    """Does jobs in several processes, or in this one if ``workers`` is 0; raises an error if one fails.

    Raises:
        BenchmarkError: if the recipe cannot make its images; WorkerError: if a process dies.
    """
    if workers == 0:
        for job in jobs:
            answer = work(recipe, job, folder=folder, fingerprint=fingerprint, tell=partial(tell, job))
            yield _checked((job, answer))
        return
    with Processes(recipe, folder=folder, fingerprint=fingerprint, number=workers or num_cpus()) as processes:
        yield from map(_checked, processes.run(jobs, tell))


def _checked(answered: tuple[Job, Answer]) -> tuple[Job, Answer]:
    _, answer = answered
    if "error" in answer:
        kind = MissingSourceError if answer.get("missing") else SourceError if answer.get("source") else BenchmarkError
        raise kind(answer["error"])
    if "failure" in answer:
        raise WorkerError(f"making images failed:\n{answer['failure'].rstrip()}")
    return answered


def _make(
    folder: Path,
    recipe: ImageRecipe,
    states: Sequence[ShardState],
    *,
    fingerprint: str,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[ShardEntry]:
    """Makes the shards that are missing or damaged."""
    missing = [state.shard for state in states if not state.ok]
    if not missing:
        return
    left = sum(shard.stop - shard.start for shard in missing)
    made = {shard.start: 0 for shard in missing}

    def tell(job: Job, done: int) -> None:
        made[job["start"]] = done
        beat()
        if progress is not None:
            progress(recipe.num_images - left + sum(made.values()), recipe.num_images)

    known = [state.entry for state in states if state.entry is not None]
    _check_space(folder, left * (_bytes_of_image(known[0]) if known else _least_bytes_of_image(recipe)))
    jobs: list[Job] = [{"file": shard.file, "start": shard.start, "stop": shard.stop} for shard in missing]
    unwritten = left
    for job, answer in run_jobs(recipe, jobs, tell, folder=folder, fingerprint=fingerprint, workers=workers):
        if "full" in answer:
            each = _bytes_of_image(known[0]) if known else _least_bytes_of_image(recipe)
            raise _no_space(folder, unwritten * each, answer["full"])
        entry = ShardEntry(**answer["entry"])
        unwritten -= job["stop"] - job["start"]
        if not known:
            known.append(entry)  # now the size of a shard is known, not estimated
            _check_space(folder, unwritten * _bytes_of_image(entry))
        yield entry


def _bytes_of_image(entry: ShardEntry) -> int:
    return -(-entry.num_bytes // (entry.stop - entry.start))


def _least_bytes_of_image(recipe: ImageRecipe) -> int:
    channels, height, width = recipe.image_shape
    return channels * height * width + recipe.num_masks * height * width // 8 + 2 * recipe.num_attributes + 16


def _check_space(folder: Path, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed + SLACK_BYTES:
        raise _no_space(folder, needed + SLACK_BYTES, "the disk is too full")


def _no_space(folder: Path, needed: int, reason: str) -> NoSpaceError:
    free = shutil.disk_usage(folder).free
    return NoSpaceError(
        f"no space left for the images: {reason}\n  folder: {folder}\n  needed: another {needed:,} bytes\n"
        f"  free: {free:,} bytes\n"
        "  Free some space, or set MMVAE_BENCH_CACHE to another disk, then prepare again: finished images are kept."
    )


def _remove_strangers(folder: Path, plan: Sequence[ShardRange]) -> None:
    """Removes shards of another division, and files that killed processes left."""
    _remove_leftovers(folder)
    for stranger in sorted({path.name for path in shard_files(folder)} - {shard.file for shard in plan}):
        _log.warning("%s: %s belongs to another division into shards; removing it", folder, stranger)
        (folder / stranger).unlink()


def _remove_leftovers(folder: Path) -> None:
    """Removes half-written files: those whose name begins with a dot."""
    for leftover in folder.glob(".*"):
        leftover.unlink(missing_ok=True)
