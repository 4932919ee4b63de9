"""What every spec has to be, whatever it is of."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from ..base.processes import SAFE_PYTHON
from ..specs.base import ComponentSpec

_WITHOUT = "import sys; import {module}; print('torch' in sys.modules)"


def says_what_it_is(spec: ComponentSpec) -> None:
    """A summary and a reference, which listings and reports show."""
    for field in ("summary", "reference"):
        text = getattr(type(spec), field, None)
        assert isinstance(text, str), f"{type(spec).__name__}.{field} is missing: a text for listings and reports"
        assert text.strip(), f"{type(spec).__name__}.{field} is empty"


def is_the_same_after_its_canonical_form(spec: ComponentSpec) -> None:
    """A trial's spec is stored as JSON and read again: nothing may be lost."""
    again = type(spec).parse(spec.canonical())
    assert again == spec, f"{type(spec).__name__} is not what its stored form gives: {again!r}, not {spec!r}"


def imports_no_torch(spec: ComponentSpec) -> None:
    """The command line reads every spec, also for ``--help``: with torch that takes seconds."""
    module = type(spec).__module__
    words = [*SAFE_PYTHON, "-c", _WITHOUT.format(module=module)]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, f"{module} cannot be imported alone:\n{done.stderr}"
    assert done.stdout.strip().endswith("False"), f"{module} imports torch: a spec must not; its implementation may"


def is_for_images(spec: ComponentSpec) -> None:
    """Further checks are of parts for images alone."""
    about = {"graph": "a graph", "papers": "papers"}.get(domain := getattr(spec, "domain", "images"), domain)
    name = getattr(spec, "name", "it")
    assert domain == "images", f"{name} is not for images, but for {about}: only what every spec has to be was tested"


CHECKS: list[Callable[[Any], None]] = [says_what_it_is, is_the_same_after_its_canonical_form, imports_no_torch]
