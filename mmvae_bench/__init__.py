"""mmvae-bench: a fair comparison of multimodal VAE objectives.

>>> import mmvae_bench as mb
>>> grid = mb.load_grid("configs/quick.yaml")  # doctest: +SKIP
>>> result = mb.run_trial(mb.expand(grid)[0], out="runs/demo")  # doctest: +SKIP
>>> model = mb.load(result.directory)  # doctest: +SKIP

The names below are imported when they are first used: configurations are read without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluation.fitting import fit_latents as fit_latents
    from .specs.grid import expand as expand
    from .specs.grid import load_grid as load_grid
    from .trial import load as load
    from .trial import run_trial as run_trial

    __version__: str

_EXPORTS = {
    "expand": ".specs.grid",
    "fit_latents": ".evaluation.fitting",
    "load": ".trial",
    "load_grid": ".specs.grid",
    "run_trial": ".trial",
}

__all__ = ["__version__", "expand", "fit_latents", "load", "load_grid", "run_trial"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mmvae-bench")
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
