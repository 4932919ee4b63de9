"""What every spec promises: frozen, closed, canonical, and errors that say everything that is wrong at once."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from mmvae_bench.base.canonical import canonical_json, content_hash
from mmvae_bench.base.errors import ConfigError, Problem
from mmvae_bench.specs.base import ComponentSpec, Spec


class InnerSpec(Spec):
    """A nested part."""

    size: Annotated[int, Field(gt=0)] = 3
    """Its size."""
    flags: tuple[bool, ...] = ()
    """Booleans, which are welcome here."""


class OuterSpec(Spec):
    """A part with parts."""

    weight_: Annotated[float, Field(ge=0, alias="weight")] = 1.0
    """A number with a key that is no Python name."""
    mode: Literal["slow", "fast"] = "slow"
    """A choice."""
    on: bool = False
    """A switch."""
    text: str = ""
    """Text."""
    inner: InnerSpec = InnerSpec()
    """Nested."""
    many: Annotated[tuple[InnerSpec, ...], Field(min_length=1)] | None = None
    """Nested, in a list."""
    sizes: tuple[Annotated[int, Field(gt=0)], ...] | None = None
    """Numbers in a list."""


class ToySpec(ComponentSpec):
    """A component."""

    implementation: ClassVar[str] = "toy_implementation:Toy"
    interface: ClassVar[str] = "fractions:Fraction"
    summary: ClassVar[str] = "a toy"
    reference: ClassVar[str] = "none"
    name: Literal["toy"] = "toy"
    alpha: float = 0.5


def problems(value: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        OuterSpec.parse(value)
    return list(caught.value.problems)


def test_canonical_form_writes_every_default_under_its_key() -> None:
    assert OuterSpec.parse({"inner": {"size": 4}}).canonical() == {
        "weight": 1.0,
        "mode": "slow",
        "on": False,
        "text": "",
        "inner": {"size": 4, "flags": []},
        "many": None,
        "sizes": None,
    }


def test_canonical_json_knows_no_order_and_no_nan() -> None:
    assert canonical_json({"b": [1.0, None], "a": "é"}) == '{"a":"\\u00e9","b":[1.0,null]}'
    assert content_hash({"b": 1, "a": 2}) == content_hash({"a": 2, "b": 1}) != content_hash({"a": 2, "b": 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_canonical_form_parses_to_the_same_spec() -> None:
    spec = OuterSpec.parse({"weight": 2, "many": [{}, {"size": 5}], "sizes": [1, 2]})
    assert OuterSpec.parse(json.loads(canonical_json(spec.canonical()))) == spec


def test_whole_and_broken_numbers_are_one_value() -> None:
    assert content_hash(OuterSpec.parse({"weight": 2}).canonical()) == content_hash(
        OuterSpec.parse({"weight": 2.0}).canonical()
    )


def test_specs_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        OuterSpec().mode = "fast"


def test_unknown_key_names_owner_choices_and_nearest() -> None:
    assert problems({"moed": "fast"}) == [
        Problem(
            "unknown key 'moed' of outer",
            ("moed",),
            None,
            ("weight", "mode", "on", "text", "inner", "many", "sizes"),
            "mode",
        )
    ]


@pytest.mark.parametrize("location", [("inner", "sise"), ("many", 0, "sise")])
def test_unknown_key_of_a_nested_part_names_that_part(location: tuple[str | int, ...]) -> None:
    value = {"inner": {"sise": 1}} if location[0] == "inner" else {"many": [{"sise": 1}]}
    assert problems(value) == [Problem("unknown key 'sise' of inner", location, None, ("size", "flags"), "size")]


def test_unknown_key_of_a_component_names_the_component() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'alhpa' of toy\n  choices: name, alpha\n  nearest: alpha"):
        ToySpec.parse({"alhpa": 1})


@pytest.mark.parametrize(
    ("value", "location", "message", "shown"),
    [
        ({"weight": -1}, ("weight",), "input should be greater than or equal to 0", "-1"),
        ({"weight": "heavy"}, ("weight",), "expected a number", "'heavy'"),
        ({"weight": float("nan")}, ("weight",), "input should be a finite number", "nan"),
        ({"weight": True}, ("weight",), "expected a number", "'true'"),
        ({"inner": {"size": 1.5}}, ("inner", "size"), "expected a whole number", "1.5"),
        ({"inner": {"size": False}}, ("inner", "size"), "expected a whole number", "'false'"),
        ({"inner": 3}, ("inner",), "expected a mapping of keys to values", "3"),
        ({"many": []}, ("many",), "needs at least one entry", "[]"),
        ({"many": 3}, ("many",), "expected a list", "3"),
        ({"sizes": [2, True]}, ("sizes", 1), "expected a whole number", "'true'"),
        ({"on": "maybe"}, ("on",), "expected true or false", "'maybe'"),
        ({"text": 3}, ("text",), "expected text", "3"),
    ],
)
def test_wrong_values_say_what_is_expected(
    value: Any, location: tuple[str | int, ...], message: str, shown: str
) -> None:
    assert problems(value) == [Problem(message, location, shown)]


def test_wrong_choice_names_choices_and_nearest() -> None:
    assert problems({"mode": "fats"}) == [
        Problem("not one of the choices", ("mode",), "'fats'", ("slow", "fast"), "fast")
    ]


def test_booleans_stay_where_they_belong() -> None:
    assert OuterSpec.parse({"on": True, "inner": {"flags": [True, False]}}).inner.flags == (True, False)


def test_every_problem_is_named_at_once() -> None:
    found = problems({"mode": 3, "weight": "x", "many": [{"size": 0}, {"size": "y"}], "colour": 1})
    assert {problem.location for problem in found} == {
        ("mode",),
        ("weight",),
        ("many", 0, "size"),
        ("many", 1, "size"),
        ("colour",),
    }


def test_long_values_are_cut() -> None:
    (problem,) = problems({"weight": "x" * 1000})
    assert problem.value is not None
    assert len(problem.value) == 120


def test_a_component_imports_its_implementation_only_to_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_implementation.py").write_text("from fractions import Fraction\nclass Toy(Fraction): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert ToySpec(alpha=2).parameters() == {"alpha": 2.0}
    assert "toy_implementation" not in sys.modules
    assert issubclass(ToySpec().implementing_class(), Fraction)
    assert "toy_implementation" in sys.modules


@pytest.mark.parametrize("implementation", ["decimal:Decimal", "math:pi"], ids=["another class", "no class"])
def test_an_implementation_of_another_kind_is_refused(implementation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToySpec, "implementation", implementation)
    with pytest.raises(ConfigError, match=f"^toy: its implementation {implementation} is not a subclass of fractions"):
        ToySpec().implementing_class()
