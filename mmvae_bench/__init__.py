"""mmvae-bench: a fair comparison of multimodal VAE objectives.

>>> import mmvae_bench as mb
>>> run = mb.run("quick", out="runs/quick")  # doctest: +SKIP
>>> mb.report(run), mb.results(run)  # doctest: +SKIP
>>> data = mb.data.from_arrays(images, concepts)  # doctest: +SKIP
>>> model = mb.load(run.trials["directory"].iloc[0])  # doctest: +SKIP

The names below are imported when they are first used: configurations are read without torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import data as data
    from .api.parts import list_parts as list
    from .api.runs import run as run
    from .evaluation.fitting import fit_latents as fit_latents
    from .report.notebook import report as report
    from .report.notebook import results as results
    from .specs.grid import expand as expand
    from .specs.grid import load_grid as load_grid
    from .trial import load as load
    from .trial import run_trial as run_trial

    __version__: str

_EXPORTS = {
    "expand": ".specs.grid:expand",
    "fit_latents": ".evaluation.fitting:fit_latents",
    "list": ".api.parts:list_parts",
    "load": ".trial:load",
    "load_grid": ".specs.grid:load_grid",
    "results": ".report.notebook:results",
    "run": ".api.runs:run",
    "run_trial": ".trial:run_trial",
}
_PACKAGES = ("data", "report")
"""Names that are packages too; the package ``report`` can be called."""

__all__ = [
    "__version__",
    "data",
    "expand",
    "fit_latents",
    "list",
    "load",
    "load_grid",
    "report",
    "results",
    "run",
    "run_trial",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mmvae-bench")
    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    if name in _EXPORTS:
        module, _, attribute = _EXPORTS[name].partition(":")
        return getattr(importlib.import_module(module, __name__), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> Sequence[str]:
    return sorted({*globals(), *__all__})
