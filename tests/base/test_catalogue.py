"""Catalogues of values: those of this package, and those of others through entry points."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from mmvae_bench.base import catalogue as module
from mmvae_bench.base.catalogue import Catalogue
from mmvae_bench.base.errors import ConfigError

GROUP = "mmvae_bench_test.things"


@dataclass(frozen=True)
class Thing:
    name: str
    size: int = 0


THEIRS = Thing("theirs", 3)
NO_THING = "a text"


def things(monkeypatch: pytest.MonkeyPatch, **values: str) -> Catalogue[Thing]:
    points = [EntryPoint(name, value, GROUP) for name, value in values.items()]
    monkeypatch.setattr(module, "entry_points", lambda group: points if group == GROUP else [])
    return Catalogue("thing", Thing, group=GROUP, built_in=[Thing("zeta"), Thing("alpha")])


def test_built_in_parts_keep_their_order_and_others_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    found = things(monkeypatch, theirs=f"{__name__}:THEIRS", broken="no_such_module:X")
    for _ in range(2):
        assert list(found) == found.names() == ["zeta", "alpha", "broken", "theirs"]
        assert found["theirs"] is THEIRS  # which changes no order
    assert found.built_in() == ["zeta", "alpha"]
    assert "theirs" in found
    assert "beta" not in found


def test_a_broken_package_costs_its_own_parts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = things(monkeypatch, broken="no_such_module:X", other=f"{__name__}:NO_THING", third=f"{__name__}:THEIRS")
    names, errors = found.usable()
    assert names == ["zeta", "alpha"]
    assert [str(error).split(": ")[0] for error in errors] == [
        f"thing {name!r} from an installed package cannot be used" for name in ("broken", "other", "third")
    ]
    assert "No module named 'no_such_module'" in str(errors[0])
    assert "is not a Thing" in str(errors[1])
    assert "is called 'third', but the name of" in str(errors[2])
    assert found.find("broken") is None
    assert found.find("alpha") == Thing("alpha")


def test_a_built_in_part_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = things(monkeypatch, alpha=f"{__name__}:THEIRS")
    names, (error,) = found.usable()
    assert names == ["zeta", "alpha"]
    assert "thing 'alpha' from an installed package is ignored: there is a built-in thing of that name" in str(error)
    assert found.get("alpha") == Thing("alpha")


def test_an_unknown_name_is_answered_with_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        things(monkeypatch).get("alhpa", ("--thing",))
    assert str(caught.value) == "--thing: unknown thing 'alhpa'\n  choices: zeta, alpha\n  nearest: alpha"


def test_a_name_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = things(monkeypatch)
    found.add(Thing("alpha"))
    with pytest.raises(ValueError, match="two specs for thing 'alpha'"):
        found.add(Thing("alpha", 7))
