"""The grid file that describes a local sweep in its run folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from ..base.errors import ConfigError, Problem
from ..base.printable import counted
from ..specs.grid import LISTS
from ..specs.sweeps import SweepFile
from ..specs.trial import TrialSpec
from ..specs.yaml_source import MAX_VALUES, is_readable

Block = dict[str, tuple[str, ...]]
"""Of an entry under ``include``: its lists, each value as JSON; ``evaluation`` is one of a single value."""
_SHARED = ("datasets", "backbones", "training", "seeds", "evaluation")
"""What may be said once for all blocks. With all three kinds of parts at the top, it would be a product of its own."""


def sweep_grid(sweep: SweepFile, *, name: str) -> str:
    """A grid file with the trials of a sweep, one per line, and the sweep file itself as comments.

    So everything that reads a run folder reads this one, and ``mmvae-bench run --grid`` runs the same trials. Where so
    many trials would make a file that is too large to be read, those that differ in one list alone share a line.

    Raises:
        ConfigError: the file is too large all the same.
    """
    origin = f"{counted(len(sweep.trials), 'trial')} of a sweep by method {sweep.method}"
    if sweep.num_drawn > len(sweep.trials):
        origin += f" ({sweep.num_drawn} draws, some of them equal)"
    lines = sweep.text.lstrip("\ufeff").splitlines()
    comments = [f"# {line}".rstrip() for line in (f"{origin}, which was:", "", *lines)]
    head = [*comments, f"name: {json.dumps(name)}", f"summary: {json.dumps(origin)}"]
    blocks = [_block(spec) for spec in sweep.trials]
    text = "\n".join([*head, *_lines(blocks)]) + "\n"
    if not is_readable(text):
        text = "\n".join([*head, *_lines(merged(blocks), share=True)]) + "\n"
        if not is_readable(text):
            message = f"the settings of {len(blocks):,} trials are too many for the grid file of a run folder, which "
            message += f"has at most {MAX_VALUES:,} keys and values: set a smaller run_cap or --count, or split the "
            raise ConfigError([Problem(f"{message}sweep into several", ("parameters",))])
    return text


def merged(blocks: Sequence[Block]) -> list[Block]:
    """Fewer blocks with the same trials: those that differ in one list alone become one, list by list."""
    found = list(blocks)
    for name in reversed(LISTS):
        groups: dict[tuple[tuple[str, tuple[str, ...]], ...], list[str]] = {}
        for block in found:
            others = tuple((key, values) for key, values in block.items() if key != name)
            groups.setdefault(others, []).extend(block[name])
        found = [{**dict(others), name: tuple(values)} for others, values in groups.items()]
    return found


def _block(spec: TrialSpec) -> Block:
    plain = spec.canonical()
    parts = {f"{kind}s": plain[kind] for kind in ("dataset", "backbone", "objective")}
    given = parts | {"training": plain["training"], "seeds": spec.seed, "evaluation": spec.evaluation.canonical()}
    # JSON is YAML, and its numbers are read back to the bit.
    return {name: (json.dumps(value),) for name, value in given.items()}


def _lines(blocks: Sequence[Block], *, share: bool = False) -> Iterator[str]:
    shared = [name for name in _SHARED if share and all(block[name] == blocks[0][name] for block in blocks)]
    yield from (f"{name}: {_value(name, blocks[0][name])}" for name in shared)
    yield "include:"
    for block in blocks:
        given = (f'"{name}": {_value(name, values)}' for name, values in block.items() if name not in shared)
        yield f"- {{{', '.join(given)}}}"


def _value(name: str, values: Sequence[str]) -> str:
    return values[0] if name == "evaluation" else f"[{', '.join(values)}]"
