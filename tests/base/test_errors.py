"""Messages: where, what, given, choices, nearest."""

from __future__ import annotations

from mmvae_bench.base.errors import ConfigError, Problem, nearest, unknown


def test_nearest_is_nothing_where_nothing_is_near() -> None:
    assert nearest("xyz", ["telbo", "jmvae"]) is None
    assert nearest("TELBO", ["telbo", "jmvae"]) == "telbo"
    assert nearest("bi-vcca", ["bivcca", "jvae"]) == "bivcca"
    assert nearest(3, []) is None


def test_a_message_has_everything() -> None:
    problem = unknown("objective", "teblo", ["jmvae", "telbo"], ("objectives", 1, "name"))
    assert str(problem) == ("objectives[1].name: unknown objective 'teblo'\n  choices: jmvae, telbo\n  nearest: telbo")


def test_source_and_line_lead_every_problem() -> None:
    error = ConfigError([Problem("one", ("a",), "1", line=3), Problem("two")], "grid.yaml")
    assert str(error) == "grid.yaml:3: a: one\n  given: 1\ngrid.yaml: two"
    assert str(ConfigError("plain")) == "plain"
