"""A process that makes images: it is given a recipe and then jobs, one per line, and answers one line per job.

It runs as a program of its own, so the caller's main module is not imported again, and what native code prints or
aborts with is kept apart from the answers. It exits when its input ends, whatever has become of the caller. The same
work can be done in the calling process: see :func:`work`.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from ...base.errors import DISK_FULL, BenchmarkError
from ...base.files import write_atomic
from ...worlds.recipe import ImageRecipe
from ..sources import MissingSourceError, SourceError
from .manifest import ShardEntry, ShardRange
from .shard import encode, join_planes, label_digests, make_passport, make_planes, pixel_digests

CHUNK = 32
"""Images made per call of a recipe: few enough that a progress bar moves."""

ImageDigest = tuple[str, str]
"""The digests of an image's pixels and of its labels."""


def make_shard(
    recipe: ImageRecipe, shard: ShardRange, *, folder: Path, fingerprint: str, done: Callable[[int], object]
) -> ShardEntry:
    """Makes the images of a shard and writes its file, completely or not at all.

    Args:
        recipe: Makes the images.
        shard: Which shard.
        folder: Folder of the store.
        fingerprint: Fingerprint of the recipe.
        done: Called with the number of images made so far.

    Raises:
        BenchmarkError: if the recipe cannot make them.
        OSError: if the file cannot be written.
    """
    parts = []
    for start in range(shard.start, shard.stop, CHUNK):
        stop = min(start + CHUNK, shard.stop)
        parts.append(make_planes(recipe, start, stop))
        done(stop - shard.start)
    planes = join_planes(parts)
    passport = make_passport(planes, start=shard.start, fingerprint=fingerprint)
    content = encode(planes, passport)
    write_atomic(folder / shard.file, lambda file: file.write(content))
    return ShardEntry.of(shard, content, passport)


def digest_images(recipe: ImageRecipe, rows: Sequence[int], *, done: Callable[[int], object]) -> list[ImageDigest]:
    """Makes some images, one at a time, and gives the digests of each."""
    digests = []
    for number, row in enumerate(rows, start=1):
        planes = make_planes(recipe, row, row + 1)
        digests.append((pixel_digests(planes, [row])[0], label_digests(planes, [row])[0]))
        done(number)
    return digests


FULL = DISK_FULL | {errno.EFBIG}
"""Error numbers of a write without space: on the disk, in the quota, under the file size limit."""


def work(
    recipe: ImageRecipe, job: dict[str, Any], *, folder: Path, fingerprint: str, tell: Callable[[int], object]
) -> dict[str, Any]:
    """Does one job; the answer is plain JSON.

    Args:
        recipe: Makes the images.
        job: ``file``, ``start``, ``stop`` of a shard to write, or ``rows`` to make again.
        folder: Folder of the store.
        fingerprint: Fingerprint of the recipe.
        tell: Called with the number of images made so far.

    Returns:
        ``entry`` of the shard, or ``digests`` of the images, or else what went wrong: ``error`` (for the
        user to fix; with ``source``, in the source's files; with ``missing``, another data root may help), ``full``
        (no space left), ``failure`` (a traceback).
    """
    try:
        if "rows" in job:
            return {"digests": digest_images(recipe, job["rows"], done=tell)}
        shard = ShardRange(job["file"], job["start"], job["stop"])
        return {"entry": asdict(make_shard(recipe, shard, folder=folder, fingerprint=fingerprint, done=tell))}
    except BenchmarkError as error:
        kinds = {"source": isinstance(error, SourceError), "missing": isinstance(error, MissingSourceError)}
        return {"error": str(error), **kinds}
    except OSError as error:
        if error.errno in FULL:
            return {"full": error.strerror or str(error)}
        return {"failure": traceback.format_exc()}
    except Exception:
        return {"failure": traceback.format_exc()}


def main() -> None:
    """Reads (recipe, folder, fingerprint) as a pickle from standard input, then jobs."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to standard error
    source = sys.stdin.buffer
    recipe, folder, fingerprint = pickle.load(source)
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(source, jobs), daemon=True).start()

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    while True:
        job = json.loads(jobs.get())
        answer(work(recipe, job, folder=folder, fingerprint=fingerprint, tell=lambda number: answer({"done": number})))


def _read(source: BinaryIO, jobs: queue.SimpleQueue[bytes]) -> None:
    for line in source:
        jobs.put(line)
    # The caller has no more work, or is gone: an unfinished image is not worth finishing.
    os._exit(0)


if __name__ == "__main__":
    main()
