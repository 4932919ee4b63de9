"""What trials of a run have learnt, by the processor time that they had been trained for.

A score is measured a few times during training (``evaluation.curve_points``); between two of these it is taken to rise
in a line. Processor time is that of training, validations included and these scores not, spread evenly over the
steps; or ``--ms`` says what a step of each kind of networks takes, where the trials were trained at different loads.

    python benchmarks/learnt.py runs/small_backbones [--metric correctness] [--level 4] [--seconds 5 10 20 40] \\
        [--ms patches=25.2 rgb_thin=43.7]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ablations import finished

from mmvae_bench.report.curves import score_curves


def label(spec: Mapping[str, Any]) -> str:
    """What a row is called: its objective, split, networks and learning rate."""
    parts = [spec["objective"]["name"], spec["dataset"].get("split"), spec["backbone"]["name"]]
    return ", ".join([*filter(None, parts), f"{spec['training']['learning_rate']:g}"])


def at(wanted: float, times: Sequence[float], values: Sequence[float]) -> float | None:
    """The value at a time, on the line between its neighbours; None before the first and after the last.

    Args:
        wanted: In seconds.
        times: In seconds, rising.
        values: At these times.
    """
    return float(np.interp(wanted, times, values)) if times[0] <= wanted <= times[-1] else None


def rows(
    run: Path, metric: str, level: int, seconds: Sequence[float], of_steps: Mapping[str, float] | None = None
) -> Iterator[str]:
    """Rows of a Markdown table: the mean over seeds and, of several, the lowest and the highest.

    ``of_steps``: seconds of a step by the name of its networks, in place of what the trials took.
    """
    found: dict[str, list[tuple[float, list[float], list[float]]]] = defaultdict(list)
    for folder, result in finished(run):
        steps, values = score_curves(folder).get((metric, None, level), ([], []))
        training = result["training"]
        if steps and training["processor_seconds"] is not None:
            measured = training["processor_seconds"] / training["steps"]
            of_a_step = (of_steps or {}).get(result["spec"]["backbone"]["name"], measured)
            found[label(result["spec"])].append((of_a_step, [step * of_a_step for step in steps], values))
    for name, curves in found.items():
        cells = [_cell([at(wanted, times, values) for _, times, values in curves]) for wanted in seconds]
        milliseconds = [1e3 * of_a_step for of_a_step, _, _ in curves]
        last = _cell([values[-1] for _, _, values in curves])
        ends = max(times[-1] for _, times, _ in curves)
        yield f"| {name} | {sum(milliseconds) / len(milliseconds):.1f} | {' | '.join(cells)} | {last} ({ends:.0f} s) |"


def _cell(values: Sequence[float | None]) -> str:
    """In %; a dash if not every seed has a value."""
    known = [100 * value for value in values if value is not None]
    if len(known) < len(values):
        return "–"
    mean = f"{sum(known) / len(known):.1f}"
    return mean if len(known) == 1 else f"{mean} ({min(known):.1f} to {max(known):.1f})"


def main() -> None:
    """Prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--metric", default="correctness")
    parser.add_argument("--level", type=int, default=4)
    parser.add_argument("--seconds", type=float, nargs="+", default=[5, 10, 20, 40], help="of processor time")
    parser.add_argument("--ms", nargs="+", default=[], metavar="NETWORKS=MS", help="milliseconds of a step")
    options = parser.parse_args()
    given = {name: float(value) / 1e3 for name, _, value in (each.partition("=") for each in options.ms)}
    named = [f"{wanted:g} s" for wanted in options.seconds]
    print(f"{options.metric} at level {options.level}, in %\n")
    print(f"| objective, split, networks, learning rate | ms/step | {' | '.join(named)} | at the end |")
    print(f"|---|---:|{'---:|' * len(named)}---:|")
    print(*rows(options.run, options.metric, options.level, options.seconds, given), sep="\n")


if __name__ == "__main__":
    main()
