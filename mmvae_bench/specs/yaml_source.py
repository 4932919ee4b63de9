"""YAML with line numbers: plain values, and the line of each of them.

Scalars follow the core schema of YAML 1.2, so that ``1e-4`` is a number and ``no`` is text; ``<<`` merges as in
YAML 1.1, and underscores may group digits. Tags are refused: values are plain JSON types. Size, depth and what aliases
and merges make of a text are bounded, so that no text takes more than a moment to read or to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ..base.errors import ConfigError, Location, Problem
from ..base.files import MOST_LEVELS

MAX_BYTES = 4 * 2**20
"""A longer text is refused. A shipped grid has 8 kB; that of a sweep has one kB per trial."""

MAX_VALUES = 200_000
"""A text with more keys and values than this is refused; aliases and merges multiply those that are written."""

MAX_BITS = 4096
"""Whole numbers with more bits are refused: Python would not even print them in a message."""

_TAG = "tag:yaml.org,2002:"
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML's safe loader; libyaml's is seven times as fast, and nearly every installation of PyYAML has it."""


class _Loader(_SafeLoader):  # type: ignore[misc]
    """The safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - PyYAML's own class attribute


for _name, _first, _pattern in (
    ("null", ["n", "N", "~", ""], "null|Null|NULL|~|"),
    ("bool", list("tTfF"), "|".join(_BOOLEANS)),
    ("int", list("-+0123456789"), "[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+"),
    (
        "float",
        list("-+.0123456789"),
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    ),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})\\Z"), _first)


@dataclass(frozen=True)
class YamlDocument:
    """A YAML document as plain values.

    Attributes:
        value: Mappings with text keys, lists, text, numbers, booleans and None.
        source: The file's name, for messages.
        lines: The line, from 1, of every location.
        problems: What is wrong with a document that parses: duplicate keys, tags.
        text: The file, to the byte.
    """

    value: Any
    source: str
    lines: Mapping[Location, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    text: str = ""

    def locate(self, problem: Problem) -> Problem:
        """The problem with its line, and its location as written in the file.

        A validated value can have more structure than the file: a bare name is short for a mapping with a name, and a
        single mapping for a list of one.
        """
        location: Location = ()
        current, line = self.value, self.lines.get((), 1)
        for depth, part in enumerate(problem.location):
            if isinstance(current, Mapping) and isinstance(part, int):
                continue
            if isinstance(current, str):
                break
            location += (part,)
            if location not in self.lines:
                location += problem.location[depth + 1 :]
                break
            current, line = current[part], self.lines[location]
        return replace(problem, location=location, line=line)

    def error(self, problems: list[Problem]) -> ConfigError:
        """The problems of the document and these, in file order."""
        known = {(problem.location, problem.line) for problem in self.problems}
        others = map(self.locate, problems)
        # A value that could not be read is reported as missing by validation: that is the same problem.
        found = [*self.problems, *(other for other in others if (other.location, other.line) not in known)]
        return ConfigError(sorted(found, key=lambda problem: problem.line or 0), self.source)


COMMANDS = {
    "grid": "a grid, which mmvae-bench run takes",
    "sweep": "a W&B sweep file, which mmvae-bench sweep --local takes",
    "trial": "the spec of one trial, which mmvae-bench train --spec takes",
}
"""The kinds of files, and the command for each."""


def check_kind(document: YamlDocument, wanted: str) -> None:
    """Raises ConfigError if a document is certainly of another kind than the one of ``COMMANDS`` that is wanted."""
    found = kinds_of(document)
    if found and wanted not in found:
        raise ConfigError(f"this is {COMMANDS[found[0]]}, not {COMMANDS[wanted].partition(',')[0]}", document.source)


def kinds_of(document: YamlDocument) -> list[str]:
    """Those of ``COMMANDS`` that a document may be, by its keys."""
    keys = document.value.keys() if isinstance(document.value, Mapping) else set()
    found = {
        "sweep": {"method", "parameters"} <= keys,
        "grid": bool(keys & {"datasets", "backbones", "objectives", "seeds", "include", "exclude"}),
        "trial": len(keys & {"dataset", "backbone", "objective"}) > 1,
    }
    return [kind for kind, there in found.items() if there]


def read_yaml(path: Path) -> YamlDocument:
    """Parses a file; raises ConfigError if it cannot be read or is not YAML."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError([_missing(path)]) from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; give a YAML file inside it") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"cannot read {str(path)!r}: {error}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(_TOO_LONG, str(path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem("the file is not UTF-8 text", line=line)], str(path)) from None
    return replace(parse_yaml(text, source=str(path)), text=data.decode())


def parse_yaml(text: str, *, source: str) -> YamlDocument:
    """Parses one document; an empty one has the value None.

    >>> parse_yaml("learning_rate: 1e-4", source="example").value
    {'learning_rate': 0.0001}
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(_TOO_LONG, source)
    try:
        _check_extent(text, source)
        node = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        # libyaml reads ahead, and newer ones stop at a depth of their own before they have told of any level.
        if isinstance(error, yaml.MarkedYAMLError) and error.problem == "exceeded maximum nesting depth":
            raise _excessive(True, error.problem_mark.line + 1 if error.problem_mark else None, source) from None
        raise ConfigError([_invalid(error, text)], source) from None
    builder = _Builder(source)
    value = builder.value(node, ()) if node is not None else None
    return YamlDocument(value, source, builder.lines, tuple(builder.problems), text)


MAX_EXPLAINED = 2**16
"""A longer text that is not YAML is not parsed again for a better message."""


def _invalid(error: Exception, text: str) -> Problem:
    """The problem of a text that is not YAML. libyaml says less than PyYAML's own parser: no name of an alias, say."""
    if len(text) <= MAX_EXPLAINED:
        try:
            yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as better:
            error = better
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        message = "; ".join(filter(None, (error.context, error.problem)))
        return Problem(f"not valid YAML: {message}", line=mark.line + 1 if mark else None)
    position = error.start if isinstance(error, UnicodeEncodeError) else getattr(error, "position", 0)
    line = text.count("\n", 0, position) + 1
    return Problem(f"not valid YAML: {getattr(error, 'reason', error)}", line=line)


