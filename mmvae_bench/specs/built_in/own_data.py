"""The user's own images as datasets: arrays that were stored once, or pictures in a folder with a table.

What determines the pixels is in the spec as a digest of their bytes, and so are the attributes and the shape. A spec is
therefore complete without the data: a trained model is loaded on a machine that has none of it, and a trial's key
changes when the data do. Where a configuration leaves these fields out, they are read when it is checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from ...base.errors import ConfigError, Problem, nearest
from ...base.files import DamagedFile, cache_root, data_root, open_regular, read_json
from ...base.printable import printable
from ...concepts import Attribute, Schema
from ...concepts.captions import Captions, SlotCaptions
from ...concepts.tables import infer_schema, read_table, schema_of, texts
from ..base import LARGEST
from ..components import DatasetSpec, View, datasets

STORE = "arrays"
"""The folder, under the data root or in the cache, that holds the arrays of :func:`mmvae_bench.data.from_arrays`."""
PARTITION_COLUMN = "partition"
"""The column of a table that says train, val or test, for the split ``given``."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Side = Annotated[int, Field(ge=8, le=1024)]
LEAST_IMAGES = 20
_BLANK = "<blank>"
"""The word of captions for an attribute that is not specified."""
_IN_PLACE_OF_DATA: Final = {"attributes": {"attribute": ("0", "1")}, "num_images": LEAST_IMAGES}
"""What would be read from the data, where the key that names them is missing: then only that one is asked for."""


def _schema(pairs: tuple[tuple[str, tuple[str, ...]], ...]) -> Schema:
    try:
        return Schema(tuple(Attribute(name, values) for name, values in pairs))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def array_folders(digest: str = "") -> tuple[Path, Path]:
    """Where arrays are looked for: under the data root, then in the cache."""
    return data_root() / STORE / digest, cache_root() / STORE / digest


class OwnDataSpec(DatasetSpec):
    """What the user's datasets share."""

    headline_protocol: ClassVar[str] = "corrected"  # Attributes may depend on each other.
    later_fields: ClassVar[frozenset[str]] = frozenset({"view"})

    attributes: tuple[tuple[str, tuple[str, ...]], ...]
    """The name and the values of each attribute, in order: pairs, because canonical JSON sorts the keys of a mapping;
    a mapping is taken too. Left out: as the data are."""
    data: Digest
    """The first digits of a hash of the images and concepts, byte by byte; it names arrays that are stored."""
    num_images: Annotated[int, Field(ge=LEAST_IMAGES, le=LARGEST)]
    """Number of images; left out: as the data are."""
    split: Literal["iid", "comp", "given"] = "iid"
    """iid: by image, 0.85 / 0.05 / 0.10; comp: by concept, those that occur; given: as the data say."""
    split_seed: Annotated[int, Field(ge=0, le=2**53)] = 42
    """Seed of the split."""
    view: Literal["attributes", "text"] = "attributes"
    """attributes: y is the concept; text: y is its caption, the value of each attribute in order."""

    @field_validator("attributes", mode="before")
    @classmethod
    def _in_pairs(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return tuple(schema_of(value).to_dict().items())
        return value

    @field_validator("attributes", mode="after")
    @classmethod
    def _is_a_schema(cls, value: tuple[tuple[str, tuple[str, ...]], ...]) -> Any:
        _schema(value)
        return value

    @model_validator(mode="after")
    def _values_are_words(self) -> Self:
        for name, values in self.attributes if self.view == "text" else ():
            for value in values:
                if len(value.split()) > 1 or value == _BLANK:
                    message = f"a caption names a value of {name} by one word, which no other word is like"
                    raise ConfigError(
                        [Problem(f"{message}: rename it, or choose view attributes", ("view",), repr(value))]
                    )
        return self

    def most_images(self) -> int:
        """All of them."""
        return self.num_images

    def concept_schema(self) -> Schema:
        """The attributes of the data."""
        return _schema(self.attributes)

    @property
    def chosen_view(self) -> View:
        """The value of ``view``."""
        return self.view

    def texts(self) -> Captions | None:
        """The captions, in the text view."""
        return self.captions() if self.view == "text" else None

    def captions(self) -> Captions:
        """The values of all attributes, in order."""
        return SlotCaptions(self.concept_schema())

    def default_classifier(self) -> str:
        """A convolutional network for colour images, or one for small grey ones."""
        channels, height, width = self.image_shape()
        return "conv_rgb" if channels == 3 and min(height, width) >= 16 else "conv_thin"

    def __repr__(self) -> str:
        """One line: a schema may have hundreds of values."""
        shape, names = "x".join(map(str, self.image_shape())), ", ".join(name for name, _ in self.attributes)
        return f"{type(self).__name__}({self.num_images:,} images {shape}; {names}; split {self.split}; {self.data})"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """The attributes as a table, for notebooks."""
        from html import escape

        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(', '.join(values))}</td></tr>"
                       for name, values in self.attributes)  # fmt: skip
        return f"<p>{escape(repr(self))}</p><table>{rows}</table>"


