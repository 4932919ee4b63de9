"""Step rates of the trials of a grid, and where the time of a step goes.

For each distinct objective and backbone of the grid, some steps are timed with ``fit`` and with a bare PyTorch loop
over the same terms on the same tensors (``loops.py``). The last columns show how long the steps of the grid's trials
take at that rate, without validation and evaluation, and the operations and memory that a step needs.

    python benchmarks/step_rate.py --grid configs/paper.yaml --steps 8                                  # a CPU
    python benchmarks/step_rate.py --grid configs/paper.yaml --device cuda --steps 300 --precision tf32 --compile
    python benchmarks/step_rate.py --grid configs/paper.yaml --profile                                  # step parts

Few images are used: a batch is gathered from bits in memory, so their number does not matter.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch
from loops import as_in_training, bare_steps, time_bare, time_fit
from profiles import Shares, named, part, shares
from torch.utils.flop_counter import FlopCounterMode

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import datasets
from mmvae_bench.specs.grid import expand, load_grid
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.trial import build_objective


@dataclasses.dataclass(frozen=True)
class Rate:
    """The measurements of one kind of step.

    Attributes:
        label: Objective and backbone.
        bare, fit: Seconds per step, one value per round.
        steps: The numbers of steps of the grid's trials of this kind.
        gigaflops: Floating-point operations per step in matrix products and convolutions, in 10^9.
        megabytes: Peak memory in use on the GPU during ``fit``; None on a CPU.
    """

    label: str
    bare: list[float]
    fit: list[float]
    steps: list[int]
    gigaflops: float
    megabytes: float | None

    def row(self) -> str:
        """The row of the table, in Markdown."""
        bare, fit = statistics.median(self.bare), statistics.median(self.fit)
        ratio = statistics.median(first / second for first, second in zip(self.bare, self.fit, strict=True))
        hours = ", ".join(f"{steps:,}: {steps * fit / 3600:.1f}" for steps in self.steps)
        memory = "–" if self.megabytes is None else f"{self.megabytes:,.0f}"
        cells = [f"{1e3 * bare:.1f}", f"{1e3 * fit:.1f}", f"{ratio:.3f}", f"{1 / fit:.2f}", hours]
        return f"| {self.label} | {' | '.join(cells)} | {self.gigaflops:.3g} | {memory} |"


HEADER = (
    "| objective, backbone | bare ms/step | fit ms/step | fit steps/s over bare | steps/s | hours for the steps "
    "| GFLOP/step | peak MB |\n|---|---|---|---|---|---|---|---|"
)


def kinds(trials: Sequence[TrialSpec]) -> list[list[TrialSpec]]:
    """Groups trials whose steps do the same work: objective, backbone, image shape, batch size, precision, compile."""
    found: dict[object, list[TrialSpec]] = {}
    for trial in trials:
        training = trial.training
        work = (training.batch_size, training.precision, training.num_threads, training.compile)
        found.setdefault((trial.objective, trial.backbone, trial.dataset.image_shape(), work), []).append(trial)
    return list(found.values())


def label(trial: TrialSpec) -> str:
    """The objective with its non-default parameters, and the backbone; in the text view also the texts' dataset."""
    spec = trial.objective
    defaults = type(spec).parse({"name": spec.name}).parameters()
    changed = [f"{name} {_brief(value)}" for name, value in spec.parameters().items() if value != defaults.get(name)]
    texts = f", texts of {trial.dataset.name}" if getattr(trial.dataset, "view", "") == "text" else ""
    return f"{' '.join([spec.name, *changed])}, {trial.backbone.name}{texts}"


