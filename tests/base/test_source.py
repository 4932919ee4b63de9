"""What counts for the fingerprint of a piece of code, and what does not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmvae_bench.base import source
from mmvae_bench.base.source import source_files
from mmvae_bench.specs.code import differences

FILES = {
    "__init__.py": "raise RuntimeError('never imported')\n",
    "loss.py": '''
"""The loss."""
from __future__ import annotations
from typing import TYPE_CHECKING, ClassVar
from . import tools
from .base import Base
from .shapes import Box
if TYPE_CHECKING:
    from .hints import Hint
OTHER = 3

class Loss(Base):
    """Scaled."""
    summary: ClassVar[str] = "a loss"
    def value(self, box: Box) -> float:
        # A comment.
        from .late import late
        if box.empty:
            raise ValueError(f"no {box}")
        return tools.scaled(box.size) + late()

def unused() -> int:
    return OTHER
''',
    "base.py": "class Base:\n    def step(self):\n        return 1\n",
    "tools.py": "FACTOR = 2\ndef scaled(x):\n    return FACTOR * x\ndef unused(x):\n    return x\n",
    "shapes.py": "class Box:\n    size = 1\n    empty = False\n\nclass Ball:\n    pass\n",
    "late.py": "TABLE = {}\nTABLE['a'] = 1\n\ndef late():\n    return 0\n",
    "hints.py": "class Hint:\n    pass\n",
}
Hashes = Callable[..., dict[str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that cannot be imported."""
    package = tmp_path / "parcel"
    package.mkdir()
    for name, text in FILES.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    source._located.cache_clear()
    return package


def hashes(*, whole: bool = False) -> dict[str, str]:
    def ours(module: str) -> bool:
        return module.split(".")[0] == "parcel"

    return source_files(["parcel.loss:Loss"], follow=ours, whole=ours if whole else lambda module: False)


def test_it_follows_names_and_imports_nothing(folder: Path) -> None:
    """Bases, helpers by attribute, imports inside functions and annotations; never the constants that nobody uses."""
    assert list(hashes()) == [f"parcel/{name}.py" for name in ("base", "late", "loss", "shapes", "tools")]
    assert not any(name.startswith("parcel") for name in sys.modules)
    assert list(hashes(whole=True)) == [f"parcel/{name}.py" for name in ("base", "late", "loss", "shapes", "tools")]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("loss.py", "+ late()", "- late()"),
        ("base.py", "return 1", "return 2"),
        ("tools.py", "FACTOR * x", "x * FACTOR"),
        ("tools.py", "FACTOR = 2", "FACTOR = 2000"),
        ("shapes.py", "size = 1", "size = 2"),
        ("late.py", "return 0", "return 1"),
        ("late.py", "TABLE['a'] = 1", "TABLE['a'] = 2"),
    ],
)
def test_a_change_of_what_it_is_made_of_shows_in_its_file(folder: Path, file: str, old: str, new: str) -> None:
    before = hashes()
    assert old in FILES[file]
    (folder / file).write_text(FILES[file].replace(old, new))
    after = hashes()
    assert [name for name in before if before[name] != after[name]] == [f"parcel/{file}"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("loss.py", "        # A comment.\n", "\n"),
        ("loss.py", '    """Scaled."""\n', '    """Scaled by a factor."""\n\n'),
        ("loss.py", '"a loss"', '"the loss"'),
        ("loss.py", 'raise ValueError(f"no {box}")', 'raise TypeError("an empty box")'),
        ("loss.py", "tools.scaled(box.size) + late()", "(\n            tools.scaled(box.size)\n            + late())"),
        ("loss.py", "OTHER = 3", "OTHER = 4"),
        ("tools.py", "    return x\n", "    return -x\n"),
        ("tools.py", "def unused(x):\n    return x\n", ""),
        ("tools.py", "FACTOR = 2\n", "import math\n\n\nFACTOR = 2\n"),
        ("shapes.py", "    pass", "    size = 9"),
        ("hints.py", "pass", "size = 1"),
    ],
)
def test_what_changes_no_number_does_not_count(folder: Path, file: str, old: str, new: str) -> None:
    before = hashes()
    assert old in FILES[file]
    (folder / file).write_text(FILES[file].replace(old, new))
    assert hashes() == before


def test_where_all_of_a_module_counts_its_unused_parts_do(folder: Path) -> None:
    """What is found at run time, through a table or getattr, has no name to follow."""
    before = hashes(whole=True)
    (folder / "tools.py").write_text(FILES["tools.py"].replace("return x\n", "return -x\n"))
    (folder / "loss.py").write_text(FILES["loss.py"].replace("from . import tools", "from . import extra, tools"))
    (folder / "extra.py").write_text("def registered(): ...\n")
    after = hashes(whole=True)
    assert set(after) - set(before) == {"parcel/extra.py"}
    assert [name for name in before if before[name] != after[name]] == ["parcel/tools.py"]


def test_what_cannot_be_read_is_left_to_who_imports_it(folder: Path) -> None:
    (folder / "tools.py").write_text("def scaled(x:\n")
    (folder / "late.py").unlink()
    assert list(hashes()) == ["parcel/base.py", "parcel/loss.py", "parcel/shapes.py"]
    assert source_files(["no_such_package.loss:Loss"], follow=lambda module: True) == {}


@pytest.mark.parametrize("broken", [b"def scaled(x:\n", b"\xff = 1\n", b"x = 1\0\n"])
def test_a_file_that_cannot_be_parsed_is_named_and_no_other(folder: Path, broken: bytes) -> None:
    """What only it leads to is out of sight then, and has not changed."""
    (folder / "tools.py").write_text(f"from .late import late\n{FILES['tools.py']}\ndef more():\n    return late()\n")
    (folder / "loss.py").write_text("from . import tools\nclass Loss:\n    value = tools.more\n")

    def part() -> dict[str, object]:
        files = source_files(["parcel.loss:Loss"], follow=lambda name: name.startswith("parcel"))
        return {"objective": {"name": "mine", "package": "parcel", "version": "1", "files": files}}

    made = part()
    text = (folder / "tools.py").read_bytes()
    (folder / "tools.py").write_bytes(broken)
    said = ["objective 'mine': parcel/tools.py cannot be parsed (SyntaxError)"]
    assert differences(made, part()) == said
    (folder / "loss.py").write_text("from . import tools\nclass Loss:\n    value = tools.more\n    other = 1\n")
    assert differences(made, part()) == [f"{said[0]}, parcel/loss.py has changed"]
    (folder / "tools.py").write_bytes(text)
    assert differences(made, part()) == ["objective 'mine': parcel/loss.py has changed"]
    (folder / "tools.py").unlink()
    (folder / "loss.py").write_text("from . import tools\nclass Loss:\n    value = tools.more\n")
    assert differences(made, part()) == ["objective 'mine': parcel/late.py, parcel/tools.py have changed"], "gone"