_TOO_LONG = f"the text is longer than {MAX_BYTES // 2**20} MiB: write fewer values, or several files"


def _check_extent(text: str, source: str) -> None:
    """Refuses a text with too many values or levels before anything is built of it."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MOST_LEVELS or number > MAX_VALUES:
            raise _excessive(depth > MOST_LEVELS, event.start_mark.line + 1 if event.start_mark else None, source)


def is_readable(text: str) -> bool:
    """Whether a text without aliases is within the bounds."""
    try:
        _check_extent(text, "")
    except ConfigError:
        return False
    return len(text) <= MAX_BYTES


def _excessive(too_deep: bool, line: int | None, source: str) -> ConfigError:
    message = f"nested more than {MOST_LEVELS} deep" if too_deep else f"more than {MAX_VALUES:,} keys and values"
    return ConfigError([Problem(message, line=line)], source)


class _Builder:
    """Turns nodes into values, collecting lines and problems."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.num_merged = 0
        self.lines: dict[Location, int] = {}
        self.problems: list[Problem] = []
        self._open: list[yaml.Node] = []

    def value(self, node: yaml.Node, location: Location) -> Any:
        self.lines.setdefault(location, node.start_mark.line + 1)
        self._check_bounds(node)
        if any(node is parent for parent in self._open):
            return self._problem("an alias inside the value it refers to", node, location)
        self._open.append(node)
        try:
            return self._built(node, location)
        finally:
            self._open.pop()

    def _check_bounds(self, node: yaml.Node) -> None:
        too_deep = len(self._open) > MOST_LEVELS
        if too_deep or len(self.lines) + self.num_merged > MAX_VALUES:
            raise _excessive(too_deep, node.start_mark.line + 1, self.source)

    def _built(self, node: yaml.Node, location: Location) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            result: dict[str, Any] = {}
            self._merge(node, location, result)
            return result
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.value(item, (*location, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and kind in ("str", "null", "bool", "int", "float"):
            try:
                return _scalar(kind, node.value)
            except ValueError:
                shown = node.value if len(node.value) <= 120 else f"{node.value[:117]}..."
                return self._problem(f"not a valid {kind}", node, location, shown)
        name = node.tag if node.tag != _TAG + kind else f"!!{kind}"
        return self._problem("YAML tags are not supported: write plain values", node, location, name)

    def _merge(self, node: yaml.MappingNode, location: Location, result: dict[str, Any]) -> None:
        """Adds the keys of ``node`` that ``result`` lacks: first its own, then those it merges."""
        own: dict[str, yaml.Node] = {}
        bases: list[yaml.Node] = []
        self.num_merged += len(node.value)
        self._check_bounds(node)
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem("a key must be text", key, location)
            elif key.value == "<<" and not key.style:
                bases += value.value if isinstance(value, yaml.SequenceNode) else [value]
            elif key.value in own:
                first = own[key.value].start_mark.line + 1
                self._problem(f"duplicate key, first given on line {first}", key, (*location, key.value))
            else:
                own[key.value] = key
                if key.value not in result:
                    self.lines[(*location, key.value)] = key.start_mark.line + 1
                    result[key.value] = self.value(value, (*location, key.value))
        for base in bases:
            if not isinstance(base, yaml.MappingNode) or any(base is parent for parent in self._open):
                self._problem("<< needs a mapping or a list of mappings", base, location)
                continue
            self._open.append(base)
            self._merge(base, location, result)
            self._open.pop()

    def _problem(self, message: str, node: yaml.Node, location: Location, value: str | None = None) -> None:
        self.problems.append(Problem(message, location, value, line=node.start_mark.line + 1))


def _scalar(kind: str, text: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        if text not in _BOOLEANS:
            raise ValueError(text)
        return _BOOLEANS[text]
    if kind == "int":
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        number = int(text if base == 10 else text[2:], base)
        if number.bit_length() > MAX_BITS:
            raise ValueError(text)
        return number
    if kind == "float":
        return float(re.sub(r"\.(inf|nan)$", r"\1", text, flags=re.IGNORECASE))
    return text


def _missing(path: Path) -> Problem:
    """The problem of a missing file, with the YAML files that exist in its folder."""
    from ..base.errors import nearest

    folder = path.parent
    others = sorted(_yaml_files(folder)) if folder.is_dir() else []
    message = f"no such file: {path}" if folder.is_dir() else f"no such file: {path} (folder {folder} does not exist)"
    near = nearest(path.name, [other.name for other in others])
    return Problem(message, choices=tuple(map(str, others[:20])), near=str(folder / near) if near else None)


def _yaml_files(folder: Path) -> Iterator[Path]:
    try:
        yield from (path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError:
        return
