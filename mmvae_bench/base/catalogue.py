"""Open catalogues: named parts of this package and, through entry points, of other packages.

An entry point's value is the part itself. It is imported only when that part is needed, so a broken package affects its
own parts and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from .errors import ConfigError, Location, unknown

T = TypeVar("T")


class Catalogue(Generic[T]):
    """Maps names to parts of one kind; iterating over it gives the names.

    Args:
        kind: What the parts are called in messages, such as ``metric``.
        base: The class of every part.
        group: The entry-point group for parts of other packages.
        built_in: The parts of this package, in the order in which they are listed.
    """

    def __init__(self, kind: str, base: type[Any], *, group: str, built_in: Iterable[T] = ()) -> None:
        self.kind, self.base, self.group = kind, base, group
        self._parts: dict[str, T] = {}
        self._entry_points: dict[str, list[EntryPoint]] | None = None
        for part in built_in:
            self.add(part)
        self._built_in = frozenset(self._parts)

    def add(self, part: T) -> None:
        """Makes a part known under its name; raises ValueError if another part has that name."""
        name = self._name_of(part)
        if not isinstance(name, str):
            raise TypeError(f"{part!r} has no name, which {article(self.kind)} needs")
        if not self._is_same(self._parts.get(name, part), part):
            raise ValueError(f"two specs for {self.kind} {name!r}: {self._parts[name]!r} and {part!r}")
        self._parts[name] = part

    def names(self) -> list[str]:
        """Every known name: those of this package in their order, then those of other packages, sorted."""
        self._load_built_in()
        others = set(self._third_party()) - self._built_in
        return [*(name for name in self._parts if name not in others), *sorted(others)]

    def built_in(self) -> list[str]:
        """The names of the parts of this package, in the order in which they were registered."""
        self._load_built_in()
        return [name for name in self._parts if name in self._built_in]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __getitem__(self, name: str) -> T:
        return self.get(name)

    def get(self, name: str, location: Location = ("name",)) -> T:
        """The part called ``name``.

        Raises:
            ConfigError: for an unknown name, with the choices and the nearest one; or where its package is broken.
        """
        self._load_built_in()
        if name not in self._parts and name in self._third_party():
            self.add(self._imported(name))
        if name not in self._parts:
            raise ConfigError([unknown(self.kind, name, self.names(), location)])
        return self._parts[name]

    def find(self, name: str) -> T | None:
        """The part called ``name``; None if there is none, or it cannot be used."""
        try:
            return self.get(name) if name in self else None
        except ConfigError:
            return None

    def origin(self, name: str) -> tuple[str, str | None, str] | None:
        """The package of a part that an entry point registers, its version, and the entry point's value.

        None for a part of this package, or of none.
        """
        self._load_built_in()
        points = self._third_party().get(name)
        if name in self._built_in or not points:
            return None
        point = points[0]
        package = point.dist.name if point.dist else point.module.partition(".")[0]
        return package, point.dist.version if point.dist else None, point.value

    def is_here_alone(self, name: str) -> bool:
        """Whether a part was added by this process, so that no other one knows it: it is of no installed package."""
        self._load_built_in()
        return name in self._parts and not self._is_own(name) and name not in self._third_party()

    def usable(self) -> tuple[list[str], list[ConfigError]]:
        """The names of all parts that can be imported, and for each of the others why it cannot.

        The others all come from other packages. They must not hide what works: listings show the former and warn about
        the latter.
        """
        found, errors = [], []
        for name in self.names():
            try:
                self.get(name)
                found.append(name)
            except ConfigError as error:
                errors.append(error)
            if name in self._built_in and name in self._third_party():
                owner = _owner(self._third_party()[name][0])
                errors.append(
                    ConfigError(
                        f"{self.kind} {name!r} from {owner} is ignored: there is a built-in {self.kind} of that name"
                    )
                )
        return found, errors

    def _load_built_in(self) -> None:
        """Registers the parts of this package, if that is put off until a name is needed."""

    def _name_of(self, part: T) -> object:
        return getattr(part, "name", None)

    def _is_part(self, value: object) -> bool:
        return isinstance(value, self.base)

    def _is_same(self, one: T, other: T) -> bool:
        return one == other

    def _is_own(self, name: str) -> bool:
        """Whether a part is one of this package."""
        return name in self._built_in

    def _lacking(self, part: T) -> str | None:
        """What a part lacks that whoever uses it relies on, in words after its name; None if nothing."""
        return None

    def _imported(self, name: str) -> T:
        point, *others = self._third_party()[name]
        where = f"{self.kind} {name!r} from {' and from '.join(map(_owner, (point, *others)))} cannot be used"
        if others:
            raise ConfigError(f"{where}: a name can only belong to one package; uninstall all but one")
        try:
            part: T = point.load()
        except Exception as error:  # whatever the import of another package raises, its user needs the name of the part
            raise ConfigError(
                f"{where}: importing {point.value}, which it registers in {self.group}, raised "
                f"{type(error).__name__}: {error}; fix or uninstall it"
            ) from error
        if not self._is_part(part):
            raise ConfigError(
                f"{where}: entry point {point.value} of {self.group} is not {article(self.base.__name__)}"
            )
        own = self._name_of(part)
        if own != name:
            raise ConfigError(
                f"{where}: its entry point in {self.group} is called {name!r}, but the name of {point.value} is "
                f"{own!r}: they must match"
            )
        if (lacking := self._lacking(part)) is not None:
            raise ConfigError(f"{where}: {point.value} {lacking}")
        return part

    def _third_party(self) -> dict[str, list[EntryPoint]]:
        if self._entry_points is None:
            self._entry_points = {}
            for point in entry_points(group=self.group):
                found = self._entry_points.setdefault(point.name, [])
                # One package may be found twice: an editable installation, and a copy on the path.
                if point.value not in (other.value for other in found):
                    found.append(point)
        return self._entry_points


def _owner(point: EntryPoint) -> str:
    """The package that an entry point belongs to, in words."""
    return f"package {point.dist.name} {point.dist.version}" if point.dist else "an installed package"


def article(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
