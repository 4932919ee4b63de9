"""What a piece of code is made of, read from its source files: nothing is imported, so no torch either.

A fingerprint has to be wide enough to notice a changed formula in a helper, and narrow enough that it does not change
with every commit. Two simpler designs fail at one of them: a hash of the implementation's file misses the helper, and a
hash of every module that is imported, directly or not, changes with each new error message of the data module. So what
is hashed are *definitions*: those of the implementation, those that they name, those that these name, and so on, each
taken as a whole. A class brings its bases, and what its annotations name, which is how attributes of its arguments are
found. What a module does besides defining names counts with any of its definitions.

What is found only while running (``getattr`` on a module, an entry of a table filled elsewhere) cannot be followed by
name. Modules for which ``whole`` is true therefore count with everything in them, and with every module that they
import.

Comments, formatting, docstrings, the order of definitions, and what is raised where something is refused do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

DIGITS = 8
"""Hex digits of a file's hash: it is compared with one other, never looked up among many."""


def source_files(
    paths: Iterable[str], *, follow: Callable[[str], bool], whole: Callable[[str], bool] = lambda module: False
) -> dict[str, str]:
    """The hash of everything that the objects at ``paths`` are made of, file by file.

    Args:
        paths: ``package.module:attribute``, or ``package.module`` for all of a module.
        follow: Whether a module belongs to what is hashed; what others define counts by its name only.
        whole: Whether a module counts as a whole.

    Returns:
        From a file, relative to the folder of its top-level package, to hex digits, sorted; empty without source.
    """
    walk = _Walk(follow, whole)
    for path in paths:
        module, _, name = path.partition(":")
        walk.reach(module, name or None)
    return dict(sorted(walk.hashes()))


def is_unparsed(file: str) -> bool:
    """Whether a file that :func:`source_files` once named is there and Python cannot parse it.

    It is left out then, and so is whatever only it leads to.
    """
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    found = _located(module)
    try:
        ast.parse(Path(found.origin).read_bytes() if found is not None and found.origin is not None else b"")
    except OSError:
        return False
    except (ValueError, SyntaxError):
        return file.endswith(".py")
    return False


Link = tuple[str | None, tuple[str, ...]]
"""What a statement leads to: a name of its module and attributes of it; or None, and a module with a name in it."""


