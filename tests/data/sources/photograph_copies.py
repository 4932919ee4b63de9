"""Small made-up copies of LFW and CUB-200-2011 in the exact form in which they are distributed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from mmvae_bench.specs.built_in.photographs import CUB_NAMES, LFW_NAMES

PEOPLE = {
    "peopleDevTrain.txt": {"Ana Maria Silva": 3, "Bo": 9, "Carl Q Public": 4, "Dee Dee": 6},
    "peopleDevTest.txt": {"Eve Adams": 2, "Flo Bo": 5},
}
"""Names as the scores write them; in lists and paths an underscore is in the place of a space."""
UNSCORED = ("Bo", 4)
"""A photograph without scores, as 90 of LFW are."""


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, quality=95)
    return buffer.getvalue()


def written(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def waves(number: int, height: int, width: int) -> np.ndarray:
    """A smooth photograph whose colours tell which one it is."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [128 + 90 * np.sin((x + (1 + channel) * y) / (12 + number) + number) for channel in range(3)]
    return np.stack(channels, -1).astype(np.uint8)


class LFWCopy:
    """29 photographs of six people."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.keys = [
            (name, number)
            for people in PEOPLE.values()
            for name, most in people.items()
            for number in range(1, most + 1)
        ]
        self.scores = np.random.default_rng(0).normal(size=(len(self.keys), len(LFW_NAMES))).round(6)
        self.scores[0, 0] = 0.0

    @staticmethod
    def stem(name: str, number: int) -> str:
        plain = name.replace(" ", "_")
        return f"{plain}/{plain}_{number:04d}"

    def mask(self, place: int) -> np.ndarray:
        """Above a half in a disk that is somewhere else in each."""
        y, x = np.mgrid[0:250, 0:250]
        inside = (y - 120 - place) ** 2 + (x - 125 + place) ** 2 < 40**2
        return np.where(inside, 140, 120).astype(np.uint8)

    def texts(self) -> dict[str, str]:
        found = {}
        for file, people in PEOPLE.items():
            rows = "".join(f"{name.replace(' ', '_')}\t{number}\n" for name, number in people.items())
            found[file] = f"{len(people)}\n{rows}"
        head = "#\t" + "\t".join(["person", "imagenum", *LFW_NAMES]).replace("5 o Clock", "5 o' Clock")
        rows = "".join(
            "\t".join([name, str(number), *map(repr, scores)]) + "\n"
            for (name, number), scores in zip(self.keys, self.scores.tolist(), strict=True)
            if (name, number) != UNSCORED
        )
        found["lfw_attributes.txt"] = f"# made up\n{head}\n{rows}"
        return found

    def write_texts(self, **others: str) -> None:
        """The text files; ``others`` in the place of some."""
        for name, text in (self.texts() | others).items():
            written(self.root / "lfw" / name, text)
        (self.root / "lfw" / "lfw-deepfunneled").mkdir(exist_ok=True)

    def write(self, *, masks: Callable[[int], bool] = lambda place: False) -> None:
        self.write_texts()
        for place, key in enumerate(self.keys):
            photo = encoded(waves(place, 250, 250), "JPEG")
            written(self.root / "lfw" / "lfw-deepfunneled" / f"{self.stem(*key)}.jpg", photo)
            if masks(place):
                written(self.root / "lfw" / "masks" / f"{self.stem(*key)}.png", encoded(self.mask(place)))

    def md5(self) -> dict[str, str]:
        """Of the text files as they are written."""
        files = [*PEOPLE, "lfw_attributes.txt"]
        return {
            name: hashlib.md5((self.root / "lfw" / name).read_bytes(), usedforsecurity=False).hexdigest()
            for name in files
        }


class CUBCopy:
    """Photographs of birds, numbered from 1; the first has a space in its name."""

    def __init__(self, root: Path, number: int = 40) -> None:
        self.root, self.number = root, number
        self.files = [f"{k // 10 + 1:03d}.Bird_{k // 10}/Bird_{k:04d}.jpg" for k in range(number)]
        self.files[0] = "001.Bird_0/Bird of 0000.jpg"
        self.labels = np.random.default_rng(1).integers(0, 2, (number, len(CUB_NAMES)))
        self.training = [k % 4 != 3 for k in range(number)]

    def size(self, k: int) -> tuple[int, int]:
        """(height, width)."""
        return 60 + k % 40, 90 - k % 40

    def box(self, k: int) -> tuple[int, int, int, int]:
        """Top, bottom, left, right of the bird."""
        return 5 + k % 7, 45 + k % 5, 8, 40 + k % 9

    def mask(self, k: int) -> np.ndarray:
        """A rectangle without its corners, above a half; around it is what only some of those who drew it saw."""
        top, bottom, left, right = self.box(k)
        mask = np.zeros(self.size(k), np.uint8)
        mask[top - 3 : bottom + 3, left - 3 : right + 3] = 100
        mask[top:bottom, left:right] = 204
        mask[top : top + 4, left : left + 4] = 0
        return mask

    def texts(self) -> dict[str, str]:
        numbers = range(1, self.number + 1)
        # A few rows have a cell too many, as in the file that is distributed.
        labels = "".join(
            f"{image} {attribute} {value} 3 {'0 ' if (image, attribute) == (3, 7) else ''}27.708\n"
            for image in numbers
            for attribute, value in enumerate(self.labels[image - 1].tolist(), 1)
        )
        return {
            "images.txt": "".join(f"{k} {file}\n" for k, file in zip(numbers, self.files, strict=True)),
            "train_test_split.txt": "".join(
                f"{k} {int(each)}\n" for k, each in zip(numbers, self.training, strict=True)
            ),
            "bounding_boxes.txt": "".join(f"{k} 1.0 2.0 30.0 40.0\n" for k in numbers),
            "attributes/image_attribute_labels.txt": labels,
            "../attributes.txt": "".join(f"{k} {name}\n" for k, name in enumerate(CUB_NAMES, 1)),
        }

    def write(self, *, texts: dict[str, str] | None = None, beside: bool = False) -> None:
        folder = self.root / "CUB_200_2011"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (self.texts() | (texts or {})).items():
            written(folder / name, text)
        masks = (self.root if beside else folder) / "segmentations"
        for k, file in enumerate(self.files):
            written(folder / "images" / file, encoded(waves(k, *self.size(k)), "JPEG"))
            written(masks / Path(file).with_suffix(".png"), encoded(self.mask(k)))
