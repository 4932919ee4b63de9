"""A process that makes images: it is given a recipe and then jobs, one a line, and answers one a line.

It runs as a program of its own, so the caller's main module is not imported again, and what native code prints or
aborts with stays apart from the answers. It ends when its input ends, whatever has become of the caller.
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
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from ...base.errors import BenchmarkError
from ...worlds.recipe import ImageRecipe
from .making import digest_images, make_shard
from .manifest import ShardRange

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a write fails with where there is no room: on the disk, in the quota, under the limit."""


def work(
    recipe: ImageRecipe, job: dict[str, Any], *, folder: Path, fingerprint: str, tell: Callable[[int], object]
) -> dict[str, Any]:
    """Does one job; its answer is plain JSON.

    Args:
        recipe: Makes the images.
        job: ``file``, ``start``, ``stop`` of a shard to write, or ``rows`` to make again.
        folder: Of the store.
        fingerprint: Of the recipe.
        tell: Called with the number of images made so far.

    Returns:
        ``entry`` of the shard, or ``digests`` of the images, or else what went wrong: ``error`` (for the user to
        mend), ``full`` (no room), ``failure`` (a traceback).
    """
    try:
        if "rows" in job:
            return {"digests": digest_images(recipe, job["rows"], done=tell)}
        shard = ShardRange(job["file"], job["start"], job["stop"])
        return {"entry": asdict(make_shard(recipe, shard, folder=folder, fingerprint=fingerprint, done=tell))}
    except BenchmarkError as error:
        return {"error": str(error)}
    except OSError as error:
        if error.errno in FULL:
            return {"full": error.strerror or str(error)}
        return {"failure": traceback.format_exc()}
    except Exception:
        return {"failure": traceback.format_exc()}


def main() -> None:
    """Reads (recipe, folder, fingerprint) as a pickle from standard input, then jobs."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes where errors go
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
    # The caller has no more work, or is no more: nothing half-made is worth finishing.
    os._exit(0)


if __name__ == "__main__":
    main()
