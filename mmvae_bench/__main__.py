"""``python -m mmvae_bench``: the command line."""

from __future__ import annotations

import os
import sys


def leave_working_folder() -> None:
    """Takes the working folder, which ``python -m`` puts first, out of the places where modules are looked for.

    A file called ``datasets.py`` or ``types.py`` in it would be imported in place of the library. It stays if the user
    has put it into PYTHONPATH too, or if this package itself is found nowhere else: then child processes need it as
    well.
    """
    if sys.flags.safe_path or sys.path[:1] != [os.getcwd()]:
        return
    here, package = sys.path.pop(0), sys.modules[__package__]
    found = (finder.find_spec(package.__name__, None) for finder in sys.meta_path)
    spec = next((spec for spec in found if spec is not None), None)
    if spec is None or spec.origin != package.__file__:
        sys.path.insert(0, here)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))


if __name__ == "__main__":
    leave_working_folder()  # Before anything else is imported.

    from .cli import main

    raise SystemExit(main())