@datasets.register
class ArraysSpec(OwnDataSpec):
    """Arrays of the user, stored by ``mmvae_bench.data.from_arrays`` and known by their digest."""

    implementation: ClassVar[str] = "mmvae_bench.data.own:ArraysDataModule"
    summary: ClassVar[str] = "your own images and concepts, from arrays: see mmvae_bench.data.from_arrays"
    reference: ClassVar[str] = "the user's own"

    name: Literal["arrays"] = "arrays"
    """The dataset's name."""
    source: Literal["arrays"] = "arrays"
    """The images are the user's."""
    shape: tuple[Literal[1, 3], Side, Side]
    """Channels, height and width of an image; left out: as the data are."""
    binary: bool = False
    """Whether every pixel is 0 or 1, so that p(x|z) can be Bernoulli; left out: as the data are."""

    @model_validator(mode="before")
    @classmethod
    def _as_stored(cls, value: Any) -> Any:
        wanted = {"attributes", "num_images", "shape", "binary"}
        if isinstance(value, Mapping) and "data" not in value:
            return _IN_PLACE_OF_DATA | {"shape": (3, 8, 8)} | dict(value)
        if not isinstance(value, Mapping) or not isinstance(value["data"], str) or wanted <= value.keys():
            return value
        stored = stored_arrays(value["data"])
        return {key: stored[key] for key in wanted if key in stored} | dict(value)

    def image_shape(self) -> tuple[int, int, int]:
        """As the data are."""
        return self.shape

    def kept_in_cache(self) -> tuple[str, ...]:
        """The arrays, unless they are under the data root."""
        return (f"{STORE}/{self.data}",)


def stored_arrays(digest: str) -> dict[str, Any]:
    """What is known of stored arrays, from their ``meta.json``.

    Raises:
        ConfigError: if none are stored under this digest, with those that are.
    """
    for folder in array_folders(digest) if digest.isalnum() else ():
        try:
            found = read_json(folder / "meta.json")
            if isinstance(found, dict):
                return found
        except (OSError, DamagedFile):
            continue
    raise ConfigError([_not_stored(digest, _stored())])


def _stored() -> list[str]:
    # Not what is being written, and no name that a stranger has made up.
    return sorted({path.parent.name for root in array_folders() for path in root.glob(f"{'[0-9a-f]' * 16}/meta.json")})


def _not_stored(digest: str, there: list[str]) -> Problem:
    places = " or ".join(str(root) for root in array_folders())
    message = f"no such arrays in {places}: call mmvae_bench.data.from_arrays with them once on this machine"
    return Problem(message, ("data",), printable(digest), tuple(there[:20]), nearest(digest, there))


@datasets.register
class FolderSpec(OwnDataSpec):
    """Pictures of the user with a table of their attributes. A picture's middle square is scaled to the canvas."""

    implementation: ClassVar[str] = "mmvae_bench.data.own:FolderDataModule"
    summary: ClassVar[str] = "your own pictures (JPEG, PNG, WebP) in a folder, with a CSV or Parquet file of attributes"
    reference: ClassVar[str] = "the user's own"

    name: Literal["folder"] = "folder"
    """The dataset's name."""
    source: Literal["folder"] = "folder"
    """The images are the user's."""
    path: Annotated[str, Field(min_length=1)]
    """The folder of the pictures: absolute, or under the data root."""
    table: Annotated[str, Field(min_length=1)] = "labels.csv"
    """The table in that folder, or an absolute path: a row for each picture; a column ``partition`` of train, val and
    test is for the split ``given``, and is no attribute."""
    file_column: Annotated[str, Field(min_length=1)] = "file"
    """The column with the name of the picture, relative to the folder."""
    size: Side = 64
    """Height and width of an image in pixels."""
    channels: Literal[1, 3] = 3
    """3: colour; 1: grey."""

    binary: ClassVar[bool] = False
    """Pictures have shades."""

    @model_validator(mode="before")
    @classmethod
    def _as_it_is(cls, value: Any) -> Any:
        wanted = {"attributes", "num_images", "data"}
        if isinstance(value, Mapping) and "path" not in value:
            return _IN_PLACE_OF_DATA | {"data": "0" * 16} | dict(value)
        if not isinstance(value, Mapping) or wanted <= value.keys() or not isinstance(value["path"], str):
            return value
        names = {key: str(value.get(key, cls.model_fields[key].default)) for key in ("table", "file_column")}
        found = FolderTable(value["path"], **names)
        told: dict[str, Any] = {"num_images": len(found.files)}
        told["attributes"] = value.get("attributes") or infer_schema(found.attributes()).to_dict()
        found.check_has(told["attributes"])
        if "data" not in value:
            told["data"] = found.digest()
        return told | dict(value)

    def image_shape(self) -> tuple[int, int, int]:
        """(channels, size, size)."""
        return (self.channels, self.size, self.size)

    def contents(self) -> FolderTable:
        """The table and the pictures as they are now."""
        return FolderTable(self.path, table=self.table, file_column=self.file_column)

    def recipe(self) -> dict[str, object]:
        """What determines the images: their content, and how they are scaled; not where they are."""
        where = ("path", "table", "file_column", "num_images")
        return {key: value for key, value in super().recipe().items() if key not in where}


