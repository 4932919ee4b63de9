"""The long description of the package: the README, without what leads nowhere on an index page.

Everything else is in ``pyproject.toml``. The links of the README are relative: they lead to files of the repository,
which an index page does not have.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

_PICTURE = re.compile(r"^!\[[^\]]*\]\((?!\w+:)[^)]*\)\n\n?", flags=re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:)([^)#]*)[^)]*\)")
_CODE = re.compile(r"(```.*?```|^ {4}[^\n]*$)", flags=re.DOTALL | re.MULTILINE)


def for_an_index(readme: str) -> str:
    """The README with the name of a file in place of a link to it; pictures are left out.

    >>> for_an_index("See [the map](docs/map.md), [LICENSE](LICENSE), [below](#below) and [x](https://x.org).")
    'See the map (`docs/map.md`), `LICENSE`, below and [x](https://x.org).'
    """
    parts = _CODE.split(readme)
    return "".join(part if index % 2 else _LINK.sub(_name, _PICTURE.sub("", part)) for index, part in enumerate(parts))


def _name(link: re.Match[str]) -> str:
    label, place = link.groups()
    return f"`{place}`" if label == place else f"{label} (`{place}`)" if place else label


if __name__ == "__main__":
    setup(
        long_description=for_an_index((Path(__file__).parent / "README.md").read_text(encoding="utf-8")),
        long_description_content_type="text/markdown",
    )
