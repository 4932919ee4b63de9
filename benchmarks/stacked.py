"""Seeds of one trial trained together, as ``run --together`` does, against one after the other.

Both ways do the same steps, members included, in one process and in turn; on a CPU their processor times are compared,
and since members that are trained apart may as well be trained in several processes at once, two processes are no
faster per second of a processor.

    python benchmarks/stacked.py --grid configs/sprites_small.yaml --where objective=jmvae --where dataset.level=5 \\
        --where dataset.split=iid [--members 3 8] [--device cuda]
"""

from __future__ import annotations

import argparse
import statistics

import torch
from loops import StepClock, as_in_training
from step_rate import kinds, label, machine, objective_of, parser, small, with_settings

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.grid import expand, load_grid
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.stacked import Stacked


def measure(trial: TrialSpec, num_members: int, options: argparse.Namespace) -> str:
    """A row of the table."""
    device, size = torch.device(options.device), trial.training.batch_size
    data = small(trial, num_images=options.num_images, source=options.source)
    data.to(device)
    rows = data.rows("train")
    seeded = [trial.model_copy(update={"seed": seed}) for seed in range(num_members)]

    def ready() -> list[Objective]:
        members = [objective_of(each, device) for each in seeded]
        for member in members:
            (stage,) = member.stages(trial.training)
            member.begin_stage(stage)
            member.train()
            member.configure_optimizers()
        return members

    def draw() -> list[Batch]:
        return [data.store.batch(rows[torch.randint(len(rows), (size,), device=rows.device)]) for _ in seeded]

    apart, together = ready(), Stacked(ready())

    def step_apart() -> None:
        for batch, member in zip(draw(), apart, strict=True):
            output = member.training_step(batch, member.step_done)
            assert member.optimizer is not None
            member.optimizer.zero_grad(set_to_none=True)
            output["loss"].backward()
            member.optimizer.step()
            member.step_done += 1

    def step_together() -> None:
        together.step(draw())

    found: list[tuple[float, float]] = []
    with as_in_training(trial.training):
        for _ in range(options.rounds):
            times = []
            for step in (step_apart, step_together):
                clock = StepClock(device, warm_up=options.warm_up, num_steps=options.warm_up + options.steps)
                clock.tick(0)
                for done in range(1, clock.num_steps + 1):
                    step()
                    clock.tick(done)
                times.append(1e3 * clock.seconds_a_step / num_members)
            found.append((times[0], times[1]))
    gains = sorted(first / second for first, second in found)
    cells = [f"{statistics.median(column):.2f}" for column in zip(*found, strict=True)]
    spread = f"{statistics.median(gains):.2f} ({gains[0]:.2f} to {gains[-1]:.2f})"
    return f"| {label(trial)} | {num_members} | {' | '.join(cells)} | {spread} |"


def main() -> None:
    """Prints Markdown, a row for each kind of trial of one stage and each number of members."""
    reader = parser(__doc__)
    reader.add_argument("--members", type=int, nargs="+", default=[3])
    reader.set_defaults(steps=10, rounds=7)
    options = reader.parse_args()
    if options.compile or options.profile:
        raise SystemExit("error: neither --compile nor --profile")
    try:
        trials = [with_settings(trial, options) for trial in expand(load_grid(options.grid), where=options.where)]
    except BenchmarkError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{machine(options)}; {options.rounds} rounds\n", flush=True)
    print("| objective, backbone | members | apart, ms per member's step | together | gain |\n|---|---|---|---|---|")
    for (trial, *_), num_members in ((kind, count) for kind in kinds(trials) for count in options.members):
        print(measure(trial, num_members, options), flush=True)


if __name__ == "__main__":
    main()
