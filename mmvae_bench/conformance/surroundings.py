"""Where checks of a part find files: the user's own where they are, everything else in a fresh cache."""

from __future__ import annotations

from pathlib import Path

from ..base.files import CACHE_VARIABLE, DATA_VARIABLE, cache_root, data_root
from ..specs.base import ComponentSpec
from ..specs.components import DatasetSpec


def surroundings(spec: ComponentSpec, cache: Path) -> dict[str, Path]:
    """The folders to put into the environment, by variable. To be called with the user's.

    The data root may be in the user's cache, and so may arrays that were stored there: they cannot be made again, as
    everything else of a cache can. Folders that the spec keeps there are linked from the fresh one.

    Args:
        spec: The part.
        cache: The fresh cache, which need not exist.
    """
    for name in spec.kept_in_cache() if isinstance(spec, DatasetSpec) else ():
        theirs, place = (cache_root() / name).resolve(), cache / name
        if theirs.is_dir() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(theirs, target_is_directory=True)
    return {DATA_VARIABLE: data_root(), CACHE_VARIABLE: cache}
