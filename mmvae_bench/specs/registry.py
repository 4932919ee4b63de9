"""The open registry: names to spec classes, from this package and from entry points alike.

The built-ins of a kind are on one page of ``mmvae_bench.specs.built_in``, which is imported when the first name is
looked up. A third-party part is an entry point whose value is the spec class; it is imported only when that part is
looked up, so that a broken package affects nothing but its own parts. Implementations are imported when they are built.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BeforeValidator, SerializeAsAny

from ..base.errors import ConfigError, Problem, unknown
from .base import ComponentSpec

S = TypeVar("S", bound=ComponentSpec)


class Registry(Generic[S]):
    """Maps names to spec classes of one kind.

    Args:
        kind: What the parts are called in messages, such as ``objective``.
        base: The base class of every spec of this kind.
        page: The module that registers the built-ins: ``mmvae_bench.specs.built_in.objectives``, say.
        group: The entry-point group for parts of other packages.
    """

    def __init__(self, kind: str, base: type[S], *, page: str, group: str) -> None:
        self.kind, self.base, self.page, self.group = kind, base, page, group
        self._specs: dict[str, type[S]] = {}
        self._builtins: frozenset[str] = frozenset()
        self._builtins_loaded = False
        self._entry_points: dict[str, list[EntryPoint]] | None = None

    def register(self, spec: type[S]) -> type[S]:
        """Class decorator: registers a spec under its ``name``."""
        name = spec.model_fields["name"].default
        if not isinstance(name, str):
            raise TypeError(f"{spec.__name__}.name needs a default: the name of the {self.kind}")
        if self._specs.get(name, spec).__qualname__ != spec.__qualname__:
            raise ValueError(f"two specs for {self.kind} {name!r}: {self._specs[name]!r} and {spec!r}")
        self._specs[name] = spec
        return spec

    def names(self) -> list[str]:
        """Every known name, sorted."""
        self._load_builtins()
        return sorted({*self._specs, *self._third_party()})

    def usable(self) -> tuple[list[str], list[ConfigError]]:
        """Every name whose spec can be imported, sorted; and why the others, all from other packages, cannot.

        A broken package must not hide what works: listings show the names and report the errors.
        """
        found, errors = [], []
        for name in self.names():
            try:
                self.get(name)
                found.append(name)
            except ConfigError as error:
                errors.append(error)
            if name in self._builtins and name in self._third_party():
                owner = _owner(self._third_party()[name][0])
                errors.append(
                    ConfigError(
                        f"{self.kind} {name!r} of {owner} is not used: there is a built-in {self.kind} of that name"
                    )
                )
        return found, errors

    def get(self, name: str) -> type[S]:
        """The spec class of ``name``; raises ConfigError with the choices and the nearest one."""
        self._load_builtins()
        if name not in self._specs and name in self._third_party():
            self.register(self._imported(name))
        if name not in self._specs:
            raise ConfigError([unknown(self.kind, name, self.names(), ("name",))])
        return self._specs[name]

    def parse(self, value: object) -> S:
        """A spec from a spec, a bare name, or a mapping with a ``name``."""
        if isinstance(value, self.base):
            return value
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            raise ConfigError(
                [
                    Problem(
                        f"expected the name of {_article(self.kind)} or a mapping with a name",
                        value=repr(value),
                        choices=tuple(self.names()),
                    )
                ]
            )
        if "name" not in value:
            raise ConfigError([Problem("required key 'name' is missing", ("name",), choices=tuple(self.names()))])
        return self.get(str(value["name"])).parse(dict(value))

    def field(self) -> Any:
        """The annotation of a spec field that holds a part of this kind."""
        parse: Callable[[object], S] = self.parse
        return SerializeAsAny[Annotated[self.base, BeforeValidator(parse)]]  # type: ignore[misc, name-defined]

    def _load_builtins(self) -> None:
        if not self._builtins_loaded:
            importlib.import_module(self.page)
            self._builtins, self._builtins_loaded = frozenset(self._specs), True

    def _imported(self, name: str) -> type[S]:
        point, *others = self._third_party()[name]
        where = f"{self.kind} {name!r} of {' and of '.join(map(_owner, (point, *others)))} cannot be used"
        if others:
            raise ConfigError(f"{where}: a name can only belong to one package; uninstall the other")
        try:
            spec = point.load()
        except Exception as error:  # whatever the import of another package raises, its user needs the name of the part
            raise ConfigError(
                f"{where}: importing {point.value}, which it registers in {self.group}, raised "
                f"{type(error).__name__}: {error}; fix or uninstall it"
            ) from error
        if not (isinstance(spec, type) and issubclass(spec, self.base)):
            raise ConfigError(f"{where}: entry point {point.value} of {self.group} is not a {self.base.__name__}")
        own = spec.model_fields["name"].default
        if own != name:
            raise ConfigError(
                f"{where}: its entry point in {self.group} is called {name!r}, but the name of {point.value} is "
                f"{own!r}: they must be the same"
            )
        return spec

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
    """The package of an entry point, in words."""
    return f"package {point.dist.name} {point.dist.version}" if point.dist else "an installed package"


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
