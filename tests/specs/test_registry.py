"""The open registry: built-ins and entry points alike, imported when asked for."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from mmvae_bench.base import catalogue as module
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.base import ComponentSpec
from mmvae_bench.specs.components import (
    BackboneSpec,
    ClassifierSpec,
    ObjectiveSpec,
    backbones,
    classifiers,
    datasets,
    objectives,
)
from mmvae_bench.specs.registry import Registry


class PartSpec(ComponentSpec):
    """Base of the parts of a registry of our own."""


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[PartSpec]:
    """A registry over a package without modules."""
    package = tmp_path / "empty_parts_package"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    return Registry("part", PartSpec, page="empty_parts_package", group="mmvae_bench_test.parts")


class ThirdPartySpec(PartSpec):
    """A part of another distribution."""

    implementation: ClassVar[str] = "nowhere:at_all"
    summary: ClassVar[str] = "third party"
    reference: ClassVar[str] = "none"
    name: Literal["third"] = "third"


def entry_point(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    points = {"mmvae_bench_test.parts": [EntryPoint(name, value, "mmvae_bench_test.parts")]}
    monkeypatch.setattr(module, "entry_points", lambda group: points.get(group, []))


def test_built_ins_are_found() -> None:
    assert {"jvae", "telbo", "jmvae", "bivcca"} <= set(objectives.names())
    assert {"mnist_a_paper", "mnist_a_released", "mnist_a_thin"} <= set(backbones.names())
    assert "mnist_a" in datasets.names()
    assert {"conv_published", "conv_thin"} <= set(classifiers.names())


@pytest.mark.parametrize("registry", [objectives, datasets, backbones, classifiers], ids=lambda registry: registry.kind)
def test_everything_registered_is_described(registry: Registry[ComponentSpec]) -> None:
    for name in registry.names():
        spec = registry.get(name)
        assert spec.model_fields["name"].default == name
        assert spec.summary
        assert spec.reference
        assert ":" in spec.implementation
        undescribed = [key for key, field in spec.model_fields.items() if not field.description]
        assert not undescribed, f"{name}: parameters without a docstring: {undescribed}"


def test_entry_points_are_parts_too(parts: Registry[PartSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    entry_point(monkeypatch, "third", f"{__name__}:ThirdPartySpec")
    assert parts.names() == ["third"]
    assert isinstance(parts.parse("third"), ThirdPartySpec)


@pytest.mark.parametrize(
    ("value", "words"),
    [("no_such_module:Spec", "No module named 'no_such_module'"), (f"{__name__}:Nothing", "Nothing")],
)
def test_a_broken_entry_point_is_named(
    parts: Registry[PartSpec], monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    entry_point(monkeypatch, "third", value)
    with pytest.raises(ConfigError, match=f"(?s)'third'.*{words}"):
        parts.get("third")
    assert parts.names() == ["third"]
    usable, (error,) = parts.usable()
    assert not usable
    assert "part 'third' from an installed package cannot be used" in str(error)


def test_an_entry_point_of_another_kind_is_refused(parts: Registry[PartSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    entry_point(monkeypatch, "third", "mmvae_bench.specs.base:Spec")
    with pytest.raises(ConfigError, match="is not a PartSpec"):
        parts.get("third")


def test_an_entry_point_has_the_name_of_its_spec(parts: Registry[PartSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    entry_point(monkeypatch, "fourth", f"{__name__}:ThirdPartySpec")
    with pytest.raises(ConfigError, match=r"is called 'fourth', but the name of .* is 'third': they must match"):
        parts.get("fourth")


def test_a_name_of_two_packages_is_nobodys(parts: Registry[PartSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    group = "mmvae_bench_test.parts"
    same = [EntryPoint("third", f"{__name__}:ThirdPartySpec", group)] * 2
    monkeypatch.setattr(module, "entry_points", lambda group: [*same, EntryPoint("third", "elsewhere:Spec", group)])
    with pytest.raises(ConfigError, match=r"'third' from .* and from .*: a name can only belong to one package"):
        parts.get("third")
    again = Registry("part", PartSpec, page="empty_parts_package", group=group)
    monkeypatch.setattr(module, "entry_points", lambda group: same)
    assert again.get("third") is ThirdPartySpec


def test_a_built_in_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = EntryPoint("telbo", "elsewhere:Spec", "mmvae_bench.objectives")
    monkeypatch.setattr(module, "entry_points", lambda group: [theirs])
    registry = Registry("objective", ObjectiveSpec, page="mmvae_bench.specs.built_in.objectives", group=theirs.group)
    for name in objectives.names():
        registry.register(objectives.get(name))  # the modules are imported once in a process
    usable, (error,) = registry.usable()
    assert usable == objectives.names()
    assert "objective 'telbo' from an installed package is ignored: there is a built-in objective of that name" in str(
        error
    )


def test_a_name_is_taken_once(parts: Registry[PartSpec]) -> None:
    parts.register(ThirdPartySpec)
    parts.register(ThirdPartySpec)  # the same again, as after a reload

    class Other(PartSpec):
        implementation: ClassVar[str] = "nowhere:at_all"
        name: Literal["third"] = "third"

    with pytest.raises(ValueError, match="two specs for part 'third'"):
        parts.register(Other)


def test_a_spec_needs_its_name(parts: Registry[PartSpec]) -> None:
    with pytest.raises(TypeError, match="needs a default"):
        parts.register(PartSpec)


def test_parts_are_given_by_name_mapping_or_spec() -> None:
    by_name = backbones.parse("mnist_a_thin")
    assert isinstance(by_name, BackboneSpec)
    assert backbones.parse({"name": "mnist_a_thin"}) == by_name
    assert backbones.parse(by_name) is by_name


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("mnist_a_thim", "name: unknown backbone 'mnist_a_thim'"),
        ({"name": "mnist_a_thim"}, "name: unknown backbone 'mnist_a_thim'"),
        ({"width": 3}, "name: required key 'name' is missing"),
        (3, "expected the name of a backbone or a mapping with a name\n  given: 3"),
        (None, "expected the name of a backbone or a mapping with a name\n  given: None"),
    ],
)
def test_what_is_no_part_is_answered_with_the_choices(value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        backbones.parse(value)
    assert str(caught.value).startswith(f"{message}\n  choices: {', '.join(backbones.names())}")


class WithoutSpec(PartSpec):
    """A part whose author has left something out."""

    summary: ClassVar[str] = "something is missing"
    name: Literal["third"] = "third"


class MisplacedSpec(ThirdPartySpec):
    """A part whose implementation is no path of a class."""

    implementation: ClassVar[str] = "nowhere.at_all"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (WithoutSpec, "does not say its implementation: set it in the class"),
        (MisplacedSpec, "has implementation 'nowhere.at_all': expected package.module:Class"),
    ],
)
def test_what_a_part_lacks_is_said_when_it_is_registered(
    spec: type[PartSpec], message: str, parts: Registry[PartSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TypeError, match=f"{spec.__name__} {message}"):
        parts.register(spec)
    entry_point(monkeypatch, "third", f"{__name__}:{spec.__name__}")
    with pytest.raises(ConfigError, match=f"part 'third' from .* cannot be used: .*{spec.__name__} {message}"):
        parts.get("third")


def test_a_classifier_says_how_it_is_trained() -> None:
    class Untrained(ClassifierSpec):
        """A network, and no word of its training."""

        implementation: ClassVar[str] = "nowhere:at_all"
        summary: ClassVar[str] = "untrained"
        reference: ClassVar[str] = "none"
        name: Literal["untrained"] = "untrained"

    with pytest.raises(TypeError, match=r"is not derived from mmvae_bench\.specs\.built_in\.classifiers\.Trained"):
        classifiers.register(Untrained)
    assert "untrained" not in classifiers
