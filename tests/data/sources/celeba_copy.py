"""Small made-up copies of CelebA in the layouts that are accepted, and the real annotations where the user has them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmvae_bench.data.sources.celeba_rows import Rows, TextFile, image_name, read_rows
from mmvae_bench.specs.built_in.datasets import CELEBA18_NAMES

COLUMNS = ("5_o_Clock_Shadow", *CELEBA18_NAMES, "Young")
"""A few of the 40 columns: the 18 and two others."""


def photo(number: int, size: tuple[int, int] = (178, 218)) -> bytes:
    """A smooth JPEG whose colours tell which one it is."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    waves = [np.sin(x / (9 + number % 7) + channel) * 60 + y / size[1] * 90 + 60 for channel in range(3)]
    buffer = io.BytesIO()
    Image.fromarray(np.stack(waves, -1).astype(np.uint8)).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


@dataclass(frozen=True)
class FakeCelebA:
    """Annotations and images of ``num`` made-up photographs."""

    num: int = 40
    size: tuple[int, int] = (178, 218)
    shift: int = 0

    @property
    def values(self) -> np.ndarray:
        """Integer[num, 20], -1 and 1."""
        return np.random.default_rng(0).choice((-1, 1), size=(self.num, len(COLUMNS)))

    @property
    def concepts(self) -> np.ndarray:
        return (self.values[:, 1:-1] > 0).astype(np.uint8)

    @property
    def partition(self) -> np.ndarray:
        return np.array([0] * (self.num - 20) + [1] * 10 + [2] * 10)

    @property
    def texts(self) -> dict[str, str]:
        rows = "".join(
            f"{image_name(i + 1)} {' '.join(f'{v:2d}' for v in row)}\n" for i, row in enumerate(self.values.tolist())
        )
        parts = "".join(f"{image_name(i + 1)} {part}\n" for i, part in enumerate(self.partition.tolist()))
        return {
            "list_attr_celeba.txt": f"{self.num}\n{' '.join(COLUMNS)}\n{rows}",
            "list_eval_partition.txt": parts,
        }

    @property
    def files(self) -> dict[str, TextFile]:
        """What to expect of the two files, as arguments of ``read_rows`` and ``find_photos``."""
        names = dict(zip(self.texts, ("attributes", "partition"), strict=True))
        return {
            names[name]: TextFile(name, hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())
            for name, text in self.texts.items()
        }

    def write_texts(self, folder: Path, *, gz: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.texts.items():
            if gz:
                (folder / (name + ".gz")).write_bytes(gzip.compress(text.encode()))
            else:
                (folder / name).write_text(text)

    def write_csv(self, folder: Path) -> None:
        """The lists as Kaggle has them."""
        folder.mkdir(parents=True, exist_ok=True)
        names = [image_name(number + 1) for number in range(self.num)]
        lines = [[name, *map(str, row)] for name, row in zip(names, self.values.tolist(), strict=True)]
        text = "\n".join(map(",".join, [["image_id", *COLUMNS], *lines]))
        (folder / "list_attr_celeba.csv").write_text(text + "\n")
        lines = [[name, str(part)] for name, part in zip(names, self.partition.tolist(), strict=True)]
        text = "\n".join(map(",".join, [["image_id", "partition"], *lines]))
        (folder / "list_eval_partition.csv").write_text(text + "\n")

    def write_images(self, folder: Path, layout: str = "folder", ids: range | None = None) -> Path:
        """The images in a folder, a tar or a zip; returns its path."""
        folder.mkdir(parents=True, exist_ok=True)
        contents = {
            image_name(number): photo(number + self.shift, self.size) for number in ids or range(1, self.num + 1)
        }
        if layout == "folder":
            path = folder / "img_align_celeba"
            path.mkdir()
            for name, content in contents.items():
                (path / name).write_bytes(content)
        elif layout == "tar":
            path = folder / "img_align_celeba.tar"
            with tarfile.open(path, "w") as archive:
                for name, content in contents.items():
                    member = tarfile.TarInfo(f"img_align_celeba/{name}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        else:
            path = folder / "img_align_celeba.zip"
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in contents.items():
                    archive.writestr(f"img_align_celeba/{name}", content)
        return path


def real_folder() -> Path:
    """Where the user's own CelebA is; skips the test where there is none."""
    root = os.environ.get("MMVAE_BENCH_DATA")
    folder = Path(root or ".") / "celeba"
    if root is None or not list(folder.glob("list_attr_celeba.txt*")):
        pytest.skip("MMVAE_BENCH_DATA does not hold CelebA")
    return folder


def real_rows() -> Rows:
    """The real annotations; skips the test where there are none."""
    return read_rows([real_folder()])
