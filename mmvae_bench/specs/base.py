"""What all specs share: immutable, strict about unknown keys, written as canonical JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Final, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from ..base.errors import ConfigError, Location, Problem, nearest

LARGEST: Final = 2**53
"""The largest whole number that every reader of JSON and Parquet represents exactly."""


class Spec(BaseModel):
    """A validated, immutable, torch-free description. Unknown keys are errors: a setting is never ignored."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        populate_by_name=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )

    later_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields added after trials had already been stored. At their defaults the canonical form leaves them out, so that
    those trials keep their keys, and their results stay valid."""

    @model_validator(mode="before")
    @classmethod
    def _booleans_are_no_numbers(cls, value: Any) -> Any:
        # Python counts True as 1. Turned into text, it is reported together with every other problem.
        if not isinstance(value, Mapping) or not _numeric_keys(cls) & value.keys():
            return value
        return {key: _without_booleans(item) if key in _numeric_keys(cls) else item for key, item in value.items()}

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        plain: dict[str, Any] = handler(self)
        if not (info.context or {}).get("every_field"):
            for name in self.later_fields:
                if getattr(self, name) == type(self).model_fields[name].default:
                    plain.pop(name)
        return plain

    def canonical(self) -> dict[str, Any]:
        """The spec as plain JSON types, every default written out but those of :attr:`later_fields`."""
        return self.model_dump(mode="json", by_alias=True)

    def every_field(self) -> dict[str, Any]:
        """The canonical form including the fields that it leaves out: see :attr:`later_fields`."""
        return self.model_dump(mode="json", by_alias=True, context={"every_field": True})

    @classmethod
    def parse(cls, value: object, *, location: Location = ()) -> Self:
        """Validates ``value``; raises ConfigError with every problem found in it."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise ConfigError(problems_of(error, location, spec=cls)) from None


class ComponentSpec(Spec):
    """A part that can be named in a configuration: an objective, a dataset, a backbone, a classifier.

    A subclass defines ``name`` (a Literal whose default is its only value), the class variables below, and its
    parameters.
    """

    name: str
    """The part's name in the registry."""

    implementation: ClassVar[str]
    """The class that implements it, as ``package.module:attribute``; imported only when it is needed."""
    further_implementations: ClassVar[tuple[str, ...]] = ()
    """Other classes that implement it with some settings: their code counts too when a stored trial is used again."""
    interface: ClassVar[str]
    """The base class of every implementation of this kind of part, as ``package.module:attribute``."""
    summary: ClassVar[str]
    """One line for ``mmvae-bench list``."""
    reference: ClassVar[str]
    """The paper, with its equation or section."""

    def parameters(self) -> dict[str, Any]:
        """The canonical form without the name."""
        return {key: value for key, value in self.canonical().items() if key != "name"}

    def implementing_class(self) -> Any:
        """The class that :attr:`implementation` names; a subclass of :attr:`interface`.

        Raises:
            ConfigError: if it is not one.
        """
        found, interface = load_attribute(self.implementation), load_attribute(self.interface)
        if not (isinstance(found, type) and issubclass(found, interface)):
            path = self.interface.replace(":", ".")
            raise ConfigError(f"{self.name}: its implementation {self.implementation} is not a subclass of {path}")
        return found


def load_attribute(path: str) -> Any:
    """Imports ``package.module:attribute``."""
    import importlib

    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def problems_of(error: ValidationError, prefix: Location = (), *, spec: type[Spec] | None = None) -> list[Problem]:
    """Flattens a pydantic error; an error raised inside a validator (a component's own) is expanded in place.

    Args:
        error: What pydantic raised.
        prefix: The location of the validated value.
        spec: The class it was validated against, so that an unknown key is reported with the known ones.
    """
    found: list[Problem] = []
    for item in error.errors(include_url=False):
        if item["type"] == "too_short" and item["input"]:
            continue  # pydantic counts entries with a problem of their own as missing
        location = prefix + tuple(part for part in item["loc"] if not str(part).startswith("function-"))
        inner = item.get("ctx", {}).get("error")
        if isinstance(inner, ValidationError):
            found += problems_of(inner, location)
        elif isinstance(inner, ConfigError):
            found += [_prefixed(problem, location) for problem in inner.problems]
        else:
            found.append(_problem(item, location, spec))
    return found


