"""An account of one training step of ``fit``: data, each network, loss, backward pass, optimiser, and the loop itself.

Every moment of the loop belongs to exactly one part: the time of a part is its own, without the parts inside it. On a
CPU it is processor time. On a GPU the clock waits for the device at both ends of a part, so that the parts add up to
more than a step takes that nobody watches; that step is measured too, with ``fit`` and with a bare loop (``loops.py``),
and their difference is what the loop costs.

    python benchmarks/profile_step.py --sizes tiny thin paper --rounds 5 --device cpu    # the same work as peers.py
    python benchmarks/profile_step.py --grid configs/tour.yaml --source digits --steps 200 --rounds 5     # a CPU
    python benchmarks/profile_step.py --grid configs/paper.yaml --device cuda --steps 300 --rounds 3
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from loops import time_bare, time_fit
from peers import SIZES, TRAINING, work_of
from step_rate import kinds, label, machine, objective_of, parser, small, with_settings

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data.base import ConceptDataModule, ResidentLoader
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives import base
from mmvae_bench.objectives.base import Objective
from mmvae_bench.runs.status import Status, StatusWriter
from mmvae_bench.specs.grid import expand, load_grid
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training import fit as loop
from mmvae_bench.training.watch import FiniteWatch

LOOP = "the loop itself, and freeing tensors"
BETWEEN = "between steps: what is due, time, stopping"
"""With ``status``, what several steps in one call would leave out between them."""


class Account:
    """Seconds by part; a part inside another one is not counted twice.

    Args:
        device: Where the steps run.
        now: The clock, in seconds; None: the processor's on a CPU, and that of the wall on a GPU, after waiting for it.
    """

    def __init__(self, device: torch.device, now: Callable[[], float] | None = None) -> None:
        self.device, self.now = device, now or self._now
        self.running = [LOOP]
        self.reset()

    def reset(self) -> None:
        """Forgets what was counted so far."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.since = self.now()

    def begin(self, part: str) -> None:
        """A part begins, inside the one that is running."""
        self._count()
        self.running.append(part)

    def end(self) -> None:
        """The part that began last ends."""
        self._count()
        self.running.pop()

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, as a part."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.begin(part)
            try:
                return call(*args, **kwargs)
            finally:
                self.end()

        return counted

    def _count(self) -> None:
        now = self.now()
        self.seconds[self.running[-1]] += now - self.since
        self.since = now

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return time.perf_counter()
        return time.process_time()


@contextmanager
def watched(objective: Objective, account: Account) -> Iterator[None]:
    """Inside the block, what ``fit`` calls for the objective is counted."""
    calls: list[tuple[str, Any, str]] = [
        ("loss, divergences", objective, "training_step"),
        ("seeds", base, "seed_generators"),
        ("backward", torch.Tensor, "backward"),
        ("optimiser", torch.optim.Adam, "step"),
        ("optimiser", torch.optim.Adam, "zero_grad"),
        (BETWEEN, loop.StageLoop, "after"),
        ("check of the loss", FiniteWatch, "update"),
        ("logging", loop.StageLoop, "_log_training"),
        ("validation", loop.StageLoop, "_validate"),
        ("checkpoint", loop.StageLoop, "_snapshot"),
        ("checkpoint", loop.StageLoop, "_save"),
    ]
    with ExitStack() as undo:
        for part, owner, name in calls:
            undo.enter_context(patch.object(owner, name, account.timed(part, getattr(owner, name))))
        undo.enter_context(patch.object(ResidentLoader, "__iter__", _counted(ResidentLoader.__iter__, account)))
        for name in objective.network_names:
            network, part = getattr(objective, name), f"forward: {name.replace('_', ' ')}"
            undo.callback(network.register_forward_pre_hook(lambda *_, part=part: account.begin(part)).remove)
            undo.callback(network.register_forward_hook(lambda *_: account.end()).remove)
        yield


def _counted(batches: Callable[[ResidentLoader], Iterator[Batch]], account: Account) -> Callable[..., Iterator[Batch]]:
    def counted(loader: ResidentLoader) -> Iterator[Batch]:
        take = account.timed("data", lambda: next(iterator, None))
        iterator = batches(loader)
        while (batch := take()) is not None:
            yield batch

    return counted


