"""Objectives of one kind as one: their weights are stacked, and the loss is mapped over them.

``torch.func`` maps the loss over members with weights, batches and noise of their own; convolutions become grouped
ones, matrix products batched ones. What a member draws comes from generators of its own, seeded as those of a step are,
so its noise is bit for bit that of the objective trained alone; losses and gradients differ by rounding. The mapping
passes over what it does not know, such as a hook on a gradient, without a word: so the first step of each kind is made
alone too, and what comes out must agree.

Shapes: M member, B batch, C channel, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.distributions import normal
from torch.func import functional_call, stack_module_state, vmap
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..base.errors import BenchmarkError
from ..data.batch import Batch
from ..objectives.base import Objective, Terms, checked

TOLERANCE = 1e-3
"""By how much, relative to its norm, the gradient of a member's weight may differ from that of the member alone."""
_OF_ALL = 1e-5
"""By how much more, relative to the norm of the gradient of all weights: some gradients are nothing but rounding."""
_DRAWS: frozenset[Callable[..., Any]] = frozenset(
    {
        torch.rand, torch.randn, torch.randint, torch.randperm, torch.rand_like, torch.randn_like, torch.bernoulli,
        torch.multinomial, torch.normal,
    }
)  # fmt: skip
"""What members draw by; the mapping refuses every other call that is random."""


class Unstackable(BenchmarkError):
    """Objectives that cannot be trained as one; apart they can."""


