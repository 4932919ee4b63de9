"""The ``command`` of a W&B sweep file: what it says of a trial beside the parameters that an agent puts in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..base.errors import ConfigError, Problem

TEMPLATE = ("${env}", "mmvae-bench", "train", "--wandb", "--set-json", "${args_json}")
"""The plain command: a trial whose every setting is a parameter."""
_STARTS = (("mmvae-bench",), ("${interpreter}", "-m", "mmvae_bench"), ("python", "-m", "mmvae_bench"))


@dataclass(frozen=True)
class SweepCommand:
    """What a command gives to every trial.

    Attributes:
        spec: File with the settings that no parameter varies (``--spec``).
        assignments: Single settings (``--set``).
    """

    spec: str | None = None
    assignments: tuple[str, ...] = ()


def read_command(given: object) -> SweepCommand:
    """Reads the list of words that stands under ``command``; None is the plain command.

    Raises:
        ConfigError: where it is not ``mmvae-bench train`` with ``--set-json ${args_json}``, or has a word whose effect
            a sweep without a server would not have. Located below ``command``.
    """
    if given is None:
        return SweepCommand()
    if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
        raise ConfigError([Problem(f"expected a list of words, such as {_shown(TEMPLATE)}", (), repr(given)[:120])])
    words = [word for word in given if word not in ("${env}", "/usr/bin/env")]
    start = next((start for start in _STARTS if tuple(words[: len(start)]) == start), None)
    if start is None or words[len(start) : len(start) + 1] != ["train"]:
        raise ConfigError([Problem(f"expected mmvae-bench train, as in {_shown(TEMPLATE)}", (), _shown(given))])
    rest, spec, assignments, has_parameters = words[len(start) + 1 :], None, [], False
    problems: list[Problem] = []
    while rest:
        word, following, rest = rest[0], rest[1:2], rest[1:]
        if word == "--wandb":
            continue
        if word in ("--set-json", "--spec", "--set") and following:
            rest = rest[1:]
            if word == "--set-json":
                has_parameters |= following == ["${args_json}"]
            elif word == "--spec":
                spec = following[0]
            else:
                assignments.append(following[0])
        if word not in ("--set-json", "--spec", "--set") or (word == "--set-json" and following != ["${args_json}"]):
            message = "without a server only --wandb, --spec FILE, --set KEY=VALUE and --set-json ${args_json} count"
            problems.append(Problem(message, (given.index(word),), repr(word)))
    if not has_parameters and not problems:
        problems.append(
            Problem("the parameters do not reach the trial: add --set-json ${args_json}", (), _shown(given))
        )
    if problems:
        raise ConfigError(problems)
    return SweepCommand(spec, tuple(assignments))


def _shown(words: Sequence[str]) -> str:
    return f"[{', '.join(words)}]"
