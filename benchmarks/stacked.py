"""Seeds of one trial trained together, as one network with stacked weights, against one after the other.

``torch.func`` maps the objective's loss over members with weights, batches and noise of their own; convolutions become
grouped ones, matrix products batched ones. The channels of images, and the weights of convolutions, are ordered last,
member by member, which is what makes grouped convolutions faster on a CPU. Both ways do the same steps, members
included, in one process and in turn; on a CPU their processor times are compared, and since members that are trained
apart may as well be trained in several processes at once, two processes are no faster per second of a processor.

    python benchmarks/stacked.py --grid configs/sprites_small.yaml --where objective=jmvae --where dataset.level=5 \\
        --where dataset.split=iid [--members 3 8] [--device cuda]
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import torch
from loops import StepClock, as_in_training
from step_rate import kinds, label, machine, objective_of, parser, small, with_settings
from torch import Tensor, nn
from torch.distributions import normal
from torch.func import functional_call, stack_module_state, vmap

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.grid import expand, load_grid
from mmvae_bench.specs.trial import TrialSpec


class Loss(nn.Module):
    """An objective whose call is its loss, without penalties of weights: Float[] of a batch in parts."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, image: Tensor, concept: Tensor, index: Tensor) -> Tensor:
        """See :meth:`Objective.terms`."""
        return self.objective.terms(Batch(image, concept, index)).loss


class Stacked:
    """Objectives of one kind as one.

    Args:
        objectives: Equal but for their weights, in training mode.

    Attributes:
        parameters, buffers: Of all members, stacked, by name.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        losses = [Loss(objective) for objective in objectives]
        parameters, self.buffers = stack_module_state(losses)
        self.parameters = {name: _channels_last(value.detach()).requires_grad_() for name, value in parameters.items()}
        base = copy.deepcopy(losses[0]).to("meta")

        def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor], *inputs: Tensor) -> Tensor:
            result: Tensor = functional_call(base, (parameters, buffers), inputs)
            return result

        self._losses = vmap(loss, in_dims=(0, 0, 1, 0, 0), randomness="different")

    def losses(self, image: Tensor, concept: Tensor, index: Tensor) -> Tensor:
        """Float[member] of batches together: Float[B, member, C, H, W], Long[member, B, A], Long[member, B]."""
        found: Tensor = self._losses(self.parameters, self.buffers, image, concept, index)
        return found


def together(batches: Sequence[Batch]) -> tuple[Tensor, Tensor, Tensor]:
    """One batch for each member as :meth:`Stacked.losses` takes them."""
    images = torch.cat([batch.image for batch in batches], 1).contiguous(memory_format=torch.channels_last)
    image = images.unflatten(1, (len(batches), -1))
    return image, torch.stack([batch.concept for batch in batches]), torch.stack([batch.index for batch in batches])


def _channels_last(stacked: Tensor) -> Tensor:
    """Weights of convolutions, [member, out, in, H, W], in the order in which the grouped convolution reads them."""
    if stacked.ndim != 5:
        return stacked.clone()
    whole = stacked.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return whole.unflatten(0, stacked.shape[:2])


@contextmanager
def mappable_noise() -> Iterator[None]:
    """``Normal.rsample`` draws by ``torch.randn``: the mapping has no noise of several members in place."""
    with patch.object(
        normal, "_standard_normal", lambda shape, dtype, device: torch.randn(shape, dtype=dtype, device=device)
    ):
        yield


def measure(trial: TrialSpec, num_members: int, options: argparse.Namespace) -> str:
    """A row of the table."""
    device, size = torch.device(options.device), trial.training.batch_size
    data = small(trial, num_images=options.num_images, source=options.source)
    data.to(device)
    rows, rate = data.rows("train"), trial.training.learning_rate
    seeded = [trial.model_copy(update={"seed": seed}) for seed in range(num_members)]

    def ready() -> list[Objective]:
        members = [objective_of(each, device) for each in seeded]
        for member in members:
            (stage,) = member.stages(trial.training)
            member.begin_stage(stage)
            member.train()
        return members

    def draw() -> list[Batch]:
        return [data.store.batch(rows[torch.randint(len(rows), (size,), device=rows.device)]) for _ in seeded]

    apart = [Loss(member) for member in ready()]
    optimisers = [torch.optim.Adam(each.parameters(), lr=rate, fused=True) for each in apart]
    stacked = Stacked(ready())
    optimiser = torch.optim.Adam(stacked.parameters.values(), lr=rate, fused=True)

    def step_apart() -> None:
        for batch, loss, own in zip(draw(), apart, optimisers, strict=True):
            own.zero_grad(set_to_none=True)
            loss(batch.image, batch.concept, batch.index).backward()
            own.step()

    def step_together() -> None:
        optimiser.zero_grad(set_to_none=True)
        stacked.losses(*together(draw())).sum().backward()
        optimiser.step()

    found: list[tuple[float, float]] = []
    with as_in_training(trial.training), mappable_noise():
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
