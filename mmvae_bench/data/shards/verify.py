"""Compares a finished store with its checksums, and with images made again. Repairs nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...base.errors import BenchmarkError
from ...worlds.recipe import ImageRecipe
from ..origin import Origin
from .manifest import Manifest, check_listed, open_manifest
from .prepare import run_jobs
from .shard import add_hashes, decode, label_digests, pixel_digests
from .worker import ImageDigest

_ROWS_OF_JOB = 4


def verify_store(
    folder: Path,
    recipe: ImageRecipe,
    *,
    num_verified: int,
    fingerprint: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The sha256 of every shard, the hashes over all pixels and labels, and evenly spread images made again.

    Args:
        folder: Folder of the store.
        recipe: Makes the images.
        num_verified: Images to make again; all of a smaller store.
        fingerprint: Fingerprint of the recipe; computed if not given.
        workers: Processes that make them; see :func:`mmvae_bench.data.shards.prepare.prepare_store`.
        progress: Called with the numbers of images made again and to make.

    Returns:
        Plain JSON; ``ok`` says whether everything matches. No image is made again if a checksum is wrong or the
        user's files have changed; ``source_files`` is there if the images are made from such files.

    Raises:
        BenchmarkError: if the store is not prepared, or its images cannot be made.
    """
    fingerprint = fingerprint or recipe.fingerprint
    manifest = open_manifest(folder)
    states = check_listed(folder, manifest)
    report: dict[str, Any] = {
        "files": [
            {"file": state.shard.file, "ok": state.ok, "expected": state.expected, "found": state.found}
            for state in states
        ]
    }
    if recipe.user_files is not None:
        shards = [folder / shard.file for shard in manifest.shards if (folder / shard.file).exists()]
        report["source_files"] = Origin(recipe.user_files).report(folder, shards)
    same_source = report.get("source_files", {"ok": True})["ok"]
    if not same_source or not all(state.ok for state in states):
        return {**report, "ok": False, "pixel_hash": None, "num_images": None, "compared": 0, "different": None}
    compared = min(manifest.num_images, num_verified)
    rows = [number * manifest.num_images // compared for number in range(compared)]
    stored, pixel_hash, label_hash = _read(folder, manifest, set(rows))
    different = 0
    made: dict[int, int] = {}

    def tell(job: dict[str, Any], done: int) -> None:
        made[job["rows"][0]] = done
        if progress is not None:
            progress(sum(made.values()), compared)

    jobs = [{"rows": rows[start : start + _ROWS_OF_JOB]} for start in range(0, compared, _ROWS_OF_JOB)]
    for job, answer in run_jobs(recipe, jobs, tell, folder=folder, fingerprint=fingerprint, workers=workers):
        pairs = zip(job["rows"], answer["digests"], strict=True)
        different += sum(stored[row] != tuple(digests) for row, digests in pairs)
    expected = (manifest.fingerprint, manifest.pixel_hash, manifest.label_hash)
    return {
        **report,
        "ok": not different and expected == (fingerprint, pixel_hash, label_hash),
        "pixel_hash": pixel_hash,
        "num_images": manifest.num_images,
        "compared": compared,
        "different": different,
    }


def _read(folder: Path, manifest: Manifest, rows: set[int]) -> tuple[dict[int, ImageDigest], str, str]:
    """The digests of some images of a store, and its hashes of all pixels and all labels, from what is stored."""
    digests: dict[int, ImageDigest] = {}
    hashes: list[tuple[str, str]] = []
    for shard in manifest.shards:
        try:
            planes, _ = decode(folder / shard.file)
        except ValueError as error:
            raise BenchmarkError(f"{folder / shard.file}: {error}") from error
        numbers = range(shard.start, shard.stop)
        pixels, labels = pixel_digests(planes, numbers), label_digests(planes, numbers)
        hashes.append((add_hashes(pixels), add_hashes(labels)))
        triples = zip(numbers, pixels, labels, strict=True)
        digests |= {number: (pixel, label) for number, pixel, label in triples if number in rows}
    pixel_hashes, label_hashes = zip(*hashes, strict=True)
    return digests, add_hashes(pixel_hashes), add_hashes(label_hashes)
