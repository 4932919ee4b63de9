"""The configurations that come with the package, found by name from any folder.

They are the files of ``configs/``. The package's folder has a link to it, in whose place a wheel has the files.
"""

from __future__ import annotations

from pathlib import Path

from ..base.errors import ConfigError, Problem, nearest, unknown
from .yaml_source import kinds_of, read_yaml

FOLDER = Path(__file__).parents[1] / "configs"


def shipped_files() -> dict[str, Path]:
    """Every shipped configuration by name, sorted: grids, and sweep files of W&B."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def shipped(kind: str) -> dict[str, Path]:
    """Those of one kind, ``grid`` or ``sweep``."""
    return {name: path for name, path in shipped_files().items() if kinds_of(read_yaml(path)) == [kind]}


def shipped_file(name: str) -> Path:
    """The shipped configuration of a name; raises ConfigError, with the choices and the nearest, if there is none."""
    found = shipped_files()
    if name not in found:
        raise ConfigError([unknown("configuration", name, found)])
    return found[name]


def named_file(given: Path, *, kind: str) -> Path:
    """What ``given`` names: a path that exists (but a folder is no configuration), else a shipped configuration.

    Args:
        given: A path or a name.
        kind: What is wanted, ``grid`` or ``sweep``. A name of the other kind is found too, and whoever reads the file
            says what takes it.

    Raises:
        ConfigError: it is neither, with the shipped ones of this kind and the nearest of them. Other paths, those that
            are more than a name, are returned as they are: whoever reads one says what is missing.
    """
    if given.exists() and not given.is_dir():
        return given
    found, is_path = shipped_files(), len(given.parts) != 1 or given.suffix in (".yaml", ".yml")
    if not is_path and given.name in found:
        return found[given.name]
    if is_path and given.stem in found and not given.exists():
        raise ConfigError(
            [Problem(f"no such file: {given}", near=f"{given.stem}, which is shipped: give its name alone")]
        )
    if is_path or given.exists():
        return given
    message, fitting = f"no such file: {given}, and no shipped configuration of that name", shipped(kind)
    raise ConfigError([Problem(message, choices=tuple(fitting), near=nearest(given.name, fitting))])