def _prefixed(problem: Problem, prefix: Location) -> Problem:
    from dataclasses import replace

    return replace(problem, location=prefix + problem.location)


def _problem(item: Mapping[str, Any], location: Location, spec: type[Spec] | None) -> Problem:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        owner, choices = _keys_of(spec, item["loc"][:-1])
        key = str(location[-1])
        return Problem(f"unknown key {key!r} of {owner}", location, choices=choices, near=nearest(key, choices))
    if kind == "missing":
        return Problem(f"required key {str(location[-1])!r} is missing", location)
    value = _shown(item["input"])
    if kind in _SINGLE and isinstance(item["input"], list | tuple) and spec is not None:
        meant = _as_grid(str(location[-1]), item["input"], spec)
        return Problem(f"{_EXPECTED.get(kind, 'expected one of the choices')}, not a list: {meant}", location, value)
    if kind in _EXPECTED:
        return Problem(_EXPECTED[kind], location, value)
    if kind in ("literal_error", "enum"):
        choices = tuple(choice.strip().strip("'") for choice in context["expected"].replace(" or ", ", ").split(","))
        return Problem("not one of the choices", location, value, choices, nearest(item["input"], choices))
    message = item["msg"].removeprefix("Value error, ")
    return Problem(message[:1].lower() + message[1:], location, value)


_EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "expected a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "expected a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "expected true or false"),
    **dict.fromkeys(("string_type",), "expected text"),
    **dict.fromkeys(("tuple_type", "list_type"), "expected a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "expected a mapping of keys to values"),
    **dict.fromkeys(("too_short",), "needs at least one entry"),
}


_SINGLE = ("int_type", "float_type", "bool_type", "string_type", "literal_error")
"""What pydantic calls a list where a single value is expected."""


def _as_grid(key: str, values: Sequence[object], spec: type[Spec]) -> str:
    """How a grid writes several values of one setting: an entry with each."""
    is_component = issubclass(spec, ComponentSpec)
    if key == "seed" and not is_component:
        return f"did you mean a grid? There it is seeds: {_shown(values)}"
    name = f"name: {spec.model_fields['name'].default}, " if is_component else ""
    parts = [f"{{{name}{key}: {value}}}" for value in values[:2]] + ["..."] * (len(values) > 2)
    return f"did you mean a grid? There each value has an entry: [{', '.join(parts)}]"


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number with more than 4,300 digits.
        return "a number with thousands of digits"
    return text if len(text) <= 120 else text[:117] + "..."


def _keys_of(spec: type[Spec] | None, location: Location) -> tuple[str, tuple[str, ...]]:
    """The spec at ``location`` inside ``spec``: its name for users, and its keys."""
    for part in location:
        if spec is not None and isinstance(part, str) and not part.startswith("function-"):
            annotations = [field.annotation for name, field in spec.model_fields.items() if part in (name, field.alias)]
            leaves = (leaf for annotation in annotations for leaf in _leaves(annotation))
            spec = next((leaf for leaf in leaves if isinstance(leaf, type) and issubclass(leaf, Spec)), None)
    if spec is None:
        return "this part", ()
    fields = spec.model_fields
    is_component = issubclass(spec, ComponentSpec)
    owner = str(fields["name"].default) if is_component else spec.__name__.removesuffix("Spec").lower()
    keys = (field.alias or name for name, field in fields.items())
    return owner, tuple(key for key in keys if key != "version")


def _leaves(annotation: Any) -> Iterator[Any]:
    """The types in an annotation."""
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _leaves(argument)


@cache
def _numeric_keys(spec: type[Spec]) -> frozenset[str]:
    """The keys of fields that take numbers, alone, in lists or as choices, but neither booleans nor text."""
    keys = set()
    for name, field in spec.model_fields.items():
        leaves = list(_leaves(field.annotation))
        numeric = int in leaves or float in leaves or any(type(leaf) is int for leaf in leaves)
        if numeric and bool not in leaves and str not in leaves:
            keys |= {name, field.alias or name}
    return frozenset(keys)


def _without_booleans(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_without_booleans(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else value