def account_of(
    objective: Objective, data: ConceptDataModule, training: TrainingSpec, *, warm_up: int, num_steps: int
) -> dict[str, float]:
    """Milliseconds per step by part, after ``warm_up`` steps, with the log, status and checkpoints of a trial."""
    account, done, found = Account(objective.device), 0, dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        status = StatusWriter(Path(folder), Status(state="running"))

        def progress(*state: Any) -> None:
            nonlocal done, found
            status.training(*state)
            done = state[1]
            if done == warm_up:
                account.reset()
            if done == num_steps:
                found = {part: 1e3 * seconds / (num_steps - warm_up) for part, seconds in account.seconds.items()}

        control = loop.Control(
            checkpoint=Path(folder) / "last.ckpt",
            log=Path(folder) / "log.jsonl",
            stop=lambda: done >= num_steps,
            progress=account.timed("status", progress),
        )
        with watched(objective, account), suppress(loop.TrainingInterrupted):
            loop.fit(objective, data, training, key="benchmark", seed=0, device=objective.device, control=control)
    return found


def table(found: dict[str, float], title: str) -> str:
    """A Markdown table of the parts, the longest first."""
    total = sum(found.values())
    lines = [f"| {title} | ms per step | share |", "|---|---|---|"]
    for part, milliseconds in sorted(found.items(), key=lambda item: -item[1]):
        lines.append(f"| {part} | {milliseconds:.3f} | {100 * milliseconds / total:.1f} % |")
    return "\n".join([*lines, f"| together | {total:.3f} | |"])


def own_cost(
    build: Callable[[], Objective],
    data: ConceptDataModule,
    training: TrainingSpec,
    *,
    warm_up: int,
    num_steps: int,
    rounds: int,
) -> str:
    """What the loop adds to a bare one, unwatched: the median difference and ratio of rounds that alternate."""
    pairs = []
    for _ in range(rounds):
        bare = time_bare(build(), data, training, warm_up=warm_up, num_steps=num_steps)
        pairs.append((bare, time_fit(build(), data, training, warm_up=warm_up, num_steps=num_steps)))
    bare, fitted = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
    extra = sorted(1e3 * (second - first) for first, second in pairs)
    ratio = statistics.median(second / first for first, second in pairs)
    return (
        f"Unwatched: bare {bare:.3f} ms per step, fit {fitted:.3f} ms, {ratio:.3f} times; the loop costs "
        f"{statistics.median(extra):.3f} ms ({extra[0]:.3f} to {extra[-1]:.3f}), validation and records included."
    )


def main() -> None:
    """Prints Markdown, an account for each kind of step in the grid."""
    reader = parser(__doc__)
    reader.add_argument(
        "--sizes", nargs="+", choices=tuple(SIZES), default=[], help="those of peers.py, without a grid"
    )
    options = reader.parse_args()
    if options.compile or options.profile:
        raise SystemExit("error: neither --compile nor --profile: compiled networks have no parts to watch")
    device = torch.device(options.device)
    for name in options.sizes:
        if name == options.sizes[0]:
            print(f"{machine(options)}\n", flush=True)
        size = SIZES[name]
        work, wanted = work_of(size, "jmvae", device), {"warm_up": size.warm_up, "num_steps": size.warm_up + size.steps}
        found = account_of(work.build(), work.data, TRAINING, **wanted)
        cost = own_cost(work.build, work.data, TRAINING, rounds=options.rounds, **wanted)
        print(table(found, f"{name}: jmvae, {size.backbone['name']}") + f"\n\n{cost}\n", flush=True)
    if options.sizes:
        return
    try:
        trials = [with_settings(trial, options) for trial in expand(load_grid(options.grid), where=options.where)]
    except BenchmarkError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{machine(options)}\n", flush=True)
    for trial, *_ in kinds(trials):
        data = small(trial, num_images=options.num_images, source=options.source)
        data.to(options.device)
        build, wanted = partial(objective_of, trial, device), {"warm_up": options.warm_up}
        wanted["num_steps"] = options.warm_up + options.steps
        found = account_of(build(), data, trial.training, **wanted)
        cost = own_cost(build, data, trial.training, rounds=options.rounds, **wanted)
        print(table(found, label(trial)) + f"\n\n{cost}\n", flush=True)


if __name__ == "__main__":
    main()
