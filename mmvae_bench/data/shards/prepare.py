"""Makes a store, or what is missing of it: one process of all that ask, by shards, resumed whatever ended it."""

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

from ...base.environment import num_cpus
from ...base.errors import BenchmarkError
from ...base.heartbeat import beat, patiently
from ...worlds.recipe import ImageRecipe
from .manifest import (
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
"""Room that is left on the disk: for the manifest, and for what others write meanwhile."""


class NoSpaceError(BenchmarkError):
    """The disk has no room for the images."""


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
        folder: Where the store lies; made where needed.
        recipe: Makes the images.
        name: Of the dataset, for the manifest.
        fingerprint: Of the recipe; asked of it where not given.
        shard_size: Images of a shard, for a store that is begun here; a finished one keeps its own.
        workers: Processes: None for one a CPU core, 0 for this process itself.
        progress: Called with the numbers of images made and in all.

    Returns:
        Whether anything was made.

    Raises:
        NoSpaceError: where there is no room; what is finished stays.
        WorkerError: where a process dies.
        BenchmarkError: where the recipe cannot make its images.
    """
    fingerprint = fingerprint or recipe.fingerprint
    if is_whole(folder, fingerprint=fingerprint):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    with store_lock(folder):
        listed = usable_manifest(folder, fingerprint=fingerprint)
        if listed is not None:
            shard_size = listed.shard_size
        plan = plan_shards(recipe.num_images, shard_size)
        _remove_strangers(folder, plan)
        states = check_listed(folder, listed) if listed else check_unlisted(folder, plan, fingerprint=fingerprint)
        if listed is not None and all(state.ok for state in states):
            return False  # another process has made it meanwhile
        for state in states:
            if not state.ok and (listed or not state.missing):
                _log.warning("%s: %s: %s; it is made again", folder, state.shard.file, state.problem)
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
            manifest.write(folder)
        finally:
            _remove_leftovers(folder)
    return True


@contextmanager
def store_lock(folder: Path) -> Iterator[None]:
    """This process alone works on the store; where another does, it is waited for, and said."""
    lock = FileLock(folder.with_name(folder.name + ".lock"))
    try:
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
    """Does jobs in processes, or in this one where ``workers`` is 0; raises what went wrong with one.

    Raises:
        BenchmarkError: where the recipe cannot make its images; WorkerError: where a process dies.
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
        raise BenchmarkError(answer["error"])
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
    """Makes the shards that are not whole."""
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
            known.append(entry)  # now the size of a shard is known, not guessed
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
        f"no space left for the images: {reason}\n  folder: {folder}\n  needed: {needed:,} bytes more\n"
        f"  free: {free:,} bytes\n"
        "  Make room, or set MMVAE_BENCH_CACHE to a folder on another disk, and prepare again: what is made is kept."
    )


def _remove_strangers(folder: Path, plan: Sequence[ShardRange]) -> None:
    """Removes shards of another division, and what killed processes left."""
    _remove_leftovers(folder)
    for stranger in sorted({path.name for path in folder.glob("*.arrow")} - {shard.file for shard in plan}):
        _log.warning("%s: %s belongs to another division into shards; it is removed", folder, stranger)
        (folder / stranger).unlink()


def _remove_leftovers(folder: Path) -> None:
    """Removes half-written files: those whose name begins with a dot."""
    for leftover in folder.glob(".*"):
        leftover.unlink(missing_ok=True)