class Loss(nn.Module):
    """An objective whose call is its loss: Float[] with the penalties of weights, Float[] without, and the parts."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """See :meth:`Objective.terms`."""
        terms = checked(self.objective.terms(batch), len(batch))
        return self.objective.penalised(terms), terms.loss, terms.parts


class Stacked:
    """Objectives of one kind as one, for the rest of a stage.

    From here on the weights, and the moving means, of the objectives are parts of the stacked ones, so each objective
    can be validated, scored and saved as ever between two steps. Their optimisers only hold the settings and, after
    :meth:`hand_back`, their parts of the moments.

    Args:
        objectives: Equal but for weights and seed, in the same step of the same stage, each with its optimiser.

    Raises:
        Unstackable: if there is an optimiser other than one Adam for each, or a ``training_step`` of their own.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = list(objectives)
        self._losses = [Loss(objective) for objective in objectives]
        _check_kind(self.objectives)
        device = objectives[0].device
        self.noise = MemberNoise(len(objectives), device)
        parameters, buffers = stack_module_state(self._losses)
        self.parameters = {name: _channels_last(value.detach()) for name, value in parameters.items()}
        self.buffers = {name: value.detach() for name, value in buffers.items()}
        # A mask that chooses elements of a tensor must be the same for all, and is not mapped.
        self._common = {
            name
            for name, value in self.buffers.items()
            if value.dtype == torch.bool and bool((value == value[:1]).all())
        }
        self.buffers = {
            name: value[0].clone() if name in self._common else value for name, value in self.buffers.items()
        }
        self._strides = {name: parameter.stride() for name, parameter in self._losses[0].named_parameters()}
        for place, loss in enumerate(self._losses):
            for name, parameter in loss.named_parameters():
                stacked = self.parameters[name]
                stacked.requires_grad_(parameter.requires_grad)
                parameter.data = stacked.detach()[place]
            for name, buffer in list(loss.named_buffers()):
                value = self.buffers[name]
                _replace(loss, buffer, value if name in self._common else value[place])
        self._trained = self._of_optimisers()
        settings = objectives[0].optimizer.param_groups[0]  # type: ignore[union-attr]
        rest = {name: value for name, value in settings.items() if name != "params"}
        self.optimizer = torch.optim.Adam([self.parameters[name] for name in self._trained], **rest)
        self._take_moments()
        self._checked: set[tuple[bool, ...]] = set()

    def step(self, batches: Sequence[Batch]) -> list[Terms]:
        """One gradient step of each member on a batch of its own; the terms of each.

        Raises:
            Unstackable: no step was made: the loss cannot be mapped, or a member's would not be what it is alone.
        """
        together, kind = _together(batches)
        alone = None if kind in self._checked else self._alone(batches)
        try:
            total, loss, parts = self._mapped(together)
            self.optimizer.zero_grad(set_to_none=True)
            total.sum().backward()
        except Unstackable:
            raise
        except (RuntimeError, TypeError, NotImplementedError) as error:
            raise Unstackable(f"the loss cannot be mapped over members: {str(error).splitlines()[0]:.200}") from error
        if alone is not None:
            self._compare(alone, total.detach())
            self._checked.add(kind)
        self.optimizer.step()
        for objective in self.objectives:
            objective.step_done += 1
        return [
            Terms(loss.detach()[place], {name: part.detach()[place] for name, part in parts.items()})
            for place in range(len(self.objectives))
        ]

    def hand_back(self) -> None:
        """Gives each objective's optimiser its part of the moments, as copies in the order that it has them in."""
        for place, objective in enumerate(self.objectives):
            optimiser, named = _adam(objective), dict(self._losses[place].named_parameters())
            for name in self._trained:
                state = self.optimizer.state.get(self.parameters[name])
                if state:
                    own = named[name]
                    optimiser.state[own] = {
                        key: value.clone() if value.ndim == 0 else _ordered(value[place], self._strides[name])
                        for key, value in state.items()
                    }

    def _mapped(self, together: _Together) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Float[M] with penalties, Float[M] without, and Float[M, B] of each part."""
        base = self._losses[0]
        common = {name: self.buffers[name] for name in self._common}
        mapped = {name: value for name, value in self.buffers.items() if name not in self._common}

        def loss(
            member: Tensor, parameters: dict[str, Tensor], buffers: dict[str, Tensor], tensors: dict[str, Tensor]
        ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
            with self.noise.of(member):
                result: tuple[Tensor, Tensor, dict[str, Tensor]] = functional_call(
                    base, (parameters, buffers, common), (together.of(tensors),)
                )
            return result

        places = {name: 1 if name == "image" else 0 for name in together.tensors}
        members = torch.arange(len(self.objectives), device=together.batch.index.device)
        self.noise.seed(self.objectives)
        found: tuple[Tensor, Tensor, dict[str, Tensor]] = vmap(
            loss, in_dims=(0, 0, 0, places), randomness="error"
        )(members, self.parameters, mapped, together.tensors)  # fmt: skip
        return found

    # ---- the first step of each kind

    def _alone(self, batches: Sequence[Batch]) -> list[tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]]:
        """The loss of each member alone, the gradients of its weights, and its buffers after the step, before which
        they are put back."""
        found = []
        for loss, objective, batch in zip(self._losses, self.objectives, batches, strict=True):
            before = {name: buffer.clone() for name, buffer in loss.named_buffers()}
            objective.seed_step()
            total, _, _ = loss(batch)
            named = {name: value for name, value in loss.named_parameters() if value.requires_grad}
            gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
            given = {
                name: torch.zeros_like(value) if gradient is None else gradient
                for (name, value), gradient in zip(named.items(), gradients, strict=True)
            }
            after = {name: buffer.clone() for name, buffer in loss.named_buffers()}
            with torch.no_grad():
                for name, buffer in loss.named_buffers():
                    buffer.copy_(before[name])
            found.append((total.detach(), given, after))
        return found

    def _compare(self, alone: Sequence[tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]], totals: Tensor) -> None:
        """Raises Unstackable if the mapping gave a member another loss, gradient or moving mean than it has alone."""
        for place, (total, gradients, buffers) in enumerate(alone):
            wrong = [] if _close(totals[place], total) else ["loss"]
            norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
            for name, gradient in gradients.items():
                stacked = self.parameters[name].grad
                found = torch.zeros_like(gradient) if stacked is None else stacked[place]
                if not (found - gradient).norm() <= TOLERANCE * gradient.norm() + _OF_ALL * norm:
                    wrong.append(f"gradient of {name.removeprefix('objective.')}")
            for name, buffer in buffers.items():
                found = self.buffers[name] if name in self._common else self.buffers[name][place]
                if not _close(found, buffer):
                    wrong.append(f"buffer {name.removeprefix('objective.')}")
            if wrong and bool(total.isfinite()):
                raise Unstackable(f"mapped over members, the {wrong[0]} is not what it is alone")

    # ---- optimisers

    def _of_optimisers(self) -> list[str]:
        """The names of the weights that the optimisers change, in their order."""
        (found,) = {
            tuple(_names(loss, objective)) for loss, objective in zip(self._losses, self.objectives, strict=True)
        }
        return list(found)

    def _take_moments(self) -> None:
        """Stacks the moments that the optimisers have, after a resume or a change of members."""
        named = [dict(loss.named_parameters()) for loss in self._losses]
        for name in self._trained:
            states = [_adam(each).state.get(own[name]) for each, own in zip(self.objectives, named, strict=True)]
            present = [state for state in states if state]
            if not present:
                continue
            if len(present) < len(states) or len({float(state["step"]) for state in present}) > 1:
                raise Unstackable("their optimisers have made different numbers of steps")
            stacked = self.parameters[name]
            self.optimizer.state[stacked] = {
                key: value.clone()
                if value.ndim == 0
                else torch.empty_like(stacked.detach()).copy_(torch.stack([state[key] for state in present]))
                for key, value in present[0].items()
            }


class MemberNoise(TorchFunctionMode):
    """Inside of :meth:`of`, random numbers of each member from generators in a state of its own.

    Args:
        num_members: M.
        device: Where the members are.
    """

    def __init__(self, num_members: int, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self._states: list[tuple[Tensor, ...]] = [() for _ in range(num_members)]
        self._member: Tensor | None = None

    def seed(self, objectives: Sequence[Objective]) -> None:
        """Seeds the generators of each member for its next step."""
        for place, objective in enumerate(objectives):
            objective.seed_step()
            self._keep(place)

    @contextmanager
    def of(self, member: Tensor) -> Iterator[None]:
        """Inside the block, what is drawn is drawn for each member: Long[], the number of the member, mapped."""
        self._member, standard_normal = member, getattr(normal, "_standard_normal")  # noqa: B009 - not exported

        def drawn(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
            # It fills an empty tensor in place, which is not mapped.
            return self._draw(lambda: standard_normal(shape, dtype=dtype, device=device))

        try:
            with self, patch.object(normal, "_standard_normal", drawn):
                yield
        finally:
            self._member = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _DRAWS:
            return func(*args, **kwargs)
        if kwargs.get("generator") is not None:
            raise Unstackable(f"the loss draws from a generator of its own ({func.__name__})")
        flat, structure = tree_flatten((args, kwargs))
        places = [place for place, value in enumerate(flat) if isinstance(value, Tensor)]

        def call(*tensors: Tensor) -> Tensor:
            filled = list(flat)
            for place, tensor in zip(places, tensors, strict=True):
                filled[place] = tensor
            given, named = tree_unflatten(filled, structure)
            result: Tensor = func(*given, **named)
            return result

        return self._draw(call, *(flat[place] for place in places))

    def _draw(self, call: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        def own(place: int, given: Sequence[Tensor]) -> Tensor:
            self._restore(place)
            result = call(*given)
            self._keep(place)
            return result

        result: Tensor = _Drawn.apply(self._member, own, *tensors)
        return result

    def _keep(self, place: int) -> None:
        states = [torch.default_generator.get_state()]
        if self.device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self.device))
        self._states[place] = tuple(states)

    def _restore(self, place: int) -> None:
        torch.default_generator.set_state(self._states[place][0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self._states[place][1], self.device)


class _Drawn(torch.autograd.Function):
    """What a call gives for each member, stacked; it is a constant."""

    @staticmethod
    def forward(member: Tensor, call: Callable[[int, Sequence[Tensor]], Tensor], *tensors: Tensor) -> Tensor:
        raise AssertionError("drawn outside of the mapping")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        member: Tensor,
        call: Callable[[int, Sequence[Tensor]], Tensor],
        *tensors: Tensor,
    ) -> tuple[Tensor, int]:
        """The call of each member in turn."""
        found = [
            call(
                place,
                [
                    tensor if dim is None else tensor.select(dim, place)
                    for tensor, dim in zip(tensors, in_dims[2:], strict=True)
                ],
            )
            for place in range(info.batch_size)
        ]
        return torch.stack(found), 0


@dataclass
class _MemberBatch(Batch):
    """A batch of which it is known whether labels are missing: a mapped one cannot be looked at."""

    lacking: bool = False

    @property
    def lacks_labels(self) -> bool:
        return self.lacking


@dataclass
class _Together:
    """One batch for each member: what is the same for all, and tensors [M, ...], images [B, M, C, H, W]."""

    batch: _MemberBatch
    tensors: dict[str, Tensor]

    def of(self, tensors: dict[str, Any]) -> _MemberBatch:
        """The batch of one member, from its tensors."""
        return replace(self.batch, **tensors)


def _together(batches: Sequence[Batch]) -> tuple[_Together, tuple[bool, ...]]:
    """Batches as one, and what tells batches apart for which a loss may take another way."""
    first, names = batches[0], [field.name for field in fields(Batch)]
    kinds = {(batch.unlabelled, batch.imageless, batch.lacks_labels) for batch in batches}
    given = {name for name in names if isinstance(getattr(first, name), Tensor)}
    shapes = {
        tuple(getattr(getattr(batch, name), "shape", None) for name in names if name in given) for batch in batches
    }
    if len(kinds) > 1 or len(shapes) > 1 or any(batch.graph is not None for batch in batches):
        raise Unstackable("their batches are not alike")
    (kind,) = kinds
    # Channels last, member by member: the order in which a grouped convolution is fast on a CPU.
    images = torch.cat([batch.image for batch in batches], 1)
    if images.ndim == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    tensors = {
        name: torch.stack([getattr(batch, name) for batch in batches]) for name in names if name in given - {"image"}
    }
    tensors["image"] = images.unflatten(1, (len(batches), -1))
    batch = _MemberBatch(**{name: getattr(first, name) for name in names}, lacking=kind[2])
    return _Together(batch, tensors), kind


def _check_kind(objectives: Sequence[Objective]) -> None:
    kinds = {type(objective) for objective in objectives}
    if len(kinds) > 1:
        raise Unstackable("they are of several kinds")
    (kind,) = kinds
    if kind.training_step is not Objective.training_step or "training_step" in vars(objectives[0]):
        raise Unstackable(f"{kind.__name__} has a training_step of its own")
    settings = [
        {name: value for name, value in _adam(each).param_groups[0].items() if name != "params"} for each in objectives
    ]
    if any(each != settings[0] for each in settings):
        raise Unstackable("their optimisers have different settings")


def _adam(objective: Objective) -> torch.optim.Adam:
    optimiser = objective.optimizer
    if type(optimiser) is not torch.optim.Adam or len(optimiser.param_groups) > 1:
        raise Unstackable(
            f"{type(objective).__name__} is trained by {type(optimiser).__name__}, not by one torch.optim.Adam with "
            "one group of weights"
        )
    return optimiser


def _names(loss: Loss, objective: Objective) -> Iterator[str]:
    names = {id(parameter): name for name, parameter in loss.named_parameters()}
    for parameter in _adam(objective).param_groups[0]["params"]:
        if id(parameter) not in names:
            raise Unstackable("the optimiser changes weights that are not the objective's")
        yield names[id(parameter)]


def _replace(network: nn.Module, buffer: Tensor, value: Tensor) -> None:
    """Puts a tensor in the place of a buffer, wherever it is one."""
    for module in network.modules():
        for name, own in module._buffers.items():
            if own is buffer:
                module._buffers[name] = value


def _close(found: Tensor, alone: Tensor) -> bool:
    return torch.allclose(found, alone, rtol=TOLERANCE, atol=1e-6, equal_nan=True)


def _ordered(value: Tensor, strides: tuple[int, ...]) -> Tensor:
    """A copy with these strides: a fused Adam takes weights and moments to be in the same order."""
    ordered: Tensor = torch.empty_strided(value.shape, strides, dtype=value.dtype, device=value.device)
    ordered.copy_(value)
    return ordered


def _channels_last(stacked: Tensor) -> Tensor:
    """Weights of convolutions, [M, out, in, H, W], in the order in which the grouped convolution reads them; a copy."""
    if stacked.ndim != 5:
        return stacked.clone(memory_format=torch.contiguous_format)
    whole = stacked.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return whole.clone(memory_format=torch.preserve_format).unflatten(0, stacked.shape[:2])