class FolderTable:
    """A folder of pictures with its table, which is read here; the pictures are not. ``row`` says where one is in it.

    Args:
        path: The folder: absolute, or under the data root.
        table: The table in it, or an absolute path.
        file_column: The column with the names of the pictures.

    Raises:
        ConfigError: if the folder, the table, a column or a picture is missing, or a name leads out of the folder.
    """

    def __init__(self, path: str, *, table: str, file_column: str) -> None:
        try:
            self.folder = data_root() / Path(path).expanduser()
        except RuntimeError as error:
            raise ConfigError([Problem(str(error), ("path",), repr(path))]) from None
        if not self.folder.is_dir():
            message, here = "no such folder: name one that is absolute or under the data root", Path(path).absolute()
            near = printable(str(here)) if here.is_dir() else None  # Relative to the working folder.
            raise ConfigError([Problem(message, ("path",), printable(str(self.folder)), near=near)])
        read = read_table(self.folder / table)
        self.columns, self.row = read.columns, read.row
        if file_column not in self.columns:
            names = tuple(map(printable, self.columns))
            message = "the table has no column of this name, which says which picture a row is about"
            near = nearest(file_column, names)
            raise ConfigError([Problem(message, ("file_column",), repr(file_column), names, near)])
        self.file_column, self.files = file_column, self.columns[file_column]
        self._check_files()

    def _check_files(self) -> None:
        if len(self.files) < LEAST_IMAGES:
            message = f"at least {LEAST_IMAGES} images are needed, so that some are left for validation and for testing"
            raise ConfigError([Problem(message, ("table",), f"{len(self.files)} rows")])
        seen: dict[str, int] = {}
        problems = []
        for row, name in enumerate(self.files):
            where = self.row(row)
            if Path(name).is_absolute() or ".." in Path(name).parts:
                problems.append(Problem(f"{where}: a picture is named relative to the folder", ("table",), repr(name)))
            elif name in seen:
                problems.append(
                    Problem(f"{where}: the same picture as in {self.row(seen[name])}", ("table",), repr(name))
                )
            elif not name or not (self.folder / name).is_file():
                problems.append(Problem(f"{where}: no such picture in {self.folder}", ("table",), repr(name)))
            seen[name] = row
        if problems:
            raise ConfigError([*problems[:5], *_more(problems)])

    def check_has(self, attributes: Any) -> None:
        """Refuses attributes that are no column of the table; what is no attribute at all is left to others."""
        if not isinstance(attributes, Mapping):
            try:
                attributes = dict(attributes)
            except (TypeError, ValueError):
                return
        there = self.attributes()
        problems = [Problem("the table has no column of this name", ("attributes", str(name)),
                            choices=tuple(map(printable, there)), near=nearest(str(name), there))
                    for name in attributes if name not in there]  # fmt: skip
        if problems:
            raise ConfigError(problems)

    def attributes(self, names: Collection[str] | None = None) -> dict[str, list[str]]:
        """The columns that are attributes: those of some names, or all others than the picture and the partition."""
        others = (self.file_column, PARTITION_COLUMN)
        wanted = [name for name in self.columns if (name not in others if names is None else name in names)]
        return {name: texts(self.columns[name], location=("concepts", name), row=self.row) for name in wanted}

    def digest(self) -> str:
        """Hash of the table's content, and of the bytes of every picture."""
        digest = hashlib.sha256()
        for name, column in sorted(self.columns.items()):
            digest.update(f"{[name, *column]!r}".encode())
        for name in self.files:
            digest.update(_file_hash(self.folder / name))
        return digest.hexdigest()[:16]


def _more(problems: list[Problem]) -> list[Problem]:
    return [Problem(f"and {len(problems) - 5} more rows like these", ("table",))] if len(problems) > 5 else []


def _file_hash(path: Path) -> bytes:
    try:
        with open_regular(path.resolve()) as file:
            return hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
    except (OSError, DamagedFile) as error:
        raise ConfigError([Problem(f"a picture cannot be read: {error}", ("path",), printable(str(path)))]) from None
