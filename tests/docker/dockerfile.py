"""Reading Dockerfiles and ``.dockerignore`` as far as the tests need it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


@dataclass(frozen=True)
class Instruction:
    """One instruction: ``COPY``, say, and the text after it on one line."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The text's words, without the options."""
        return [word for word in shlex.split(self.text) if not word.startswith("--")]

    def options(self, name: str) -> list[str]:
        """The values of ``--name=value``, each time that it is given."""
        return re.findall(rf"--{name}=(\S+)", self.text)


def read(path: Path) -> list[Instruction]:
    """The instructions of a Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    pairs = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [Instruction(name, " ".join(text.split())) for name, _, text in pairs]


def last_stage(instructions: Sequence[Instruction]) -> list[Instruction]:
    """The instructions that make the image itself, its ``FROM`` first."""
    starts = [index for index, instruction in enumerate(instructions) if instruction.name == "FROM"]
    return list(instructions[starts[-1] :])


def named(instructions: Iterable[Instruction], name: str) -> list[Instruction]:
    """Those of one name."""
    return [instruction for instruction in instructions if instruction.name == name]


def context_sources(instructions: Iterable[Instruction]) -> Iterator[str]:
    """What is copied or mounted from the build context, not from another stage."""
    for instruction in instructions:
        if instruction.name in ("COPY", "ADD") and not instruction.options("from"):
            yield from instruction.words[:-1]
        for mount in instruction.options("mount"):
            values = dict(item.partition("=")[::2] for item in mount.split(","))
            if values["type"] == "bind" and "from" not in values:
                yield values["source"]


def is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """Whether ``.dockerignore`` keeps a file out of the build context: the last pattern that fits decides."""
    ignored = False
    places = [path, *(str(parent) for parent in PurePosixPath(path).parents if str(parent) != ".")]
    for pattern in patterns:
        expression = _expression(pattern.removeprefix("!").strip("/"))
        if any(expression.fullmatch(place) for place in places):
            ignored = not pattern.startswith("!")
    return ignored


def ignore_patterns() -> list[str]:
    """The patterns of the repository's ``.dockerignore``."""
    lines = (line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _expression(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"(\*\*/|\*)", pattern)
    known = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return re.compile("".join(known.get(piece, re.escape(piece)) for piece in pieces))