@dataclass
class _Module:
    """The statements of a module, and what each of its names means.

    Attributes:
        name: Its full name.
        package: The package that its relative imports start from.
        file: Its file, relative to the folder of the top-level package.
        statements: Its statements, without what does not count.
        names: The positions of the statements that define a name.
        imports: The module that a name is imported from, and the name there, if it is not the module itself.
        always: The positions of statements that do something else than define names.
    """

    name: str
    package: str
    file: str
    statements: list[ast.stmt] = field(default_factory=list)
    names: dict[str, list[int]] = field(default_factory=dict)
    imports: dict[str, tuple[str, ...]] = field(default_factory=dict)
    always: list[int] = field(default_factory=list)
    _texts: dict[int, str] = field(default_factory=dict)
    _links: dict[int, list[Link]] = field(default_factory=dict)

    def read(self, source: str) -> None:
        """Fills it from its source; raises SyntaxError or ValueError."""
        self.statements = _Strip().visit(ast.parse(source)).body
        for position, statement in enumerate(self.statements):
            match statement:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    self.names.setdefault(name, []).append(position)
                case ast.Assign(targets=targets) if all(isinstance(target, ast.Name) for target in targets):
                    for target in targets:
                        self.names.setdefault(target.id, []).append(position)  # type: ignore[attr-defined]
                case ast.AnnAssign(target=ast.Name(id=name)):
                    self.names.setdefault(name, []).append(position)
                case ast.Import() | ast.ImportFrom():
                    self.imports |= dict(self._imported(statement))
                    if any(alias.name == "*" for alias in statement.names):
                        self.always.append(position)
                case _:
                    self.always.append(position)

    def text(self, position: int) -> str:
        """A statement, in a form that layout and comments do not change."""
        if position not in self._texts:
            self._texts[position] = _text(self.statements[position])
        return self._texts[position]

    def links(self, position: int) -> list[Link]:
        """What a statement leads to."""
        if position not in self._links:
            self._links[position] = list(self._found(self.statements[position]))
        return self._links[position]

    def _found(self, node: ast.AST) -> Iterator[Link]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            # Inside a function, or of a module that counts as a whole.
            yield from ((None, target) for _, target in self._imported(node))
        elif isinstance(node, ast.Name | ast.Attribute) and (parts := _dotted(node)):
            yield parts[0], tuple(parts[1:])
        else:
            for child in ast.iter_child_nodes(node):
                yield from self._found(child)

    def _imported(self, statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The name bound by each part of an import; the module it comes from, and its name there."""
        for alias in statement.names:
            if isinstance(statement, ast.Import):
                top = alias.name.partition(".")[0]
                yield alias.asname or top, (alias.name if alias.asname else top,)
            else:
                base = self.package.rsplit(".", statement.level - 1)[0] if statement.level else ""
                module = ".".join(filter(None, (base, statement.module)))
                yield alias.asname or alias.name, (module,) if alias.name == "*" else (module, alias.name)


class _Strip(ast.NodeTransformer):
    """Removes what changes no number: docstrings, one-line descriptions, and what is raised."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        plain = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if plain else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        match node:
            case ast.AnnAssign(
                target=ast.Name(id="summary" | "reference"), annotation=ast.Subscript(value=ast.Name(id="ClassVar"))
            ):
                return None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        hints = isinstance(node.test, ast.Name | ast.Attribute) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        return None if hints else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise()


class _Walk:
    """Follows names from definition to definition."""

    def __init__(self, follow: Callable[[str], bool], whole: Callable[[str], bool]) -> None:
        self.follow, self.whole = follow, whole
        self.modules: dict[str, _Module | None] = {}
        self.reached: dict[str, set[int]] = {}
        self.seen: dict[str, set[int]] = {}

    def hashes(self) -> Iterator[tuple[str, str]]:
        """Every file that something was reached in, and the hash of that."""
        for name, positions in self.reached.items():
            module = self.modules[name]
            if module is not None and positions:
                text = "\n".join(sorted(module.text(position) for position in positions))
                yield module.file, hashlib.sha256(text.encode()).hexdigest()[:DIGITS]

    def reach(self, name: str, attribute: str | None) -> None:
        """Counts a definition of the module ``name``, or all of it, with everything that this leads to."""
        module = self._module(name)
        if module is None:
            return
        positions: Iterable[int] = range(len(module.statements))
        if attribute is not None and not self.whole(name):
            positions = (*module.always, *module.names.get(attribute, ()))
        reached, seen = self.reached.setdefault(name, set()), self.seen.setdefault(name, set())
        for position in positions:
            if position not in seen:
                seen.add(position)
                # An import binds a name and computes nothing: what counts is what is reached through it.
                if not isinstance(module.statements[position], ast.Import | ast.ImportFrom):
                    reached.add(position)
                for first, rest in module.links(position):
                    if first is None:
                        self._enter(*rest)
                    elif first in module.names:
                        self.reach(name, first)
                    elif first in module.imports:
                        self._enter(*module.imports[first], *rest)
        if attribute in module.imports:
            self._enter(*module.imports[attribute])

    def _enter(self, source: str, *attributes: str) -> None:
        """Follows an import from the module ``source``; what is taken of it may be a module in turn."""
        if not attributes:
            self.reach(source, None)
            return
        name, *rest = attributes
        module = self._module(source)
        if module is not None and (name in module.names or name in module.imports):
            self.reach(source, name)
        elif _located(f"{source}.{name}") is not None:
            self._enter(f"{source}.{name}", *rest)
        else:
            self.reach(source, name)

    def _module(self, name: str) -> _Module | None:
        if name not in self.modules:
            found = _located(name) if self.follow(name) else None
            self.modules[name] = _read(found) if found is not None and found.origin is not None else None
        return self.modules[name]


def _read(found: ModuleSpec) -> _Module | None:
    """A module; None if there is no file to read. One that Python compiles from no source is one constant."""
    path = Path(found.origin or "")
    try:
        state = path.stat()
        return _parsed(found.name, path, found.submodule_search_locations is not None, state.st_mtime_ns, state.st_size)
    except (OSError, ValueError, SyntaxError):
        return None  # Whoever imports it gets the error.


@cache
def _parsed(name: str, path: Path, is_package: bool, changed: int, size: int) -> _Module:
    """What is in a file; kept for other walks as long as the file does not change."""
    package = name if is_package else name.rpartition(".")[0]
    module = _Module(name, package, "/".join((*package.split("."), path.name) if package else (path.name,)))
    if path.suffix == ".py":
        module.read(path.read_text(encoding="utf-8"))
    else:
        module.read(f"CONTENT = {hashlib.sha256(path.read_bytes()).hexdigest()!r}")
        module.always = [0]
    return module


@cache
def _located(name: str) -> ModuleSpec | None:
    """Where a module is; only its top-level package is looked for in the ordinary way, since that imports nothing."""
    package, _, last = name.rpartition(".")
    try:
        if not package:
            return find_spec(last)
        outer = _located(package)
        if outer is None or outer.submodule_search_locations is None:
            return None
        return PathFinder.find_spec(name, list(outer.submodule_search_locations))
    except (ImportError, ValueError, AttributeError):
        return None


def _dotted(node: ast.AST) -> list[str]:
    """The parts of ``a.b.c``; none if it does not start with a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []


def _text(node: object) -> str:
    """A syntax tree as text. Unlike ``ast.dump``, the same in all versions of Python: it leaves out empty fields."""
    if isinstance(node, ast.AST):
        parts = [f"{name}={_text(value)}" for name, value in ast.iter_fields(node) if value is not None and value != []]
        return f"{type(node).__name__}({', '.join(parts)})"
    return f"[{', '.join(map(_text, node))}]" if isinstance(node, list) else repr(node)
