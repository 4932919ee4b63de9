"""Small sources and caches, damaged at random: whatever happens, it is one error, or nothing has changed in silence."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data.celeba18 import CelebA18DataModule
from mmvae_bench.data.mnist_a import MnistADataModule
from mmvae_bench.data.shards.export import export
from mmvae_bench.data.sources.celeba_photos import find_photos
from mmvae_bench.data.sources.digits import MnistSource
from mmvae_bench.specs.built_in.datasets import CelebA18Spec, MnistASpec

from .sources.celeba_copy import COLUMNS, FakeCelebA, photo
from .sources.idx_files import make_idx_set

FAKE = FakeCelebA(num=22, size=(89, 109))
DIGITS = make_idx_set()
SECONDS = 5.0
CELEBA = CelebA18Spec.parse({"source": "celeba", "size": 16})
MNIST = MnistASpec.parse({"canvas": 16, "num_sources": 20, "replicas": 1, "source": "mnist"})


def damage(content: bytes, chance: random.Random) -> bytes:
    """One to three flipped bits; or cut off, overwritten, or with bytes put in."""
    kind = chance.choice(["flip", "flip", "flip", "cut", "overwrite", "insert"])
    # Where files say what they contain, damage does more.
    place = chance.choice([0, max(0, len(content) - 600), None])
    start = chance.randrange(len(content)) if place is None else min(place + chance.randrange(600), len(content) - 1)
    if kind == "cut":
        return content[:start]
    if kind == "insert":
        return content[:start] + chance.randbytes(chance.randint(1, 9)) + content[start:]
    damaged = bytearray(content)
    if kind == "overwrite":
        damaged[start : start + 8] = chance.choice([b"\0", b"\xff", b"9", b"["]) * len(damaged[start : start + 8])
    else:
        for _ in range(chance.randint(1, 3)):
            damaged[min(start + chance.randrange(40), len(content) - 1)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def celeba_module(root: Path) -> CelebA18DataModule:
    data = CelebA18DataModule(CELEBA, photos=find_photos(root, **FAKE.files))
    data.workers = 0
    return data


def mnist_module(root: Path) -> MnistADataModule:
    return MnistADataModule(MNIST, source=MnistSource(root=root, files=DIGITS.files, download=False))


def write_hub(folder: Path, *, saved: bool = False) -> None:
    labels = {name: (FAKE.values[:, place] > 0).tolist() for place, name in enumerate(COLUMNS)}
    images = [{"bytes": photo(number + 1, FAKE.size), "path": None} for number in range(FAKE.num)]
    if saved:
        datasets.Dataset(pa.table({"image": images, **labels})).save_to_disk(str(folder))
    else:
        folder.mkdir()
        pq.write_table(pa.table({"image": images, **labels}), folder / "train.parquet", row_group_size=8)


def write_photos(folder: Path, layout: str) -> None:
    FAKE.write_images(folder, layout)
    FAKE.write_csv(folder) if layout == "folder" else FAKE.write_texts(folder, gz=layout == "tar")


WRITERS: dict[str, Callable[[Path], object]] = {
    "folder": lambda root: write_photos(root / "celeba", "folder"),
    "tar": lambda root: write_photos(root / "celeba", "tar"),
    "zip": lambda root: write_photos(root / "celeba", "zip"),
    "parquet": lambda root: write_hub(root / "celeba"),
    "saved": lambda root: write_hub(root / "celeba", saved=True),
    "idx": lambda root: DIGITS.write(root, gz=False),
    "gzip": lambda root: DIGITS.write(root, gz=True),
}
TARGETS = ("source", "cache", "export")


@dataclass
class Bench:
    """A source, its prepared dataset and an export of it, and what came of damaging them.

    Attributes:
        root: A folder of its own; the cache is in it.
        kind: Of source; one of ``WRITERS``.
    """

    root: Path
    kind: str
    outcomes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.source, self.cache, self.out = self.root / "source", self.root / "cache", self.root / "export"
        self.source.mkdir()
        WRITERS[self.kind](self.source)
        data = self.ready()
        self.fingerprint, self.pixels = data.fingerprint, self.content(data)
        if isinstance(data, CelebA18DataModule):
            export(data, self.out)

    def module(self) -> CelebA18DataModule | MnistADataModule:
        return (mnist_module if self.kind in ("idx", "gzip") else celeba_module)(self.source)

    def ready(self) -> CelebA18DataModule | MnistADataModule:
        data = self.module()
        data.prepare_data()
        data.setup()
        return data

    @staticmethod
    def content(data: CelebA18DataModule | MnistADataModule) -> bytes:
        batch = data.store.batch(torch.arange(len(data.store)))
        return batch.image.numpy().tobytes() + batch.concept.numpy().astype(np.uint8).tobytes()

    def round(self, chance: random.Random) -> str:
        """Damages one file, uses the data, puts everything back; returns what it did."""
        target = chance.choice(TARGETS if self.out.exists() else TARGETS[:2])
        folder = {"source": self.source, "cache": self.cache, "export": self.out}[target]
        path = chance.choice(sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"))
        whole = path.read_bytes()
        keep = self.root / "keep"
        shutil.copytree(self.cache, keep)
        try:
            path.write_bytes(damage(whole, chance))
            started = time.perf_counter()
            outcome = self.use(target)
            seconds = time.perf_counter() - started
        finally:
            path.write_bytes(whole)
            shutil.rmtree(self.cache)
            keep.rename(self.cache)
        assert seconds < SECONDS, f"{path} took {seconds:.1f} s"
        self.outcomes[outcome] += 1
        return f"{target} {path.name}: {outcome}"

    def use(self, target: str) -> str:
        """What a user would do; BenchmarkError is a fine answer."""
        try:
            if target == "export":
                data = self.module()
                shutil.rmtree(data.cache_path)
                assert isinstance(data, CelebA18DataModule)
                data.import_from(self.out)
                data.setup()
                assert self.content(data) == self.pixels, "other pixels were imported"
                return "the same"
            reported = self.reported()
            data = self.ready()
        except BenchmarkError as error:
            return "a traceback" if "Traceback" in str(error) else "refused"
        if data.fingerprint != self.fingerprint:
            return "another dataset"
        if self.content(data) == self.pixels:
            return "the same"
        assert target == "source", "the cache gave other pixels"
        assert reported, "other pixels, and not a word"
        return "made again"

    def reported(self) -> bool:
        """Whether ``data verify`` says that something is wrong, in whichever way."""
        try:
            return not self.module().verify()["ok"]
        except BenchmarkError:
            return True


def corrupt(root: Path, monkeypatch: pytest.MonkeyPatch, *, rounds: int, seed: int) -> Counter[str]:
    """Damages each kind of source so many times; returns how often what came of it."""
    total: Counter[str] = Counter()
    for kind in WRITERS:
        (root / kind).mkdir()
        monkeypatch.setenv("MMVAE_BENCH_CACHE", str(root / kind / "cache"))
        bench = Bench(root / kind, kind)
        for number in range(rounds):
            chance = random.Random(f"{seed} {kind} {number}")
            try:
                bench.round(chance)
            except Exception as error:  # The seed is needed, whatever it was.
                raise AssertionError(f"seed {seed}, {kind}, round {number}: {error!r}") from error
        total += bench.outcomes
    return total
