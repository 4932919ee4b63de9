"""The open registry: names to spec classes, from this package and from entry points alike.

The built-ins of a kind are on one page of ``mmvae_bench.specs.built_in``, which is imported when the first name is
looked up. A third-party part is an entry point whose value is the spec class; it is imported only when that part is
looked up, so that a broken package affects only its own parts. Implementations are imported when they are built.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, SerializeAsAny

from ..base.catalogue import Catalogue, article
from ..base.errors import ConfigError, Problem
from .base import ComponentSpec, load_attribute

S = TypeVar("S", bound=ComponentSpec)


class Registry(Catalogue[type[S]]):
    """Maps names to spec classes of one kind.

    Args:
        kind: What the parts are called in messages, such as ``objective``.
        base: The base class of every spec of this kind.
        page: The module that registers the built-ins: ``mmvae_bench.specs.built_in.objectives``, say.
        group: The entry-point group for parts of other packages.
        derived_from: The class that every part is derived from, as ``package.module:attribute``; None: ``base``.
    """

    base: type[S]

    def __init__(self, kind: str, base: type[S], *, page: str, group: str, derived_from: str | None = None) -> None:
        super().__init__(kind, base, group=group)
        self.page, self.derived_from = page, derived_from
        self._built_in_loaded = False

    def register(self, spec: type[S]) -> type[S]:
        """Class decorator: registers a spec under its ``name``."""
        if not isinstance(self._name_of(spec), str):
            raise TypeError(f"{spec.__name__}.name needs a default: the name of the {self.kind}")
        if (lacking := self._lacking(spec)) is not None:
            raise TypeError(f"{spec.__name__} {lacking}")
        self.add(spec)
        return spec

    def names(self) -> list[str]:
        """Every known name, sorted."""
        return sorted(super().names())

    def self_contained(self) -> list[str]:
        """The names of the parts that need no setting: each can be given by its name alone."""
        return [name for name in self.names() if not any(f.is_required() for f in self.get(name).model_fields.values())]

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
                        f"expected the name of {article(self.kind)} or a mapping with a name",
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

    def _load_built_in(self) -> None:
        if not self._built_in_loaded:
            importlib.import_module(self.page)
            self._built_in, self._built_in_loaded = frozenset(self._parts), True

    def _name_of(self, part: type[S]) -> object:
        return part.model_fields["name"].default

    def _is_part(self, value: object) -> bool:
        return isinstance(value, type) and issubclass(value, self.base)

    def _is_own(self, name: str) -> bool:
        # What was registered before the built-ins were loaded is among them.
        return self._parts[name].__module__.startswith(f"{__package__.partition('.')[0]}.")

    def _lacking(self, part: type[S]) -> str | None:
        # What is only annotated, and not set, would be missed when the part is used, after hours perhaps.
        # The interface is that of its kind, and the texts are missed by nobody but who lists it.
        wanted = part.__class_vars__ - {"interface", "summary", "reference"}
        if missing := sorted(name for name in wanted if not hasattr(part, name)):
            return f"does not say its {', '.join(missing)}: set {'it' if len(missing) == 1 else 'them'} in the class"
        if not isinstance(part.implementation, str) or ":" not in part.implementation:
            return f"has implementation {part.implementation!r}: expected package.module:Class"
        if self.derived_from is not None and not issubclass(part, load_attribute(self.derived_from)):
            path = self.derived_from.replace(":", ".")
            return f"is not derived from {path}, which says how {article(self.kind)} is made"
        return None

    def _is_same(self, one: type[S], other: type[S]) -> bool:
        return one.__qualname__ == other.__qualname__