def _brief(value: object) -> str:
    """The value as in a grid file: 50 rather than 50.0, and lower-case booleans."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if is_number else str(value).lower() if isinstance(value, bool) else str(value)


def small(trial: TrialSpec, *, num_images: int, source: str | None) -> ConceptDataModule:
    """The trial's dataset, prepared, with only about ``num_images`` images; from ``source`` if the dataset has it."""
    plain = trial.dataset.canonical()
    if "num_sources" in plain:
        plain["num_sources"] = max(20, -(-num_images // plain["replicas"]))
    else:
        plain["num_images"] = max(100, num_images)
    if source in get_args(type(trial.dataset).model_fields["source"].annotation):
        plain["source"] = source
    data = datasets.parse(plain).build()
    data.prepare_data()
    data.setup()
    return data


def with_settings(trial: TrialSpec, options: argparse.Namespace) -> TrialSpec:
    """The trial with the precision, threads and compilation given on the command line."""
    asked = {"precision": options.precision, "num_threads": options.threads, "compile": options.compile or None}
    changed = {name: value for name, value in asked.items() if value is not None}
    return trial.model_copy(update={"training": trial.training.model_copy(update=changed)})


def objective_of(trial: TrialSpec, device: torch.device) -> Objective:
    """A new objective on the device, with nothing compiled yet."""
    if trial.training.compile:
        # Code compiled for an earlier objective counts towards the limit on recompilations.
        torch.compiler.reset()
    return build_objective(trial).to(device)


def measure(trials: Sequence[TrialSpec], options: argparse.Namespace) -> Rate:
    """Times both loops alternately."""
    trial, device = trials[0], torch.device(options.device)
    data = small(trial, num_images=options.num_images, source=options.source)
    data.to(device)
    bare, fitted = [], []
    wanted = {"warm_up": options.warm_up, "num_steps": options.warm_up + options.steps}
    for _ in range(options.rounds):
        bare.append(time_bare(objective_of(trial, device), data, trial.training, **wanted))
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        fitted.append(time_fit(objective_of(trial, device), data, trial.training, **wanted))
    megabytes = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    steps = sorted({item.training.steps for item in trials}, reverse=True)
    return Rate(label(trial), bare, fitted, steps, count_flops(trial, data, device) / 1e9, megabytes)


def count_flops(trial: TrialSpec, data: ConceptDataModule, device: torch.device) -> int:
    """The operations of one step, forward and backward, in matrix products and convolutions."""
    training = trial.training.model_copy(update={"compile": False})
    with as_in_training(training), FlopCounterMode(display=False) as counter:
        for _ in bare_steps(objective_of(trial, device), data, training, num_steps=1):
            pass
    return int(counter.get_total_flops())


def profile_step(trial: TrialSpec, options: argparse.Namespace) -> Shares:
    """Profiles the steps of the bare loop."""
    device = torch.device(options.device)
    data = small(trial, num_images=options.num_images, source=options.source)
    data.to(device)
    objective = objective_of(trial, device)
    networks = {name.replace("_", " "): getattr(objective, name) for name in objective.network_names}
    with as_in_training(trial.training), named(networks):
        steps = bare_steps(objective, data, trial.training, part=part)
        for _ in range(options.warm_up):
            next(steps)
        return shares(lambda: next(steps), num_steps=options.steps, device=device)


def profile_table(found: Shares, title: str) -> str:
    """A Markdown table of each part's share of the step time, forward and backward."""
    lines = [f"| {title} | forward | backward | total |", "|---|---|---|---|"]
    for name in found.parts():
        forward, backward = found.forward[name], found.backward[name]
        cells = [f"{100 * value / found.total:.1f} %" for value in (forward, backward, forward + backward)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    kernels = f", {found.kernels:.0f} kernels" if found.kernels else ""
    lines.append(f"\n{found.total:.1f} ms per step{kernels}.")
    return "\n".join(lines)


def machine(options: argparse.Namespace) -> str:
    """A line describing what the numbers were measured on."""
    device = torch.device(options.device)
    if device.type == "cuda":
        name = f"{torch.cuda.get_device_name(device)}, {'time in kernels' if options.profile else 'wall time'}"
    else:
        name = f"CPU ({platform.machine()}), {'wall time' if options.profile else 'processor time'}"
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{name}; torch {torch.__version__}, Python {python}; {options.steps} steps after {options.warm_up}"


def parser(description: str | None = __doc__) -> argparse.ArgumentParser:
    """The parser of the command line."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--grid", type=Path, default=Path("configs/paper.yaml"))
    result.add_argument("--where", action="append", default=[], metavar="PATH=VALUE", help="measure only these trials")
    result.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    result.add_argument("--precision", choices=("float32", "tf32", "bfloat16"), help="overrides the grid's precision")
    result.add_argument("--threads", type=int, help="CPU threads; overrides the grid's number")
    result.add_argument("--compile", nargs="?", const=True, default=False, choices=("loss",),
                        help="compile the networks; loss: the loss as a whole, in fit alone")  # fmt: skip
    result.add_argument("--steps", type=int, default=8, help="timed steps (default 8)")
    result.add_argument("--warm-up", type=int, default=2, help="untimed steps first, at least 1 (default 2)")
    result.add_argument("--rounds", type=int, default=1, help="how often each of the two loops runs (default 1)")
    result.add_argument("--num-images", type=int, default=2000, help="images in the dataset (default 2000)")
    result.add_argument("--source", choices=("mnist", "digits", "celeba", "drawn"),
                        help="overrides the grid's source; digits and drawn need no files")  # fmt: skip
    result.add_argument("--profile", action="store_true", help="print where a step's time goes instead of the rates")
    return result


def main() -> None:
    """Prints Markdown, each row as soon as it is measured."""
    options = parser().parse_args()
    if options.profile and options.compile:
        raise SystemExit("error: compiled networks cannot be profiled; use either --compile or --profile")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("error: torch finds no GPU; use --device cpu")
    try:
        trials = [with_settings(trial, options) for trial in expand(load_grid(options.grid), where=options.where)]
    except BenchmarkError as error:
        raise SystemExit(f"error: {error}") from None
    training, wanted = trials[0].training, options.warm_up + options.steps
    if wanted > (fewest := min(trial.training.steps for trial in trials)):
        raise SystemExit(f"error: --warm-up and --steps need {wanted} steps, but a trial has only {fewest}")
    settings = f"{training.precision}, {training.num_threads} threads, compile {str(training.compile).lower()}"
    print(f"{machine(options)}; {settings}\n", flush=True)
    if not options.profile:
        print(HEADER, flush=True)
    for group in kinds(trials):
        if options.profile:
            print(profile_table(profile_step(group[0], options), label(group[0])) + "\n", flush=True)
        else:
            print(measure(group, options).row(), flush=True)


if __name__ == "__main__":
    main()
